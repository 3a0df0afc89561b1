"""Adversarial training: the program, its cones, its certificate, and what an attack finds."""

import itertools

import numpy as np
import pytest

from fastopt import _backend, admm_relu, admm_relu_path

LOSSES = ("squared", "logistic", "hinge", "squared_hinge")


def problem(n, d, loss, seed):
    rng = np.random.default_rng([seed, n, d])
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, 3)), 0) @ rng.standard_normal(3)
    return X, y if loss == "squared" else np.where(y > np.median(y), 1.0, -1.0)


def plain_loss(loss, f, y):
    if loss == "squared":
        return 0.5 * (f - y) ** 2
    if loss == "logistic":
        return np.logaddexp(0, -y * f)
    slack = np.maximum(1 - y * f, 0)
    return slack if loss == "hinge" else 0.5 * slack**2


def program(n, d, loss, seed=0, weights=True):
    rng = np.random.default_rng(seed)
    X, y = problem(n, d, loss, seed)
    gates = np.concatenate([rng.standard_normal((3, d)), np.eye(d)[:1]])
    X[:, 0] = 1 + abs(X[:, 0])  # a gate whose cone is wide
    s = rng.uniform(0.5, 2, n) if weights else None
    radius = 0.1 * rng.uniform(0, 1, d)
    engine = _backend.module(None, "admm_relu")
    D = engine.gate_patterns(X, gates)
    return X, y, radius, engine.ReluProgram(X, D, y[None].copy(), s, loss, radius=radius)


def witness(X, y, gates, beta, loss, radius, weights):
    cp = pytest.importorskip("cvxpy")
    P, d = gates.shape
    D = (X @ gates.T >= 0).astype(float)
    V, W, constraints = cp.Variable((P, d)), cp.Variable((P, d)), []
    for i, U in itertools.product(range(P), (V, W)):
        reach = cp.sum(cp.multiply(radius, cp.abs(U[i])))
        constraints.append(((2 * D[:, i] - 1)[:, None] * X) @ U[i] >= reach)
    Q = D @ (V - W)
    f, h = cp.sum(cp.multiply(X, Q), axis=1), cp.abs(Q) @ radius
    margin = cp.multiply(y, f) - h
    per_sample = {
        "squared": lambda: 0.5 * cp.square(cp.abs(f - y) + h),
        "logistic": lambda: cp.logistic(-margin),
        "hinge": lambda: cp.pos(1 - margin),
        "squared_hinge": lambda: 0.5 * cp.square(cp.pos(1 - margin)),
    }[loss]()
    penalty = cp.sum(cp.norm(V, axis=1)) + cp.sum(cp.norm(W, axis=1))
    goal = cp.Problem(
        cp.Minimize(cp.sum(cp.multiply(weights, per_sample)) + beta * penalty), constraints
    )
    goal.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return goal.value


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("n", "d", "eps"), [(10, 2, 0.05), (20, 3, 0.1), (6, 8, 0.1)])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
def test_agrees_with_clarabel(loss, n, d, eps, weighted):
    X, y = problem(n, d, loss, 0)
    weights = np.random.default_rng(1).uniform(0.3, 2, n) if weighted else np.ones(n)
    r = admm_relu(
        X,
        y,
        loss=loss,
        beta=0.3,
        gates=8,
        robust_eps=eps,
        sample_weight=weights,
        rng=1,
        gap_tol=2e-7,
        maxiter=50000,
    )
    value = witness(
        np.column_stack([X, np.ones(n)]), y, r.gates, 0.3, loss, np.r_[[eps] * d, 0], weights
    )
    assert r.success and r.method == "conic"
    assert r.fun == pytest.approx(value, rel=1e-6)
    assert r.dual_fun <= min(r.fun, value * (1 + 1e-8))
    assert r.constr_violation <= 1e-10


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_value_is_that_of_the_worst_corner(loss, standardize):
    """No neuron changes sides inside a box, so that the network's worst loss is at a corner."""
    X, y = problem(20, 3, loss, 2)
    X = X * [1.0, 5.0, 0.2]
    eps = np.array([0.05, 0.3, 0.0])
    r = admm_relu(
        X, y, loss=loss, beta=0.2, gates=10, robust_eps=eps, standardize=standardize, rng=1
    )
    assert r.n_neurons > 1
    corners = [X + eps * np.array(s) for s in itertools.product((-1, 1), repeat=3)]
    worst = np.max([plain_loss(loss, r.predict(corner), y) for corner in corners], axis=0)
    norms = np.sqrt(r.penalty)
    assert worst.sum() + 0.2 * norms**2 == pytest.approx(r.fun, rel=1e-9)
    inside = np.random.default_rng(0).uniform(-1, 1, (200, *X.shape)) * eps
    some = np.max([plain_loss(loss, r.predict(X + move), y) for move in inside], axis=0)
    assert (some <= worst * (1 + 1e-9) + 1e-12).all()
    sides = [(corner @ r.W1.T + r.b1 > 0) for corner in corners]
    scale = np.abs(X @ r.W1.T + r.b1)
    for side in sides:
        assert ((side == sides[0]) | (scale <= 1e-6 + np.abs(r.W1) @ eps * (1 + 1e-6))).all()


def clusters(n, rng):
    """XOR with a wide margin, and 8 features that say the class by less than an attack of 0.3."""
    corner = rng.integers(0, 2, (n, 2)) * 2 - 1
    y = (corner[:, 0] * corner[:, 1]).astype(float)
    wide = corner + 0.2 * rng.uniform(-1, 1, (n, 2))
    return np.column_stack([wide, 0.2 * y[:, None] + 0.1 * rng.standard_normal((n, 8))]), y


def attack(r, X, y, eps, steps=40):
    """Projected gradient: up the loss, that is down the margin, inside the box."""
    moved = X.copy()
    for _ in range(steps):
        slope = ((moved @ r.W1.T + r.b1 > 0) * r.W2) @ r.W1
        moved = np.clip(moved - 2.5 * eps / steps * y[:, None] * np.sign(slope), X - eps, X + eps)
    return moved


@pytest.mark.parametrize("loss", LOSSES)
def test_loses_less_accuracy_under_attack(loss):
    rng = np.random.default_rng(0)
    X, y = clusters(200, rng)
    X_test, y_test = clusters(1000, rng)
    eps, kw = 0.4, {"loss": loss, "beta": 0.5, "gates": 64, "rng": 1, "gap_tol": 1e-3}
    plain = admm_relu(X, y, **kw)
    robust = admm_relu(X, y, robust_eps=eps, maxiter=20000, **kw)
    assert robust.success
    clean, attacked = (
        [np.mean(r.predict(points(r)) * y_test > 0) for r in (plain, robust)]
        for points in (lambda _: X_test, lambda r: attack(r, X_test, y_test, eps))
    )
    assert min(clean) > 0.99
    assert attacked[0] < 0.3 and attacked[1] > 0.95
    # On the training set the attack stays below the value that the program promises.
    loss_under_attack = plain_loss(loss, robust.predict(attack(robust, X, y, eps)), y).sum()
    assert loss_under_attack <= robust.fun - 0.5 * robust.penalty + 1e-6 * robust.fun
    assert loss_under_attack > 0.9 * (robust.fun - 0.5 * robust.penalty)


# ---- the parts -------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_weak_duality_at_random_points(loss):
    X, _, _, p = program(25, 4, loss)
    rng = np.random.default_rng(1)
    n, d = X.shape
    for _ in range(20):
        q = rng.standard_normal((d, n)) * (rng.random((d, n)) < 0.8)
        t = p.gradient(q)
        assert t.shape == (d + 2, n)
        scale = 1 + abs(p.loss(q))
        assert p.loss(q) + p.conjugate(t) == pytest.approx((t[:d] * q).sum(), abs=1e-9 * scale)
        other = 2 * rng.standard_normal((d, n))
        assert p.loss(other) + p.conjugate(t) >= (t[:d] * other).sum() - 1e-9 * scale
        v = p.make_feasible(rng.standard_normal(2 * 4 * d))
        assert p.violation(v) <= 1e-10
        assert np.abs(v).max() > 0
        assert p.dual(t, 0.7) <= p.objective(v, 0.7) + 1e-9 * scale


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rho", [0.03, 1.0, 40.0])
def test_prox_is_optimal(loss, rho):
    X, y, radius, p = program(60, 4, loss, weights=False)
    rng = np.random.default_rng(2)
    a = 2 * rng.standard_normal((4, 60))
    q = p.prox(a, rho)

    def per_sample(q):
        f, h = (X.T * q).sum(axis=0), radius @ np.abs(q)
        worst = f + np.copysign(h, f - y) if loss == "squared" else f - y * h
        return plain_loss(loss, worst, y) + rho / 2 * ((q - a) ** 2).sum(axis=0)

    best = per_sample(q)
    for size in (1.0, 1e-1, 1e-2, 1e-3, 1e-4):
        for _ in range(20):
            move = size * rng.standard_normal(q.shape) * (rng.random(q.shape) < 0.5)
            assert (per_sample(q + move) >= best - 1e-12 * (1 + best)).all()
    assert (per_sample(a) >= best).all()


def test_projection_on_the_robust_cone():
    """v = Proj(r): feasible, orthogonal to r - v, and r - v in the polar cone."""
    rng = np.random.default_rng(3)
    for n, d in ((6, 2), (15, 4), (40, 12)):
        p = program(n, d, "squared", seed=n)[3]
        r = rng.standard_normal((8, d))
        v = p.make_feasible(r).reshape(8, d)
        assert p.violation(v.ravel()) <= 1e-10
        inner = ((r - v) * v).sum(axis=1)
        assert np.abs(inner).max() <= 1e-10 * (r**2).sum(axis=1).max()
        others = p.make_feasible(rng.standard_normal((8, d)) * 10).reshape(8, d)
        assert (((r - v) * others).sum(axis=1) <= 1e-9 * np.linalg.norm(others, axis=1)).all()
        twice = p.make_feasible(v).reshape(8, d)
        np.testing.assert_allclose(twice, v, atol=1e-10)


# ---- the face --------------------------------------------------------------------------------


def test_no_radius_is_the_plain_program():
    X, y = problem(30, 3, "squared", 4)
    plain = admm_relu(X, y, beta=0.5, gates=10, rng=1)
    zero = admm_relu(X, y, beta=0.5, gates=10, rng=1, robust_eps=0.0)
    assert zero.x.tobytes() == plain.x.tobytes()
    little = admm_relu(X, y, beta=0.5, gates=plain.gates, robust_eps=1e-7, gap_tol=1e-7)
    assert little.fun == pytest.approx(plain.fun, rel=2e-4)


def test_robust_value_grows_with_the_radius():
    X, y = problem(30, 3, "hinge", 5)
    gates = admm_relu(X, y, loss="hinge", beta=0.5, gates=12, robust_eps=0.2, rng=1).gates
    funs = [
        admm_relu(X, y, loss="hinge", beta=0.5, gates=gates, robust_eps=e, maxiter=20000).fun
        for e in (0.0, 0.05, 0.1, 0.2)
    ]
    assert funs == sorted(funs)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_same_bits_for_any_number_of_threads(dtype):
    X, y = problem(300, 5, "logistic", 6)
    runs = [
        admm_relu(
            X,
            y,
            loss="logistic",
            beta=1.0,
            gates=20,
            robust_eps=0.01,
            rng=1,
            threads=t,
            dtype=dtype,
            maxiter=60,
        )
        for t in (1, 2, 4)
    ]
    assert len({(r.x.tobytes(), r.fun, r.dual_fun, r.nit) for r in runs}) == 1


def test_large_beta_gives_zero_and_path_runs_warm():
    X, y = problem(30, 3, "squared", 7)
    first = admm_relu(X, y, beta=1e9, gates=8, robust_eps=0.05, rng=1)
    assert first.success and first.n_neurons == 0 and first.nit == 0
    betas = first.beta_max * np.array([1.0, 0.1, 0.01])
    path = admm_relu_path(X, y, betas, gates=first.gates, robust_eps=0.05, gap_tol=1e-6)
    assert path.success
    for beta, one in zip(betas, path.results, strict=True):
        alone = admm_relu(X, y, beta=beta, gates=first.gates, robust_eps=0.05, gap_tol=1e-6)
        assert one.fun == pytest.approx(alone.fun, rel=2e-6)


def test_boxes_that_no_neuron_can_avoid():
    """Samples of both signs closer than 2 eps, no intercept: only the zero network is left."""
    X = np.array([[0.1], [-0.1]])
    r = admm_relu(X, [1.0, -1.0], beta=1e-3, gates=4, robust_eps=0.2, fit_intercept=False, rng=1)
    assert r.success and r.n_neurons == 0 and r.fun == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"robust_eps": -0.1}, "robust_eps must not be negative"),
        ({"robust_eps": np.nan}, "robust_eps must be finite"),
        ({"robust_eps": [0.1, 0.2]}, "or have 3 entries"),
        ({"robust_eps": 0.1, "method": "admm"}, "needs method='conic'"),
        ({"robust_eps": 0.1, "gates": "generate"}, "does not go with robust_eps"),
        ({"robust_eps": 0.1, "loss": "huber"}, "goes with the losses squared"),
        ({"robust_eps": 0.1, "y": np.ones((20, 2))}, "one output"),
    ],
    ids=str,
)
def test_bad_input(change, message):
    X, y = problem(20, 3, "squared", 8)
    arguments = {"y": y, "beta": 1.0, "gates": 5, **change}
    with pytest.raises(ValueError, match=message):
        admm_relu(X, **arguments)


def test_estimators():
    pytest.importorskip("sklearn")
    from fastopt.sklearn import ConvexReLUClassifier, ConvexReLURegressor

    rng = np.random.default_rng(0)
    X, y = clusters(200, rng)
    X_test, y_test = clusters(1000, rng)
    scores = []
    for eps in (0.0, 0.3):
        model = ConvexReLUClassifier(loss="logistic", robust_eps=eps, random_state=0).fit(X, y)
        moved = attack(model.result_, X_test, y_test, 0.3)
        scores.append((model.score(X_test, y_test), model.score(moved, y_test)))
    assert min(s[0] for s in scores) > 0.99 and scores[1][1] > scores[0][1] + 0.3
    with pytest.raises(ValueError, match="robust_eps needs one output"):
        ConvexReLUClassifier(robust_eps=0.1).fit(X, np.arange(200) % 3)
    X, y = problem(60, 3, "squared", 9)
    assert ConvexReLURegressor(robust_eps=0.05, random_state=0).fit(X, y).result_.success
