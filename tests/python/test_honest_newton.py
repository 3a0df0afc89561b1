"""Problems on which Newton's method is known to be hard or wrong: right, or the status says not.

Every success is held against first- and second-order conditions that NumPy computes from the
problem's own functions: the gradient of the Lagrangian, c, and the reduced Hessian's eigenvalues.
lstsq is held against the normal equations and the SVD.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, NonlinearConstraint, rosen, rosen_der, rosen_hess

from fastopt import lstsq, sketch, sketch_newton

RNG = np.random.default_rng(2)
ROTATION = np.linalg.qr(RNG.standard_normal((5, 5)))[0]


def quadratic(Q, q, A=None, b=None, x0=None, **more):
    n = len(q)
    A = np.zeros((0, n)) if A is None else np.asarray(A, float)
    return SimpleNamespace(
        fun=lambda x: 0.5 * x @ Q @ x + q @ x,
        jac=lambda x: Q @ x + q,
        hess=lambda x: Q,
        c=lambda x: A @ x - (np.zeros(len(A)) if b is None else b),
        cjac=lambda x: A,
        chess=lambda x, v: np.zeros((n, n)),
        m=len(A),
        x0=np.zeros(n) if x0 is None else np.asarray(x0, float),
        **{"solution": None, "status": {0}, **more},
    )


def curved(fun, jac, hess, c, cjac, chess, m, x0, **more):
    return SimpleNamespace(fun=fun, jac=jac, hess=hess, c=c, cjac=cjac, chess=chess, m=m,
                           x0=np.asarray(x0, float),
                           **{"solution": None, "status": {0}, **more})  # fmt: skip


def free(fun, jac, hess, x0, **more):
    n = len(x0)
    return curved(fun, jac, hess, lambda x: np.zeros(0), lambda x: np.zeros((0, n)),
                  lambda x, v: np.zeros((n, n)), 0, x0, **more)  # fmt: skip


def rotated(decades):
    return ROTATION @ np.diag(np.logspace(0, -decades, 5)) @ ROTATION.T


ONE = np.ones(5)
VERTEX = np.vstack([np.eye(3), np.ones((1, 3)), [[1.0, -1.0, 0.0]], [[1.0, 2.0, 3.0]]])
SADDLE = np.diag([1.0, -1.0, 2.0])
TWO = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
any_end = {0, 1, 2, 3, 4}

# name: the problem, the statuses that are right, and the solution where it is one point
HARD = {
    "degenerate vertex": quadratic(np.eye(3), -np.ones(3), VERTEX, VERTEX @ [1.0, 2, 3],
                                   solution=[1, 2, 3]),
    "a vertex, rows 1e8 and 1e-4": quadratic(np.eye(3), -np.ones(3), VERTEX[:2] * [[1e8], [1e-4]],
                                      [1e8, 2e-4], solution=[1, 2, 1]),
    "duplicated row": quadratic(np.eye(3), -np.ones(3), TWO, [1.0, 1.0], solution=[0.5, 0.5, 1]),
    "inconsistent rows": quadratic(np.eye(3), -np.ones(3), TWO, [1.0, 2.0], status={4}),
    "rows inconsistent by 1e-6": quadratic(np.eye(3), -np.ones(3), TWO, [1.0, 1 + 1e-6],
                                           status={2, 4}),
    "rows nearly parallel": quadratic(np.eye(3), -np.ones(3),
                                      [[1.0, 1.0, 0.0], [1.0, 1.0, 1e-7]], [1.0, 1.0 + 2e-7],
                                      status=any_end),
    "more rows than variables": quadratic(np.eye(2), np.ones(2), RNG.standard_normal((6, 2)),
                                          RNG.standard_normal(6), status={4}),
    "indefinite, its minimum on a plane": quadratic(SADDLE, np.zeros(3), [[0.0, 1.0, 0.0]], [1.0],
                                                    x0=[3, 0, 1], solution=[0, 1, 0]),
    "indefinite, unbounded on the plane": quadratic(SADDLE, np.zeros(3), [[1.0, 0.0, 0.0]], [1.0],
                                                    x0=[3, 0.1, 1], status={3}),
    "unbounded linear": quadratic(np.zeros((2, 2)), np.ones(2), [[1.0, 2.0]], [1.0], status={3}),
    "flat along a line": quadratic(np.diag([1.0, 0.0]), np.zeros(2), x0=[3.0, 7.0]),
    "a saddle as start": free(
        lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4,
        lambda x: np.array([2 * x[0], -2 * x[1] + x[1] ** 3]),
        lambda x: np.diag([2, -2 + 3 * x[1] ** 2]), [0.0, 0.0]),
    "a saddle on the way": free(
        lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4,
        lambda x: np.array([2 * x[0], -2 * x[1] + x[1] ** 3]),
        lambda x: np.diag([2, -2 + 3 * x[1] ** 2]), [5.0, 0.0]),
    "a maximum as start": free(lambda x: np.cos(x[0]), lambda x: -np.sin(x),
                               lambda x: np.array([[-np.cos(x[0])]]), [0.0]),
    "condition 1e12": quadratic(rotated(12), -rotated(12) @ ONE),
    "condition 1e12, a plane": quadratic(rotated(12), -rotated(12) @ ONE, [ONE], [5.0]),
    "condition 1e-12 .. 1": quadratic(1e6 * rotated(12), -1e6 * rotated(12) @ ONE),
    "LICQ fails, multipliers exist": curved(
        lambda x: (x[0] - 1) ** 2 + x[1] ** 2, lambda x: np.array([2 * (x[0] - 1), 2 * x[1]]),
        lambda x: 2 * np.eye(2), lambda x: np.array([(x[0] - 1) ** 2]),
        lambda x: np.array([[2 * (x[0] - 1), 0.0]]), lambda x, v: np.diag([2 * v[0], 0]), 1,
        [3.0, 1.0], status=any_end),
    "LICQ fails, no multipliers": curved(
        lambda x: x[0], lambda x: np.array([1.0, 0.0]), lambda x: np.zeros((2, 2)),
        lambda x: np.array([x[0] ** 2 + x[1] ** 2]), lambda x: np.array([2 * x]),
        lambda x, v: 2 * v[0] * np.eye(2), 1, [1.0, 1.0], status=any_end),
    "a cusp": curved(
        lambda x: x[0], lambda x: np.array([1.0, 0.0]), lambda x: np.zeros((2, 2)),
        lambda x: np.array([x[0] ** 3 - x[1] ** 2]),
        lambda x: np.array([[3 * x[0] ** 2, -2 * x[1]]]),
        lambda x, v: v[0] * np.diag([6 * x[0], -2]), 1, [1.0, 1.0], status=any_end),
    "multipliers 1e8": quadratic(np.eye(2), -np.ones(2), [[1e-8, 0.0]], [3e-8],
                                 solution=[3.0, 1.0]),
    "rosen times 1e-6": free(lambda x: 1e-6 * rosen(x), lambda x: 1e-6 * rosen_der(x),
                             lambda x: 1e-6 * rosen_hess(x), [-1.2, 1.0]),
    "rosen times 1e150": free(lambda x: 1e150 * rosen(x), lambda x: 1e150 * rosen_der(x),
                              lambda x: 1e150 * rosen_hess(x), [-1.2, 1.0], solution=[1, 1]),
    "rosen in units of 1e-8": free(lambda x: rosen(x * 1e8), lambda x: rosen_der(x * 1e8) * 1e8,
                                   lambda x: rosen_hess(x * 1e8) * 1e16, [-1.2e-8, 1e-8],
                                   solution=[1e-8, 1e-8]),
}  # fmt: skip


def conditions(p, result):
    """(|grad f + J'v| beside max(1, |grad f|), |c|, least curvature beside the largest)."""
    x = result.x
    v = result.v[0] if p.m else np.zeros(0)
    g, J = p.jac(x), p.cjac(x)
    dual = np.abs(g + J.T @ v).max() / max(1.0, np.abs(g).max())
    _, sizes, rows = np.linalg.svd(J) if p.m else (0, np.zeros(0), np.eye(x.size))
    null = rows[int(np.sum(sizes > 1e-8 * sizes.max(initial=0.0))) :]
    least = 0.0
    if len(null):
        values = np.linalg.eigvalsh(null @ (p.hess(x) + p.chess(x, v)) @ null.T)
        least = values.min() / max(np.abs(values).max(), 1e-300)
    return dual, np.abs(p.c(x)).max(initial=0.0), least


def solve(p, **options):
    given = {"tol": 1e-8, "maxiter": 300, **options}
    limits = NonlinearConstraint(p.c, 0, 0, p.cjac, p.chess) if p.m else ()
    with np.errstate(all="ignore"):
        return sketch_newton(p.fun, p.x0, jac=p.jac, hess=p.hess, constraints=limits, **given)


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("merit", ["augmented-lagrangian", "filter"])
@pytest.mark.parametrize("solver", ["auto", "ldl", "minres", "nystrom-pcg"])
def test_success_meets_the_conditions(name, solver, merit):
    p = HARD[name]
    result = solve(p, linear_solver=solver, merit=merit)
    if solver in ("auto", "ldl"):
        assert result.status in p.status, result.message
    hold(name, result)
    if result.success and p.solution is not None:
        size = np.abs(p.solution).max()
        np.testing.assert_allclose(result.x, p.solution, rtol=1e-4, atol=1e-4 * size)
    # where c'' bends within tol of a point without LICQ the reduced Hessian says nothing
    if result.success and "LICQ" not in name and name != "a cusp":
        assert conditions(p, result)[2] >= -1e-6


@pytest.mark.parametrize("name", HARD)
def test_success_of_the_papers_method(name):
    """'adasketch' stops at any KKT point, as published."""
    hold(name, solve(HARD[name], linear_solver="adasketch", maxiter=20))


def hold(name, result):
    p = HARD[name]
    assert result.success == (result.status == 0)
    if 0 not in p.status:
        assert not result.success
    if result.success:
        dual, violation, _ = conditions(p, result)
        assert dual <= 1.0001e-8 and violation <= 1.0001e-8
        assert result.kkt_residual == pytest.approx(max(dual, violation), abs=1e-12, rel=1e-6)


@pytest.mark.parametrize("factor", [1e-12, 1e-200])
def test_a_tol_above_all_gradients_is_told(factor):
    """tol is the residual of the problem as stated: nothing is left to do, and that is said."""
    result = sketch_newton(
        lambda x: factor * rosen(x), [-1.2, 1.0], jac=lambda x: factor * rosen_der(x),
        hess=lambda x: factor * rosen_hess(x),
    )  # fmt: skip
    assert result.nit == 0 and "x0 meets tol already" in result.message
    assert "Lower tol" in result.message
    lower = sketch_newton(
        lambda x: factor * rosen(x), [-1.2, 1.0], jac=lambda x: factor * rosen_der(x),
        hess=lambda x: factor * rosen_hess(x), tol=1e-7 * factor,
    )  # fmt: skip
    assert not lower.success or np.abs(lower.x - 1).max() <= 1e-4


def bowl(x):
    return float(((x - 1) ** 2).sum())


COARSE = {
    "single precision": lambda x: float(np.float32(bowl(x))),
    "printed with six digits": lambda x: round(bowl(x), 6),
    "a constant of 1e10": lambda x: 1e10 + bowl(x),
    "minus a constant of 1e12": lambda x: bowl(x) - 1e12,
}


@pytest.mark.parametrize("name", COARSE)
@pytest.mark.parametrize("jac", [None, "3-point"])
@pytest.mark.parametrize("plane", [False, True])
def test_values_too_coarse_for_their_differences(name, jac, plane):
    """All differences were zero, and x0 = (3, 2, -1) a success."""
    limits = LinearConstraint(np.ones((1, 3)), 4, 4) if plane else ()
    best = np.full(3, 4 / 3) if plane else np.ones(3)
    for x0 in ([3.0, 2.0, -1.0], best, best + 1e-5):
        result = sketch_newton(COARSE[name], x0, jac=jac, constraints=limits)
        near = np.abs(result.x - best).max() <= 0.01
        assert near or not result.success
        assert "finite_diff_rel_step" in result.message or near or result.status != 2
    exact = sketch_newton(COARSE[name], [3.0, 2.0, -1.0], jac=lambda x: 2 * (x - 1),
                          hess=lambda x: 2 * np.eye(3), constraints=limits)  # fmt: skip
    assert exact.success and np.abs(exact.x - best).max() <= 1e-6


@pytest.mark.parametrize("jac", [None, "2-point", "3-point"])
def test_differences_that_are_rightly_zero(jac):
    """A constant, a minimum whose curvature is below rounding, a saddle's flat axes."""
    for fun in (lambda x: 3.0, lambda x: 1 + bowl(x), lambda x: 1e3 + bowl(x) ** 2):
        result = sketch_newton(fun, np.ones(3), jac=jac)
        assert result.success
        np.testing.assert_allclose(result.x, 1, atol=1e-6)


# ---- least squares -------------------------------------------------------------------------------


def tall(decades, rank=6, rows=300):
    U = np.linalg.qr(RNG.standard_normal((rows, 6)))[0][:, :rank]
    V = np.linalg.qr(RNG.standard_normal((6, 6)))[0][:, :rank]
    return U @ np.diag(np.logspace(0, -decades, rank)) @ V.T


@pytest.mark.parametrize("kind", ["sjlt", "countsketch", "srht", "gaussian", "leverage", "less"])
@pytest.mark.parametrize("decades", [0, 6, 12])
@pytest.mark.parametrize("size", [1e-100, 1.0, 1e100])
def test_least_squares(kind, decades, size):
    A = tall(decades) * size
    b = A @ np.ones(6) + RNG.standard_normal(300) * size
    result = lstsq(A, b, sketch=kind, rng=0)
    assert result.success and result.rank == 6
    residual = b - A @ result.x
    # backward stable: A'r within rounding of |A| (|A| |x| + |b|)
    scale = np.linalg.norm(A / size, 2) * np.linalg.norm(b / size)
    assert np.linalg.norm((A / size).T @ (residual / size)) <= 1e-12 * max(
        scale, np.linalg.norm(result.x)
    )
    assert result.fun == pytest.approx(np.linalg.norm(residual / size) * size, rel=1e-10)
    best = np.linalg.lstsq(A / size, b / size, rcond=None)[0]
    condition = 10.0**decades
    assert np.linalg.norm(result.x - best) <= 1e-11 * condition * np.linalg.norm(best) * condition


@pytest.mark.parametrize("rank", [0, 1, 3, 5])
def test_rank_deficient_least_squares(rank):
    A = tall(1, rank) if rank else np.zeros((300, 6))
    b = RNG.standard_normal(300)
    result = lstsq(A, b)
    best = np.linalg.lstsq(A, b, rcond=1e-10)[0]
    assert result.success and result.rank == rank
    np.testing.assert_allclose(result.x, best, atol=1e-9)


def test_columns_that_are_equal_and_rows_that_are_zero():
    A = np.zeros((200, 4))
    A[:10] = RNG.standard_normal((10, 1)) * [1.0, 1.0, 2.0, 0.0]
    result = lstsq(A, np.ones(200))
    np.testing.assert_allclose(result.x, np.linalg.lstsq(A, np.ones(200), rcond=1e-10)[0],
                               atol=1e-12)  # fmt: skip
    assert result.rank == 1


@pytest.mark.parametrize("kind", ["countsketch", "leverage", "uniform", "less", "sjlt", "srht",
                                  "gaussian"])  # fmt: skip
@pytest.mark.parametrize("seed", range(4))
def test_columns_that_a_sketch_loses(kind, seed):
    """Columns that stand in one row each: success with |A'r| at 4 % of |A| |r|."""
    n = 12
    tall = np.vstack([np.eye(n), np.zeros((388, n))])
    spiked = np.vstack([1e8 * np.eye(n), 1e-3 * RNG.standard_normal((388, n))])
    for A in (tall, spiked, RNG.standard_normal((n, n))):
        b = RNG.standard_normal(len(A))
        result = lstsq(A, b, sketch=kind, rng=seed)
        gradient = np.linalg.norm(A.T @ (A @ result.x - b))
        size = np.linalg.norm(A, 2)
        stable = gradient <= 1e-10 * size * (np.linalg.norm(b) + size * np.linalg.norm(result.x))
        assert result.success == stable
        if kind in ("sjlt", "srht", "gaussian"):
            assert result.success and result.rank == n
        if not result.success:
            assert result.status == 2 and "The sketch lost columns of A" in result.message


@pytest.mark.parametrize("kind", ["sjlt", "srht", "gaussian", "leverage", "less"])
def test_a_sketch_keeps_singular_values_of_any_size(kind):
    """A subspace embedding distorts all of them alike, twelve decades apart or not."""
    A = tall(12)
    sizes = np.linalg.svd(sketch(A, 120, kind, rng=1), compute_uv=False)
    np.testing.assert_allclose(sizes, np.logspace(0, -12, 6), rtol=0.6)
