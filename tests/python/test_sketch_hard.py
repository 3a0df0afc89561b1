"""sketch_newton where it is hard: success is a KKT point and no saddle, or it is not claimed."""

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, NonlinearConstraint, rosen, rosen_der, rosen_hess
from scipy.sparse.linalg import LinearOperator

from fastopt import sketch_newton
from fastopt.problems import GLM, WeightedGram

# ---- saddle points, maxima ---------------------------------------------------------------------

VALLEY = {  # x^2 - y^2 + y^4: a saddle at 0, minima at (0, +-1/sqrt 2)
    "fun": lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4,
    "jac": lambda x: np.array([2 * x[0], -2 * x[1] + 4 * x[1] ** 3]),
    "hess": lambda x: np.diag([2, -2 + 12 * x[1] ** 2]),
}


@pytest.mark.parametrize("x0", [(0.0, 0.0), (1.0, 0.0), (-3.0, 0.0), (0.1, 1e-9)])
@pytest.mark.parametrize("solver", ["ldl", "minres", "nystrom-pcg"])
def test_a_saddle_point_is_left(x0, solver):
    result = sketch_newton(x0=x0, linear_solver=solver, **VALLEY)
    assert result.success and result.fun == pytest.approx(-0.25)
    np.testing.assert_allclose(np.abs(result.x), [0, np.sqrt(0.5)], atol=1e-6)


def circle(factor=1.0):
    return NonlinearConstraint(
        lambda x: factor * (x @ x - 2),
        0,
        0,
        lambda x: factor * 2 * x,
        lambda x, v: factor * 2 * v[0] * np.eye(x.size),
    )


FLAT = {"fun": np.sum, "jac": np.ones_like, "hess": lambda x: np.zeros((x.size, x.size))}


@pytest.mark.parametrize("x0", [(1.0, 1.0), (0.0, 0.0), (2.0, 2.0), (1e-12, 0.0)])
def test_a_maximum_and_a_singular_start_on_the_circle(x0):
    """(1, 1) is the constrained maximum; at 0 the Jacobian vanishes and |c| has its maximum."""
    result = sketch_newton(x0=x0, constraints=circle(), **FLAT)
    assert result.success
    np.testing.assert_allclose(result.x, [-1, -1], atol=1e-7)


def test_a_saddle_in_a_large_space_by_products():
    n = 400
    signs = np.ones(n)
    signs[7] = -1
    result = sketch_newton(
        lambda x: 0.5 * signs @ x**2 + 0.25 * x[7] ** 4,
        np.zeros(n),
        jac=lambda x: signs * x + np.where(np.arange(n) == 7, x**3, 0),
        hess=lambda x: LinearOperator(
            (n, n), matvec=lambda p: (signs + np.where(np.arange(n) == 7, 3 * x**2, 0)) * p
        ),
    )
    assert result.success and result.fun == pytest.approx(-0.25)


def test_a_minimum_stays_where_it_is():
    result = sketch_newton(rosen, np.ones(4), jac=rosen_der, hess=rosen_hess)
    assert result.success and result.nit == 0 and result.nhev == 1
    np.testing.assert_array_equal(result.x, 1)


def test_no_decrease_beyond_a_degenerate_point():
    """x^3 - 3xy^2 + |x|^4 has no second derivative at 0: a KKT point by all that is seen."""
    result = sketch_newton(
        lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2 + (x @ x) ** 2,
        [0.0, 0.0],
        jac=lambda x: np.array([3 * x[0] ** 2 - 3 * x[1] ** 2, -6 * x[0] * x[1]]) + 4 * (x @ x) * x,
        hess=lambda x: (
            np.array([[6 * x[0], -6 * x[1]], [-6 * x[1], -6 * x[0]]])
            + 4 * (x @ x) * np.eye(2)
            + 8 * np.outer(x, x)
        ),
    )
    assert result.success and result.nit == 0


def test_a_broken_hessian_does_not_take_back_a_kkt_point():
    """At x0 the gradient is zero; whether it is a saddle cannot be told."""
    result = sketch_newton(
        lambda x: x @ x, [0.0, 0.0], jac=lambda x: 2 * x, hess=lambda x: np.full((2, 2), np.nan)
    )
    assert result.success and result.nit == 0


# ---- degenerate constraints --------------------------------------------------------------------


def square(where):
    """(x0 - where)^2 = 0: its Jacobian vanishes on all feasible points."""
    return NonlinearConstraint(
        lambda x: [(x[0] - where) ** 2],
        0,
        0,
        lambda x: np.eye(1, x.size) * 2 * (x[0] - where),
        lambda x, v: 2 * v[0] * np.diag(np.eye(x.size)[0]),
    )


def test_no_multipliers_exist(check_fields):
    """min x0 on (x0)^2 = 0: no v solves 1 + 0 v = 0, only points near by with large v do."""
    result = sketch_newton(x0=[1.0, 0.0], constraints=square(0.0), tol=1e-9, **FLAT)
    check_fields(result, 2, 1)
    if result.success:
        x, v = result.x, result.v[0][0]
        gradient = np.array([1 + v * 2 * x[0], 1.0])
        assert max(np.abs(gradient).max(), x[0] ** 2) <= 1e-9


def test_licq_fails_where_multipliers_exist():
    result = sketch_newton(
        lambda x: (x[0] - 1) ** 2 + x[1] ** 2,
        [3.0, 1.0],
        jac=lambda x: np.array([2 * (x[0] - 1), 2 * x[1]]),
        hess=lambda x: 2 * np.eye(2),
        constraints=square(1.0),
    )
    assert result.success
    np.testing.assert_allclose(result.x, [1, 0], atol=1e-3)


@pytest.mark.parametrize(("distance", "status"), [(2.0, {0, 2}), (3.0, {4})])
def test_two_circles_that_touch_or_miss(distance, status):
    centre = np.array([distance, 0.0])
    result = sketch_newton(
        x0=[1.0, 1.0],
        constraints=NonlinearConstraint(
            lambda x: [x @ x - 1, (x - centre) @ (x - centre) - 1],
            0,
            0,
            lambda x: np.array([2 * x, 2 * (x - centre)]),
            lambda x, v: 2 * (v[0] + v[1]) * np.eye(2),
        ),
        **FLAT,
    )
    assert result.status in status
    if status == {4}:
        np.testing.assert_allclose(result.x, [1.5, 0], atol=1e-4)
        assert result.constr_violation == pytest.approx(1.25)


def test_restoration_ends_with_the_residual():
    """x^2 + 1 = 0 has its least violation, 1, at 0."""
    for x0 in ([3.0], [0.0]):
        result = sketch_newton(
            x0=x0,
            constraints=NonlinearConstraint(
                lambda x: x**2 + 1, 0, 0, lambda x: [2 * x], lambda x, v: 2 * v[0] * np.eye(1)
            ),
            **FLAT,
        )
        assert result.status == 4 and "1.0" not in result.message.split("violation")[0]
        assert result.constr_violation == pytest.approx(1) and abs(result.x[0]) < 1e-4
        assert "which is 1 there" in result.message


def test_restoration_returns_to_the_constraints():
    """From far off the curve the steps fail; restoration finds it again, and the run goes on."""
    result = sketch_newton(
        lambda x: (x[0] - 2) ** 2 + x[1] ** 2,
        [0.0, 3.0],
        jac=lambda x: np.array([2 * (x[0] - 2), 2 * x[1]]),
        hess=lambda x: 2 * np.eye(2),
        constraints=NonlinearConstraint(
            lambda x: [np.arctan(5 * (x[1] - np.sin(3 * x[0])))],
            0,
            0,
            lambda x: (
                np.array([[-15 * np.cos(3 * x[0]), 5.0]])
                / (1 + 25 * (x[1] - np.sin(3 * x[0])) ** 2)
            ),
            "2-point",
        ),
        merit="filter",
    )
    assert result.success
    assert abs(result.x[1] - np.sin(3 * result.x[0])) < 1e-8


@pytest.mark.parametrize("extra", [1, 5, 20])
def test_more_equalities_than_variables(extra):
    rng = np.random.default_rng(extra)
    n, point = 4, rng.standard_normal(4)
    A = rng.standard_normal((n + extra, n))
    for target, status in ((A @ point, 0), (A @ point + rng.standard_normal(n + extra), 4)):
        result = sketch_newton(
            rosen,
            np.zeros(n),
            jac=rosen_der,
            hess=rosen_hess,
            constraints=LinearConstraint(A, target, target),
        )
        assert result.status == status
        best = np.linalg.lstsq(A, target, rcond=None)[0]
        np.testing.assert_allclose(result.x, best, atol=1e-5)


def test_rows_of_zeros():
    rows = np.zeros((2, 3))
    for target, status in ((0.0, 0), (1.0, 4)):
        result = sketch_newton(
            rosen,
            np.zeros(3),
            jac=rosen_der,
            hess=rosen_hess,
            constraints=LinearConstraint(rows, target, target),
        )
        assert result.status == status


# ---- conditioning and scale --------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["ldl", "minres", "sketch-pcg", "nystrom-pcg"])
@pytest.mark.parametrize("decades", [6, 12])
def test_condition_numbers(decades, solver):
    rng = np.random.default_rng(decades)
    n = 8
    A = rng.standard_normal((200, n)) @ np.diag(np.logspace(0, -decades / 2, n))
    point = rng.standard_normal(n)
    b = A @ point
    result = sketch_newton(
        lambda x: 0.5 * np.sum((A @ x - b) ** 2),
        np.zeros(n),
        jac=lambda x: A.T @ (A @ x - b),
        hess=lambda x: WeightedGram(A, np.ones(200)),
        constraints=LinearConstraint(np.ones((1, n)), point.sum(), point.sum()),
        linear_solver=solver,
        tol=1e-9,
    )
    assert result.success, result.message
    gradient = A.T @ (A @ result.x - b) + result.v[0]
    assert np.abs(gradient).max() <= 1e-9 and abs(result.x.sum() - point.sum()) <= 1e-9
    if solver == "ldl" and decades == 6:
        np.testing.assert_allclose(result.x, point, atol=1e-3)


@pytest.mark.parametrize("factor", [1e-4, 1e4, 1e8, 1e30, 1e100, 1e200])
def test_a_factor_of_the_objective(factor):
    result = sketch_newton(
        lambda x: factor * rosen(x),
        [-1.2, 1.0],
        jac=lambda x: factor * rosen_der(x),
        hess=lambda x: factor * rosen_hess(x),
        tol=1e-10,
    )
    assert result.success
    np.testing.assert_allclose(result.x, 1, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-6, 1e4, 1e8, 1e15])
def test_a_factor_of_a_constraint(factor):
    result = sketch_newton(x0=[1.0, -0.5], constraints=circle(factor), tol=1e-9, **FLAT)
    assert result.success
    np.testing.assert_allclose(result.x, [-1, -1], atol=1e-3)
    np.testing.assert_allclose(factor * result.v[0], [0.5], atol=1e-3)


@pytest.mark.parametrize("unit", [1e-8, 1e-4, 1e4])
def test_units_of_the_variables(unit):
    result = sketch_newton(
        lambda x: rosen(x / unit),
        [-1.2 * unit, unit],
        jac=lambda x: rosen_der(x / unit) / unit,
        hess=lambda x: rosen_hess(x / unit) / unit**2,
    )
    assert result.success
    np.testing.assert_allclose(result.x / unit, 1, atol=1e-3)


@pytest.mark.parametrize("size", [1e10, 1e60, 1e100, 1e300])
def test_starts_far_out(size, check_fields):
    with np.errstate(all="ignore"):
        result = sketch_newton(rosen, [size, -size], jac=rosen_der, hess=rosen_hess)
    check_fields(result, 2, 0)
    assert "unbounded" not in result.message
    if result.success:
        np.testing.assert_allclose(result.x, 1, atol=1e-6)
    elif size == 1e10:  # the iterate with the least gradient comes back, not x0
        assert result.fun < 1e-20 * rosen(np.array([size, -size]))


# ---- unbounded ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fun", "jac", "hess"),
    [
        (lambda x: x[0], lambda x: np.array([1.0, 0.0]), lambda x: np.zeros((2, 2))),
        (lambda x: -x @ x, lambda x: -2 * x, lambda x: -2 * np.eye(2)),
        (lambda x: x[0] ** 3, lambda x: np.array([3 * x[0] ** 2, 0]),
         lambda x: np.diag([6 * x[0], 0])),
        (lambda x: -np.exp(x[0]), lambda x: np.array([-np.exp(x[0]), 0]),
         lambda x: np.diag([-np.exp(x[0]), 0.0])),
    ],
)  # fmt: skip
@pytest.mark.parametrize("constrained", [False, True])
def test_unbounded_below(fun, jac, hess, constrained):
    plane = LinearConstraint([[0.0, 1.0]], 0.5, 0.5) if constrained else ()
    with np.errstate(over="ignore", invalid="ignore"):
        result = sketch_newton(fun, [-0.1, 0.3], jac=jac, hess=hess, constraints=plane)
    assert result.status == 3 and "unbounded" in result.message


def test_unbounded_along_a_curve():
    """x0 x1 = 1: the objective x0 - x1^2 falls for ever along the curve."""
    result = sketch_newton(
        lambda x: x[0] - x[1] ** 2,
        [1.0, 2.0],
        jac=lambda x: np.array([1.0, -2 * x[1]]),
        hess=lambda x: np.diag([0.0, -2.0]),
        constraints=NonlinearConstraint(
            lambda x: [x[0] * x[1] - 1],
            0,
            0,
            lambda x: np.array([[x[1], x[0]]]),
            lambda x, v: v[0] * np.array([[0.0, 1.0], [1.0, 0.0]]),
        ),
    )
    assert result.status in (2, 3) and not result.success


# ---- what is unknown is said -------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["ldl", "minres", "nystrom-pcg", "block"])
def test_nan_products(solver):
    result = sketch_newton(
        rosen, [-1.2, 1.0], jac=rosen_der, hessp=lambda x, p: np.nan * p, linear_solver=solver
    )
    assert result.status == 3 and not result.success


@pytest.mark.parametrize("R", [np.nan, [np.nan, 1.0], [[np.nan, 0.0], [0.0, 1.0]]])
@pytest.mark.parametrize("solver", ["auto", "ldl", "sketch-pcg", "minres"])
def test_nan_in_a_gram_matrix(R, solver):
    A = np.random.default_rng(0).standard_normal((50, 2))
    result = sketch_newton(
        rosen,
        [-1.2, 1.0],
        jac=rosen_der,
        hess=lambda x: WeightedGram(A, np.ones(50), R),
        linear_solver=solver,
    )
    assert result.status == 3


def test_nan_in_the_data_of_a_gram_matrix():
    A = np.random.default_rng(0).standard_normal((50, 2))
    A[3, 1] = np.nan
    for solver in ("ldl", "sketch-pcg"):
        result = sketch_newton(
            rosen,
            [-1.2, 1.0],
            jac=rosen_der,
            hess=lambda x: WeightedGram(A, np.ones(50)),
            linear_solver=solver,
        )
        assert not result.success and result.status in (2, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_data_of_a_glm_must_be_finite(bad):
    A = np.ones((4, 2))
    A[1, 1] = bad
    with pytest.raises(ValueError, match="A must be finite"):
        GLM(A, [1, -1, 1, -1])


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"jac": lambda x: None}, "jac must return numbers; it returned None"),
        ({"jac": lambda x: ["a", "b"]}, "jac must return numbers"),
        ({"hess": lambda x: None}, "hess of fun must return numbers"),
        ({"jac": True}, r"\(value, gradient\) with jac=True"),
        ({"constraints": {"type": "eq", "fun": lambda x: None}}, "must return numbers"),
        ({"constraints": {"type": "eq", "fun": lambda x: "a"}}, "must return numbers"),
        ({"constraints": {"type": "eq", "fun": lambda x: np.ones((2, 2))}}, "a vector"),
        ({"constraints": LinearConstraint([[1, np.nan]], 1, 1)}, "must be finite"),
        ({"constraints": LinearConstraint([[1, 1]], np.nan, np.nan)}, "NaN"),
    ],
)
def test_answers_that_are_no_numbers(extra, message):
    given_ = {"jac": rosen_der, "hess": rosen_hess, **extra}
    with pytest.raises(ValueError, match=message):
        sketch_newton(rosen, [-1.2, 1.0], **given_)


def test_wrong_derivatives_are_no_success_at_the_wrong_point():
    """Whatever is claimed holds for the functions as given."""
    wrong = sketch_newton(rosen, [-1.2, 1.0], jac=lambda x: -rosen_der(x), hess=rosen_hess)
    assert not wrong.success
    wrong = sketch_newton(
        rosen, [-1.2, 1.0], jac=rosen_der, hess=lambda x: -rosen_hess(x), maxiter=50
    )
    assert not wrong.success or np.abs(rosen_der(wrong.x)).max() <= 1e-8


# ---- steps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.05, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("merit", ["augmented-lagrangian", "filter"])
def test_maratos(angle, merit):
    """f = 2(|x|^2 - 1) - x0 on the unit circle: full steps raise both f and |c|, yet near the
    solution they must pass. (tests/cpp shows what the correction is worth.)"""
    result = sketch_newton(
        lambda x: 2 * (x @ x - 1) - x[0],
        [np.cos(angle), np.sin(angle)],
        jac=lambda x: 4 * x - np.array([1.0, 0.0]),
        hess=lambda x: 4 * np.eye(2),
        constraints=NonlinearConstraint(
            lambda x: [x @ x - 1], 0, 0, lambda x: [2 * x], lambda x, v: 2 * v[0] * np.eye(2)
        ),
        merit=merit,
        record_history=True,
    )
    assert result.success and result.nit <= 12
    np.testing.assert_allclose(result.x, [1, 0], atol=1e-8)
    last = slice(0 if angle < 0.5 else -4, None)
    np.testing.assert_array_equal(result.history["step"][last], 1.0)


def test_quadratic_convergence():
    result = sketch_newton(
        x0=[1.0, -0.5], constraints=circle(), record_history=True, tol=1e-13, **FLAT
    )
    worst = np.maximum(result.history["optimality"], result.history["constr_violation"])
    assert result.success and worst[-1] <= 100 * worst[-2] ** 2 + 1e-15
