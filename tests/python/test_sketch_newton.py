"""sketch_newton against KKT conditions recomputed in NumPy, trust-constr, and known answers."""

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import (
    BFGS,
    SR1,
    Bounds,
    LinearConstraint,
    NonlinearConstraint,
    OptimizeResult,
    OptimizeWarning,
    minimize,
    rosen,
    rosen_der,
    rosen_hess,
)
from scipy.sparse.linalg import LinearOperator

from fastopt import sketch_newton
from fastopt.problems import GLM, WeightedGram

SQRT2 = np.sqrt(2.0)


def circle(**extra):
    """x.x = 2"""
    return {"type": "eq", "fun": lambda x: x @ x - 2, "jac": lambda x: 2 * x, **extra}


def exact_circle():
    return circle(hess=lambda x, v: 2 * v[0] * np.eye(x.size))


def solve_circle(**extra):
    given = {"jac": np.ones_like, "hess": lambda x: np.zeros((x.size, x.size))}
    return sketch_newton(np.sum, [1.0, -0.5], constraints=exact_circle(), **{**given, **extra})


def kkt_residual(result, gradient, jacobian, values):
    """From the user's own functions and the multipliers of the result."""
    v = np.concatenate([np.ravel(one) for one in result.v]) if len(result.v) else np.zeros(0)
    dual = gradient + (jacobian.T @ v if v.size else 0.0)
    primal = np.abs(values).max() if v.size else 0.0
    return max(np.abs(dual).max(), primal)


# ---- right answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_quadratic_programs_against_the_kkt_system(seed):
    rng = np.random.default_rng(seed)
    n, m = 12, 5
    G = rng.standard_normal((n, n))
    Q, q = G @ G.T + np.eye(n), rng.standard_normal(n)
    A, b = rng.standard_normal((m, n)), rng.standard_normal(m)
    result = sketch_newton(
        lambda x: 0.5 * x @ Q @ x + q @ x,
        np.zeros(n),
        jac=lambda x: Q @ x + q,
        hess=lambda x: Q,
        constraints=LinearConstraint(A, b, b),
        tol=1e-10,
    )
    K = np.block([[Q, A.T], [A, np.zeros((m, m))]])
    expected = np.linalg.solve(K, np.concatenate([-q, b]))
    np.testing.assert_allclose(result.x, expected[:n], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(result.v[0], expected[n:], rtol=1e-6, atol=1e-8)
    assert result.success and result.nit <= 2
    assert kkt_residual(result, Q @ result.x + q, A, A @ result.x - b) <= 1e-10


@pytest.mark.parametrize("merit", ["augmented-lagrangian", "filter"])
@pytest.mark.parametrize("seed", range(4))
def test_nonlinear_problems_against_trust_constr(seed, merit):
    rng = np.random.default_rng(seed)
    n, m = 6, 2
    B = [(M + M.T) / 2 + 3 * np.eye(n) for M in rng.standard_normal((m, n, n))]
    q = rng.standard_normal(n)

    def fun(x):
        return np.sum(np.cosh(x / 2)) + q @ x

    def jac(x):
        return np.sinh(x / 2) / 2 + q

    def hess(x):
        return np.diag(np.cosh(x / 2)) / 4

    def c(x):
        return np.array([x @ b @ x - 2 for b in B])

    def cjac(x):
        return np.array([2 * b @ x for b in B])

    def chess(x, v):
        return sum(2 * vi * b for vi, b in zip(v, B, strict=True))

    start = rng.standard_normal(n)
    both = NonlinearConstraint(c, 0, 0, cjac, chess)
    ours = sketch_newton(fun, start, jac=jac, hess=hess, constraints=both, merit=merit)
    assert ours.success, ours.message
    assert kkt_residual(ours, jac(ours.x), cjac(ours.x), c(ours.x)) <= 1e-8
    theirs = minimize(
        fun,
        ours.x,
        jac=jac,
        hess=hess,
        method="trust-constr",
        constraints=both,
        options={"gtol": 1e-9, "xtol": 1e-12},
    )
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-5)
    # second order: the Hessian of the Lagrangian is positive on the null space of the Jacobian
    _, _, rows = np.linalg.svd(cjac(ours.x))
    Z = rows[m:].T
    W = hess(ours.x) + chess(ours.x, ours.v[0])
    assert np.linalg.eigvalsh(Z.T @ W @ Z).min() > -1e-6


def test_known_answer_and_fields():
    result = solve_circle()
    np.testing.assert_allclose(result.x, [-1, -1], atol=1e-8)
    np.testing.assert_allclose(result.v[0], [0.5], atol=1e-8)
    assert isinstance(result, OptimizeResult) and result.status == 0
    assert result.fun == np.sum(result.x)
    np.testing.assert_array_equal(result.grad, [1, 1])
    np.testing.assert_array_equal(result.jac[0], [2 * result.x])
    np.testing.assert_array_equal(result.constr[0], [result.x @ result.x - 2])
    np.testing.assert_allclose(result.lagrangian_grad, 1 + result.v[0] * 2 * result.x, atol=1e-15)
    assert result.optimality == np.abs(result.lagrangian_grad).max()
    assert result.constr_violation == np.abs(result.constr[0]).max()
    assert result.linear_solver == "ldl" and result.reason
    assert result.x.flags.writeable and result.x.dtype == np.float64


def test_unconstrained_newton():
    result = sketch_newton(rosen, [-1.2, 1.0, 0.5], jac=rosen_der, hess=rosen_hess)
    np.testing.assert_allclose(result.x, 1, atol=1e-8)
    assert result.success and result.v == [] and result.constr == []


def test_several_constraints_of_all_kinds():
    sphere = NonlinearConstraint(
        lambda x: x @ x, 3, 3, lambda x: 2 * x, lambda x, v: 2 * v[0] * np.eye(4)
    )
    plane = LinearConstraint(sp.csr_array(np.array([[1.0, 1.0, 1.0, 1.0]])), 1, 1)
    product = {"type": "eq", "fun": lambda x, a: x[0] * x[1] - a, "args": (0.25,)}
    c = np.array([1.0, 2.0, 3.0, 4.0])
    result = sketch_newton(
        lambda x: c @ x,
        [0.5, 0.5, 1.0, -1.0],
        jac=lambda x: c,
        constraints=[sphere, plane, product],
    )
    assert result.success, result.message
    assert [v.size for v in result.v] == [1, 1, 1]
    x = result.x
    J = np.array([2 * x, np.ones(4), [x[1], x[0], 0, 0]])
    values = [x @ x - 3, x.sum() - 1, x[0] * x[1] - 0.25]
    assert kkt_residual(result, c, J, np.array(values)) <= 1e-6  # one Jacobian is by differences


# ---- derivative forms --------------------------------------------------------------------------

DIM = 3
ALL = np.arange(1.0, DIM + 1)
FORMS = {
    "exact": {"jac": rosen_der, "hess": rosen_hess},
    "sparse hess": {"jac": rosen_der, "hess": lambda x: sp.csc_array(rosen_hess(x))},
    "operator": {
        "jac": rosen_der,
        "hess": lambda x: LinearOperator(
            (DIM, DIM), matvec=lambda v: rosen_hess(x) @ v, dtype=float
        ),
    },
    "hessp": {"jac": rosen_der, "hessp": lambda x, p: rosen_hess(x) @ p},
    "default hess": {"jac": rosen_der},
    "2-point hess": {"jac": rosen_der, "hess": "2-point"},
    "3-point hess": {"jac": rosen_der, "hess": "3-point"},
    "cs hess": {"jac": rosen_der, "hess": "cs"},
    "BFGS": {"jac": rosen_der, "hess": BFGS()},
    "SR1": {"jac": rosen_der, "hess": SR1()},
    "no derivatives": {},
    "3-point": {"jac": "3-point", "hess": BFGS()},
    "cs": {"jac": "cs", "hess": BFGS()},
}


@pytest.mark.parametrize("form", FORMS)
def test_derivative_forms(form):
    plane = LinearConstraint(np.ones((1, DIM)), 2.0, 2.0)
    start = [0.9, 0.6, 0.5]  # one minimum of several
    exact = sketch_newton(rosen, start, constraints=plane, **FORMS["exact"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "delta_grad", UserWarning)
        result = sketch_newton(rosen, start, constraints=plane, tol=1e-5, **FORMS[form])
    assert exact.success and result.success, result.message
    np.testing.assert_allclose(result.x, exact.x, atol=1e-4)


def test_gradient_with_the_value():
    calls = []

    def both(x, a):
        calls.append(x.copy())
        return a * rosen(x), a * rosen_der(x)

    result = sketch_newton(both, ALL, (2.0,), jac=True, hess=lambda x, a: a * rosen_hess(x))
    assert result.success and result.nfev == len(calls)
    through = minimize(
        both, ALL, (2.0,), jac=True, hess=lambda x, a: a * rosen_hess(x), method=sketch_newton
    )
    np.testing.assert_array_equal(through.x, result.x)


def test_nfev_counts_every_call():
    count = [0]

    def fun(x):
        count[0] += 1
        return rosen(x)

    result = sketch_newton(fun, ALL, jac="3-point", tol=1e-5)
    assert result.nfev == count[0] > result.nit


def test_functions_may_spoil_their_argument():
    def fun(x):
        value = rosen(x)
        x[:] = np.nan
        return value

    def jac(x):
        g = rosen_der(x)
        x[:] = np.nan
        return g

    result = sketch_newton(fun, ALL, jac=jac, hess=rosen_hess)
    np.testing.assert_allclose(result.x, 1, atol=1e-8)


# ---- linear solvers ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logistic():
    rng = np.random.default_rng(0)
    n = 20
    A = rng.standard_normal((1500, n))
    y = np.sign(A @ rng.standard_normal(n) + rng.logistic(size=1500))
    C, d = rng.standard_normal((3, n)), 0.1 * rng.standard_normal(3)
    return A, y, C, d


SOLVERS = {
    "auto": 1e-10,
    "ldl": 1e-10,
    "sketch-pcg": 1e-10,
    "nystrom-pcg": 1e-10,
    "minres": 1e-10,
    "gaussian": 1e-5,
    "countsketch": 1e-5,
    "block": 1e-5,
    "kaczmarz": 1e-3,
    "adasketch": 1e-3,
}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_linear_solvers(logistic, solver, sparse):
    A, y, C, d = logistic
    model = GLM(sp.csr_array(A) if sparse else A, y, "logistic", 0.1)
    tol = SOLVERS[solver]
    result = sketch_newton(
        model, np.zeros(20), constraints=LinearConstraint(C, d, d), linear_solver=solver, tol=tol
    )
    assert result.success, result.message
    if solver == "auto":
        assert result.linear_solver in ("ldl", "sketch-pcg") and "estimated" in result.reason
    else:
        assert result.linear_solver == solver
    p = 1 / (1 + np.exp(y * (A @ result.x)))
    gradient = -A.T @ (y * p) / len(y) + 0.1 * result.x
    assert kkt_residual(result, gradient, C, C @ result.x - d) <= tol


@pytest.mark.parametrize(
    "kind", ["sjlt", "countsketch", "srht", "gaussian", "uniform", "leverage", "less"]
)
def test_sketch_pcg_with_every_sketch(logistic, kind):
    A, y, C, d = logistic
    result = sketch_newton(
        GLM(A, y, l2=0.1),
        np.zeros(20),
        constraints=LinearConstraint(C, d, d),
        linear_solver="sketch-pcg",
        sketch=kind,
        sketch_size=200,
        tol=1e-9,
        rng=3,
    )
    assert result.success and result.sketch["rows"] == 200 and result.sketch["kind"] == kind
    assert 0 < result.inner_iterations < 300


@pytest.mark.parametrize("solver", ["ldl", "sketch-pcg", "nystrom-pcg", "minres"])
def test_dependent_constraints_and_a_singular_gram(logistic, solver):
    A, y, C, d = logistic
    A = np.hstack([A[:, :10], A[:, :10]])  # rank 10 of 20
    C, d = np.vstack([C, C[0] + C[1]]), np.append(d, d[0] + d[1])
    result = sketch_newton(
        GLM(A, y, l2=1e-4),
        np.zeros(20),
        constraints=LinearConstraint(C, d, d),
        linear_solver=solver,
    )
    assert result.success, result.message
    assert np.abs(C @ result.x - d).max() <= 1e-8


def test_a_gram_hessian_with_a_nonlinear_constraint(logistic):
    A, y, C, d = logistic
    model = GLM(A, y)
    results = [
        sketch_newton(
            model,
            np.full(20, 0.2),
            constraints=[LinearConstraint(C, d, d), exact_circle()],
            linear_solver=solver,
            tol=1e-9,
        )
        for solver in ("ldl", "sketch-pcg")
    ]
    assert all(r.success for r in results)
    np.testing.assert_allclose(results[0].x, results[1].x, atol=1e-7)


def test_large_hessp_uses_products_only():
    n = 400
    scale = np.linspace(1, 50, n)
    products = []

    def hessp(x, p):
        products.append(1)
        return scale * p + 3 * x**2 * p

    result = sketch_newton(
        lambda x: 0.5 * x @ (scale * x) + 0.25 * np.sum(x**4) - x.sum(),
        np.ones(n),
        jac=lambda x: scale * x + x**3 - 1,
        hessp=hessp,
        constraints=LinearConstraint(np.ones((1, n)), 1, 1),
    )
    assert result.success and result.linear_solver == "nystrom-pcg"
    assert result.nhev == len(products) < n * result.nit
    np.testing.assert_allclose(result.x.sum(), 1, atol=1e-8)


def test_negative_curvature_by_products():
    # a saddle at the start: -x0^2 + x0^4 + x1^2
    result = sketch_newton(
        lambda x: -(x[0] ** 2) + x[0] ** 4 + x[1] ** 2,
        [0.1, 1.0],
        jac=lambda x: np.array([-2 * x[0] + 4 * x[0] ** 3, 2 * x[1]]),
        hessp=lambda x, p: np.array([(-2 + 12 * x[0] ** 2) * p[0], 2 * p[1]]),
        linear_solver="minres",
    )
    assert result.success
    np.testing.assert_allclose(np.abs(result.x), [1 / SQRT2, 0], atol=1e-6)


@pytest.mark.parametrize("solver", ["ldl", "sketch-pcg"])
def test_same_bits_for_any_number_of_threads(solver):
    rng = np.random.default_rng(1)
    A = rng.standard_normal((20000, 70))
    y = np.sign(A[:, 0] + rng.logistic(size=20000))
    results = [
        sketch_newton(
            GLM(A, y, l2=1e-3, threads=threads),
            np.zeros(70),
            linear_solver=solver,
            threads=threads,
            constraints=LinearConstraint(np.ones((1, 70)), 0, 0),
            rng=5,
        )
        for threads in (1, 2, 4)
    ]
    assert results[0].success
    assert len({r.x.tobytes() for r in results}) == 1
    assert len({r.inner_iterations for r in results}) == 1


# ---- hard and broken problems ------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["exact", "differences"])
def test_inconsistent_equalities(scheme):
    rows = np.array([[1.0, 1.0], [1.0, 1.0]])
    result = sketch_newton(
        rosen,
        [0.0, 0.0],
        jac=rosen_der,
        hess=rosen_hess,
        constraints=LinearConstraint(rows, [0, 1], [0, 1]),
    )
    assert not result.success and result.status == 4
    assert result.constr_violation == pytest.approx(0.5)
    assert "0.5" in result.message


def test_redundant_equalities():
    rows = np.array([[1.0, 1.0], [2.0, 2.0], [1.0, 1.0]])
    result = sketch_newton(
        rosen,
        [0.0, 0.0],
        jac=rosen_der,
        hess=rosen_hess,
        constraints=LinearConstraint(rows, [1, 2, 1], [1, 2, 1]),
    )
    assert result.success and result.x.sum() == pytest.approx(1, abs=1e-8)


def test_more_equalities_than_variables():
    point = np.array([1.0, 2.0])
    rows = np.random.default_rng(0).standard_normal((5, 2))
    result = sketch_newton(
        rosen,
        [0.0, 0.0],
        jac=rosen_der,
        hess=rosen_hess,
        constraints=LinearConstraint(rows, rows @ point, rows @ point),
    )
    assert result.success
    np.testing.assert_allclose(result.x, point, atol=1e-8)


def test_a_singular_jacobian_at_the_start():
    result = sketch_newton(
        lambda x: x[0] + x[1],
        [0.0, 0.0],
        jac=lambda x: np.ones(2),
        hess=lambda x: np.zeros((2, 2)),
        constraints=exact_circle(),
    )
    assert result.status in (0, 4)  # J = 0 at the origin: a stationary point of the violation
    if result.status == 4:
        assert result.constr_violation == pytest.approx(2)


def test_unbounded_below():
    result = sketch_newton(
        lambda x: -np.exp(x[0]),
        [0.0],
        jac=lambda x: -np.exp(x),
        hess=lambda x: [[-np.exp(x[0])]],
        maxiter=500,
    )
    assert not result.success and result.status == 3


def test_nan_at_the_start():
    result = sketch_newton(lambda x: np.nan, [1.0], jac=lambda x: x, hess=lambda x: np.eye(1))
    assert not result.success and result.status == 3 and "finite" in result.message


def test_nan_on_the_way_shortens_the_step():
    # log needs x > 0; full Newton steps from 0.1 leave the domain of f
    def fun(x):
        return float(x[0] ** 2 - np.log(x[0])) if x[0] > 0 else np.nan

    result = sketch_newton(
        fun, [30.0], jac=lambda x: 2 * x - 1 / x, hess=lambda x: [[2 + 1 / x[0] ** 2]]
    )
    assert result.success and result.x[0] == pytest.approx(1 / SQRT2)


def test_nan_from_the_hessian():
    result = sketch_newton(rosen, [0.0, 0.0], jac=rosen_der, hess=lambda x: np.full((2, 2), np.nan))
    assert not result.success and result.status == 3


def test_success_is_never_claimed_above_tol():
    # the gradient is wrong by 1e-3: nothing can be found that meets its own condition and the truth
    for tol in (1e-3, 1e-6, 1e-9):
        result = solve_circle(tol=tol)
        assert result.success and result.kkt_residual <= tol
    result = sketch_newton(
        np.sum,
        [1.0, -0.5],
        jac=np.ones_like,
        hess=lambda x: np.zeros((2, 2)),
        tol=1e-8,
        constraints={"type": "eq", "fun": lambda x: x @ x - 2, "jac": lambda x: -2 * x + 0.3},
        maxiter=50,
    )
    assert not result.success or result.kkt_residual <= 1e-8


def test_scaling_a_constraint_leaves_the_solution():
    base = solve_circle()
    big = NonlinearConstraint(
        lambda x: 1e6 * (x @ x), 2e6, 2e6, lambda x: 2e6 * x, lambda x, v: 2e6 * v[0] * np.eye(2)
    )
    scaled = sketch_newton(
        np.sum, [1.0, -0.5], jac=np.ones_like, hess=lambda x: np.zeros((2, 2)), constraints=big
    )
    np.testing.assert_allclose(scaled.x, base.x, atol=1e-9)
    np.testing.assert_allclose(1e6 * scaled.v[0], base.v[0], atol=1e-8)


# ---- limits, callbacks, errors -----------------------------------------------------------------


def test_limits():
    result = sketch_newton(rosen, ALL, jac=rosen_der, hess=rosen_hess, maxiter=2)
    assert result.status == 1 and result.nit == 2 and "maxiter" in result.message
    result = sketch_newton(rosen, ALL, jac=rosen_der, hess=rosen_hess, maxfev=3)
    assert result.status == 1 and result.nfev <= 3 and "maxfev" in result.message

    def slow(x):
        time.sleep(0.02)
        return rosen(x)

    result = sketch_newton(slow, ALL, jac=rosen_der, hess=rosen_hess, maxtime=0.05)
    assert result.status == 1 and "maxtime" in result.message


def test_maxtime_ends_a_linear_solve_that_gets_nowhere():
    n = 400  # 200,000 products of K with a vector, after which it gives up, take half a minute
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]
    hessian = rotation.T * np.logspace(0, 6, n) @ rotation
    result = sketch_newton(
        lambda x: 0.5 * x @ hessian @ x - x.sum(),
        np.ones(n),
        jac=lambda x: hessian @ x - 1,
        hess=lambda x: hessian,
        linear_solver="kaczmarz",
        maxtime=0.2,
    )
    assert result.status == 1 and "maxtime" in result.message
    assert 0 < result.inner_iterations < 100_000


def test_callbacks():
    seen = []
    result = sketch_newton(
        rosen,
        ALL,
        jac=rosen_der,
        hess=rosen_hess,
        callback=lambda intermediate_result: seen.append(intermediate_result),
    )
    assert [r.nit for r in seen] == list(range(1, result.nit + 1))
    assert all(r.fun == rosen(r.x) for r in seen)
    limited = sketch_newton(rosen, ALL, jac=rosen_der, hess=rosen_hess, maxiter=3)

    def stop(xk):
        stop.calls += 1
        if stop.calls == 3:
            raise StopIteration

    stop.calls = 0
    stopped = sketch_newton(rosen, ALL, jac=rosen_der, hess=rosen_hess, callback=stop)
    assert stopped.status == 99 and not stopped.success and stopped.nit == 3
    assert stopped.message == "`callback` raised `StopIteration`."
    np.testing.assert_array_equal(stopped.x, limited.x)


@pytest.mark.parametrize("where", ["fun", "jac", "hess", "c", "cjac", "chess", "callback"])
@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.parametrize("kind", [LookupError, SystemExit, KeyboardInterrupt])
def test_exceptions_come_back_unchanged(where, call, kind):
    error = kind("mine")

    def failing(name, f):
        def wrapped(*args):
            if name == where:
                wrapped.calls += 1
                if wrapped.calls == call:
                    raise error
            return f(*args)

        wrapped.calls = 0
        return wrapped

    both = NonlinearConstraint(
        failing("c", lambda x: x @ x),
        2,
        2,
        failing("cjac", lambda x: 2 * x),
        failing("chess", lambda x, v: 2 * v[0] * np.eye(3)),
    )
    with pytest.raises(kind) as caught:
        sketch_newton(
            failing("fun", rosen),
            ALL,
            jac=failing("jac", rosen_der),
            hess=failing("hess", rosen_hess),
            constraints=both,
            callback=failing("callback", lambda x: None),
        )
    assert caught.value is error
    assert "wrapped" in [frame.name for frame in caught.traceback]
    assert solve_circle().success


def test_ctrl_c_in_a_native_loop(logistic):
    A, y, C, d = logistic
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sketch_newton(
            GLM(A, y, l2=1e-6),
            np.zeros(20),
            constraints=LinearConstraint(C, d, d),
            linear_solver="kaczmarz",
            tol=1e-14,
            maxiter=10**6,
        )
    assert time.monotonic() - began < 5
    assert solve_circle().success


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"bounds": [(0, 1)] * 3}, "trust-constr"),
        ({"bounds": Bounds(0, np.inf)}, "trust-constr"),
        ({"constraints": {"type": "ineq", "fun": np.sum}}, "trust-constr"),
        ({"constraints": LinearConstraint(np.ones((1, 3)), 0, 1)}, "inequality"),
        ({"constraints": LinearConstraint(np.ones((1, 2)), 0, 0)}, "3 columns"),
        ({"constraints": {"type": "eq"}}, "callable 'fun'"),
        ({"constraints": [3]}, "unknown type"),
        ({"constraints": {"type": "eq", "fun": np.sum, "jac": lambda x: np.ones(2)}}, "shape"),
        ({"jac": lambda x: np.ones(2)}, "3 numbers"),
        ({"jac": "4-point"}, "2-point"),
        ({"hess": lambda x: np.eye(2)}, r"\(3, 3\)"),
        ({"linear_solver": "lu"}, "linear_solver must be one of"),
        ({"sketch": "sjtl"}, "Did you mean 'sjlt'"),
        ({"tol": 0.0}, "tol must be"),
        ({"tol": np.nan}, "tol must be"),
        ({"maxiter": 1.5}, "maxiter must be"),
        ({"threads": 0}, "threads must be"),
        ({"device": "gpu"}, "device must be None, 'cpu' or 'cuda'"),
    ],
)
def test_bad_arguments(extra, message):
    given = {"jac": rosen_der, "hess": rosen_hess, **extra}
    with pytest.raises(ValueError, match=message):
        sketch_newton(rosen, ALL, **given)


@pytest.mark.parametrize("x0", [[], [[1.0, 2.0]], [np.nan, 1.0], ["a", "b"], None])
def test_bad_start(x0):
    with pytest.raises(ValueError, match="x0"):
        sketch_newton(rosen, x0, jac=rosen_der, hess=rosen_hess)


def test_objective_must_return_a_scalar():
    with pytest.raises(ValueError, match="must return a scalar"):
        sketch_newton(lambda x: x, ALL)


def test_unknown_options_warn():
    with pytest.warns(OptimizeWarning, match="Unknown solver options: gtol"):
        minimize(
            rosen, ALL, jac=rosen_der, hess=rosen_hess, method=sketch_newton, options={"gtol": 1}
        )


def test_infinite_bounds_pass():
    result = sketch_newton(rosen, ALL, jac=rosen_der, hess=rosen_hess, bounds=[(None, None)] * 3)
    assert result.success


def test_sketch_pcg_needs_structure():
    with pytest.raises(ValueError, match="WeightedGram"):
        sketch_newton(rosen, ALL, jac=rosen_der, hess=rosen_hess, linear_solver="sketch-pcg")


def test_history_and_disp(capsys):
    result = solve_circle(record_history=True, disp=True)
    printed = capsys.readouterr().out.splitlines()
    assert len(result.history["optimality"]) == result.nit
    assert len(printed) == result.nit + 3
    assert result.history["optimality"][-1] == result.optimality


def test_weighted_gram_from_a_user():
    rng = np.random.default_rng(2)
    A = rng.standard_normal((300, 5))
    b = rng.standard_normal(300)
    result = sketch_newton(
        lambda x: 0.5 * np.sum((A @ x - b) ** 2),
        np.zeros(5),
        jac=lambda x: A.T @ (A @ x - b),
        hess=lambda x: WeightedGram(A, np.ones(300)),
        linear_solver="sketch-pcg",
    )
    np.testing.assert_allclose(result.x, np.linalg.lstsq(A, b, rcond=None)[0], atol=1e-8)


def test_reentrant():
    def fun(x):
        inner = sketch_newton(rosen, [0.0, 0.5], jac=rosen_der, hess=rosen_hess)
        return rosen(x) + inner.fun

    result = sketch_newton(fun, ALL, jac=rosen_der, hess=rosen_hess)
    np.testing.assert_allclose(result.x, 1, atol=1e-7)
