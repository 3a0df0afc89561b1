"""cvxpy with Clarabel solves the same convex programs, written down from the formulas."""

import numpy as np
import pytest

from fastopt import admm_relu

cp = pytest.importorskip("cvxpy")
pytestmark = pytest.mark.filterwarnings("ignore:Solution may be inaccurate")

LOSSES = ("squared", "logistic", "softmax", "hinge", "squared_hinge", "huber", "quantile")
DELTA, LEVEL = 0.7, 0.3


def loss_expression(loss, F, Y, weights):
    """F (n, c) of cvxpy, Y (n, c)."""
    s = weights[:, None]
    if loss == "squared":
        return 0.5 * cp.sum(cp.multiply(s, cp.square(F - Y)))
    if loss == "logistic":
        return cp.sum(cp.multiply(s, cp.logistic(-cp.multiply(Y, F))))
    if loss == "softmax":
        return cp.sum(cp.multiply(weights, cp.log_sum_exp(F, axis=1))) - cp.sum(
            cp.multiply(s * Y, F)
        )
    if loss == "hinge":
        return cp.sum(cp.multiply(s, cp.pos(1 - cp.multiply(Y, F))))
    if loss == "squared_hinge":
        return 0.5 * cp.sum(cp.multiply(s, cp.square(cp.pos(1 - cp.multiply(Y, F)))))
    if loss == "huber":
        return 0.5 * cp.sum(cp.multiply(s, cp.huber(F - Y, DELTA)))
    return cp.sum(cp.multiply(s, cp.maximum((1 - LEVEL) * (F - Y), -LEVEL * (F - Y))))


def witness(X, Y, gates, beta, loss, cone=True, weights=None):
    """The optimal value of the program with the gates' patterns."""
    n, d = X.shape
    weights = np.ones(n) if weights is None else weights
    D = (X @ gates.T >= 0).astype(float)
    columns, penalty, constraints = [], 0, []
    for k in range(Y.shape[1]):
        total = 0
        for i in range(len(gates)):
            DX = D[:, i : i + 1] * X
            EX = (2 * D[:, i : i + 1] - 1) * X
            for sign in (1, -1) if cone else (1,):
                v = cp.Variable(d)
                total = total + sign * (DX @ v)
                penalty = penalty + cp.norm(v)
                if cone:
                    constraints.append(EX @ v >= 0)
        columns.append(cp.reshape(total, (n, 1), order="C"))
        del k
    F = cp.hstack(columns)
    problem = cp.Problem(
        cp.Minimize(loss_expression(loss, F, Y, weights) + beta * penalty), constraints
    )
    problem.solve(
        solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9, max_iter=300
    )
    return problem.value


def targets(rng, loss, X, c):
    n = len(X)
    F = np.column_stack(
        [
            np.maximum(X @ rng.standard_normal(X.shape[1]), 0) + 0.3 * rng.standard_normal(n)
            for _ in range(c)
        ]
    )
    if loss in ("logistic", "hinge", "squared_hinge"):
        return np.where(np.median(F) < F, 1.0, -1.0)
    if loss == "softmax":
        return np.eye(max(c, 2))[rng.integers(0, max(c, 2), size=n)]
    return F


def compare(X, Y, loss, beta, gates, tolerance=1e-6, **kw):
    """fastopt's value against the witness's, the certificate and the network's own value."""
    X1 = np.column_stack([X, np.ones(len(X))])
    result = admm_relu(
        X,
        Y if Y.shape[1] > 1 else Y[:, 0],
        loss=loss,
        beta=beta,
        gates=gates,
        gap_tol=2e-7,
        maxiter=50000,
        rng=3,
        huber_delta=DELTA,
        quantile=LEVEL,
        **kw,
    )
    cone = kw.get("method", "conic") == "conic"
    value = witness(X1, Y, result.gates, beta, loss, cone, kw.get("sample_weight"))
    scale = max(abs(value), 1e-8)
    assert result.success, result.message
    assert abs(result.fun - value) <= tolerance * scale
    assert result.dual_fun <= result.fun
    assert result.dual_fun <= value + tolerance * scale
    assert result.constr_violation <= 1e-10
    return result


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(12, 3, 1), (25, 2, 1), (9, 4, 2)], ids=str)
def test_random_problems(loss, shape):
    n, d, c = shape
    rng = np.random.default_rng([n, d, c, LOSSES.index(loss)])
    X = rng.standard_normal((n, d))
    Y = targets(rng, loss, X, c)
    compare(X, Y, loss, 0.05 * n**0.5, 6)


@pytest.mark.parametrize("loss", ["squared", "logistic", "huber"])
def test_gated(loss):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20, 3))
    compare(X, targets(rng, loss, X, 1), loss, 0.4, 5, method="gated")


@pytest.mark.parametrize("loss", LOSSES)
def test_sample_weights(loss):
    rng = np.random.default_rng(11)
    X = rng.standard_normal((15, 2))
    weights = rng.uniform(0.2, 3.0, 15)
    compare(X, targets(rng, loss, X, 1), loss, 0.3, 5, sample_weight=weights)


@pytest.mark.parametrize(
    "case", ["n < d", "n = 1", "P = 1", "duplicate rows", "zero column", "constant y", "tiny beta"]
)
def test_odd_shapes(case):
    rng = np.random.default_rng(len(case))
    n, d, beta, gates = 14, 3, 0.3, 6
    if case == "n < d":
        n, d = 4, 7
    if case == "n = 1":
        n, gates = 1, 2
    if case == "P = 1":
        gates = 1
    if case == "tiny beta":
        beta = 1e-3
    X = rng.standard_normal((n, d))
    y = targets(rng, "squared", X, 1)
    if case == "duplicate rows":
        X[7:], y[7:] = X[:7], y[:7] + 0.1
    if case == "zero column":
        X[:, 1] = 0
    if case == "constant y":
        y[:] = 2.5
    compare(X, y, "squared", beta, gates)


def test_large_beta_gives_exactly_zero():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    first = admm_relu(X, y, beta=1.0, gates=8, rng=1)
    zero = admm_relu(X, y, beta=first.beta_max, gates=8, rng=1)
    assert zero.success and zero.nit == 0 and zero.n_neurons == 0 and not zero.x.any()
    assert zero.fun == zero.dual_fun == pytest.approx(0.5 * y @ y, rel=1e-15)
    assert zero.gap == 0.0
    less = admm_relu(X, y, beta=0.99 * first.beta_max, gates=8, gap_tol=1e-9, rng=1)
    assert less.n_neurons > 0 and less.fun < zero.fun
    X1 = np.column_stack([X, np.ones(20)])
    value = witness(X1, y[:, None], first.gates, 1.001 * first.beta_max, "squared")
    assert value == pytest.approx(0.5 * y @ y, rel=1e-8)


def test_scp_is_the_lasso():
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
    result = admm_relu(X, y, beta=0.5, gates=12, method="scp", gap_tol=1e-9, rng=1)
    X1 = np.column_stack([X, np.ones(30)])
    units = result.gates / np.linalg.norm(result.gates, axis=1, keepdims=True)
    A, a = np.maximum(X1 @ units.T, 0), cp.Variable(12)
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ a - y) + 0.5 * cp.norm1(a)))
    problem.solve(solver="CLARABEL", tol_gap_rel=1e-10, tol_gap_abs=1e-10)
    assert result.fun == pytest.approx(problem.value, rel=1e-6)


@pytest.mark.parametrize("d", [3, 12])
def test_published_splitting_reaches_the_same_value(d):
    rng = np.random.default_rng(d)
    X = rng.standard_normal((25, d))
    y = targets(rng, "squared", X, 1)
    result = admm_relu(X, y[:, 0], beta=0.5, gates=6, method="admm", tol=1e-7, maxiter=20000, rng=1)
    value = witness(np.column_stack([X, np.ones(25)]), y, result.gates, 0.5, "squared")
    assert result.fun == pytest.approx(value, rel=1e-4)
    assert result.dual_fun <= result.fun
