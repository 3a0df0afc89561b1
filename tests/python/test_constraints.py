"""Constraints in SciPy's forms, against known minima and against SciPy."""

import numpy as np
import pytest
from scipy.optimize import (
    Bounds,
    LinearConstraint,
    NonlinearConstraint,
    differential_evolution,
    rosen,
)
from scipy.sparse import csr_array

from fastopt import cbo, problems

DYNAMICS = ["hybrid", "anisotropic", "memory"]
BOX = [(-5.0, 5.0)] * 2
TOL = 1e-8


def line(x):
    return x[0] + x[1]


DISC = NonlinearConstraint(lambda x: x[0] ** 2 + x[1] ** 2, -np.inf, 2.0)  # minimum -2 at (-1, -1)

DISC_FORMS = {
    "nonlinear": DISC,
    "list": [DISC],
    "tuple": (DISC,),
    "dict": {"type": "ineq", "fun": lambda x: 2.0 - x @ x},
    "dict with args": {"type": "ineq", "fun": lambda x, r: r - x @ x, "args": (2.0,)},
    "array limits": NonlinearConstraint(lambda x: [x @ x], [-np.inf], [2.0]),
}


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("form", DISC_FORMS)
def test_a_disc_in_all_forms(form, dynamics):
    result = cbo(line, BOX, constraints=DISC_FORMS[form], rng=1, dynamics=dynamics)
    assert np.abs(result.x + 1).max() < 1e-4
    assert result.x @ result.x <= 2 + 1e-8
    assert result.fun == line(result.x) == pytest.approx(-2, abs=1e-6)
    assert result.status != 4 and result.maxcv <= TOL


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize(
    "equality",
    [
        {"type": "eq", "fun": lambda x: x[0] + 2 * x[1] - 4},
        LinearConstraint([[1, 2]], 4, 4),
        LinearConstraint(csr_array(np.array([[1.0, 2.0]])), 4, 4),
        NonlinearConstraint(lambda x: x[0] + 2 * x[1], 4, 4),
    ],
    ids=["dict", "linear", "sparse", "nonlinear"],
)
def test_an_equality(equality, dynamics):
    # min x.x on x0 + 2 x1 = 4: the foot of the perpendicular, (0.8, 1.6), value 3.2
    result = cbo(lambda x: x @ x, BOX, constraints=equality, rng=1, dynamics=dynamics)
    assert np.abs(result.x - [0.8, 1.6]).max() < 1e-5
    assert abs(result.x[0] + 2 * result.x[1] - 4) <= TOL
    assert result.status != 4


def test_hock_schittkowski_71():
    constraints = [
        NonlinearConstraint(lambda x: np.prod(x), 25, np.inf),
        {"type": "eq", "fun": lambda x: x @ x - 40},
    ]
    result = cbo(lambda x: x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2], [(1, 5)] * 4,
                 constraints=constraints, rng=1)  # fmt: skip
    assert result.fun == pytest.approx(17.0140173, abs=1e-5)
    assert np.abs(result.x - [1, 4.743, 3.8211, 1.3794]).max() < 1e-3
    assert len(result.constr) == 2


def test_it_agrees_with_scipys_differential_evolution():
    def func(x):  # several local minima, an active curved and an active straight constraint
        return float(np.sin(3 * x[0]) + np.cos(2 * x[1]) + 0.1 * x @ x)

    constraints = [DISC, LinearConstraint([[1, -1]], -0.5, np.inf)]
    ours = cbo(func, BOX, constraints=constraints, rng=1)
    theirs = differential_evolution(func, BOX, constraints=constraints, rng=1)
    assert ours.fun <= theirs.fun + 1e-6
    assert ours.maxcv <= TOL


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_vectorized_constraints_take_columns(dynamics):
    shapes = set()

    def circle(x):
        shapes.add(x.shape[0])
        return (x**2).sum(axis=0)

    def two(x):
        return np.array([x[0] - x[1], x[0] ** 2 + x[1] ** 2])

    options = {"rng": 1, "dynamics": dynamics, "vectorized": True}
    one = cbo(line, BOX, constraints=NonlinearConstraint(circle, -np.inf, 2), **options)
    many = cbo(line, BOX, constraints=NonlinearConstraint(two, [-9, -np.inf], [9, 2]), **options)
    linear = cbo(lambda x: (x**2).sum(axis=0), BOX, constraints=LinearConstraint([1, 2], 4, 4),
                 **options)  # fmt: skip
    assert shapes == {2}
    assert one.fun == pytest.approx(-2, abs=1e-6) and many.fun == pytest.approx(-2, abs=1e-6)
    assert linear.fun == pytest.approx(3.2, abs=1e-6)


def test_bounds_as_a_constraint():
    result = cbo(line, BOX, constraints=Bounds([0.5, -1], [5, 5]), rng=1)
    assert result.x == pytest.approx([0.5, -1], abs=1e-6)


def test_a_native_objective_with_constraints():
    problem = problems.sphere(2)
    result = cbo(problem, BOX, constraints=LinearConstraint([1, 2], 4, 4), rng=1)
    assert result.fun == pytest.approx(3.2, abs=1e-6)


def test_integers_and_constraints_together():
    # knapsack: 8a + 11b + 6c + 4d with weights 5, 7, 4, 3 and capacity 14: b, c, d, value 21
    value, weight = np.array([8, 11, 6, 4]), np.array([5, 7, 4, 3])
    result = cbo(lambda x: -value @ x, [(0, 1)] * 4, integrality=True,
                 constraints=LinearConstraint(weight, -np.inf, 14), rng=1)  # fmt: skip
    assert result.fun == -21 and result.x.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_infeasible_problems_have_status_4(dynamics):
    impossible = [LinearConstraint([1, 0], 3, 9), LinearConstraint([1, 0], -9, 2)]
    result = cbo(line, BOX, constraints=impossible, rng=1, dynamics=dynamics, maxfev=3000)
    assert (result.status, result.success) == (4, False)
    assert result.maxcv >= 0.5
    assert "constraints" in result.message


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_the_objective_is_evaluated_at_infeasible_points_and_each_call_counted(dynamics):
    calls = {"f": 0, "outside": 0}

    def func(x):
        calls["f"] += 1
        calls["outside"] += x @ x > 2
        return line(x)

    result = cbo(func, BOX, constraints=DISC, rng=1, dynamics=dynamics, maxfev=2000)
    assert result.nfev == calls["f"] <= 2000
    assert calls["outside"] > 0


def test_the_tolerance_decides_what_is_feasible():
    tight, loose = (
        cbo(line, BOX, constraints=DISC, constraint_tol=tol, rng=1) for tol in (1e-10, 1e-1)
    )
    assert tight.maxcv <= 1e-10
    assert 1e-3 < loose.maxcv <= 1e-1
    assert loose.fun < tight.fun - 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_inequalities_hold_exactly_as_in_scipy(seed):
    """Two curved limits that meet in the minimum, where the local search ends a little outside."""

    def f(x):
        return (x[0] - 10) ** 3 + (x[1] - 20) ** 3

    def c(x):
        outer = (x[0] - 5) ** 2 + (x[1] - 5) ** 2 - 100
        return [outer, 82.81 - (x[0] - 6) ** 2 - (x[1] - 5) ** 2]

    limits = NonlinearConstraint(c, 0, np.inf)
    result = cbo(f, [(13, 100), (0, 100)], constraints=limits, rng=seed)
    assert result.success and min(c(result.x)) >= 0 and result.maxcv == 0
    assert result.fun == pytest.approx(-6961.8138756, rel=1e-8)


def test_the_result_reports_each_constraint():
    result = cbo(line, BOX, constraints=[DISC, LinearConstraint(np.eye(2), -4, 4)], rng=1)
    assert [one.shape for one in result.constr] == [(1,), (2,)]
    assert result.constr_violation == result.maxcv == max(one.max() for one in result.constr)


def test_a_constraint_that_is_nan_is_violated():
    with np.errstate(invalid="ignore"):
        root = NonlinearConstraint(lambda x: np.sqrt(x[0] - 1), 0, np.inf)
        result = cbo(lambda x: x[0], [(-4, 4)], rng=1, constraints=root)
    assert result.x[0] == pytest.approx(1, abs=1e-3) and result.x[0] >= 1


def test_the_callback_sees_the_violation():
    seen = []

    def callback(intermediate_result):
        seen.append((intermediate_result.maxcv, intermediate_result.fun))

    cbo(line, BOX, constraints=LinearConstraint([1, 2], 4, 4), rng=1, callback=callback, maxiter=40)
    violations = np.array([v for v, _ in seen])
    assert (np.diff(violations) <= 0).all() and violations[-1] == 0.0


def test_constraints_are_evaluated_by_the_workers_too():
    def maplike(func, pieces):
        return list(map(func, pieces))

    options = {"constraints": DISC, "rng": 1, "maxiter": 30}
    mapped = cbo(line, BOX, workers=maplike, **options)
    assert mapped.x.tobytes() == cbo(line, BOX, **options).x.tobytes()


def test_a_function_may_overwrite_what_a_constraint_reads():
    def rude(x):
        value = line(x)
        x[:] = np.nan
        return value

    options = {"constraints": DISC, "rng": 1, "maxiter": 30}
    assert cbo(rude, BOX, **options).x.tobytes() == cbo(line, BOX, **options).x.tobytes()


def test_exceptions_of_a_constraint_come_back_unchanged():
    error = LookupError("mine")

    def fun(x):
        raise error

    with pytest.raises(LookupError) as caught:
        cbo(line, BOX, constraints=NonlinearConstraint(fun, 0, 1), rng=1)
    assert caught.value is error


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (5, "unknown type"),
        ([5], "unknown type"),
        ("ab", "unknown type"),
        ({"type": "equal", "fun": line}, "'eq'"),
        ({"type": "eq"}, "callable 'fun'"),
        (LinearConstraint([[1, 2, 3]], 0, 1), "must have 2 columns"),
        (NonlinearConstraint(lambda x: x, [0, 0, 0], 1), "wrong shape"),
        (NonlinearConstraint(lambda x: np.ones((2, 2)), 0, 1), "wrong shape"),
        (NonlinearConstraint(line, np.nan, 1), "NaN"),
    ],
    ids=str,
)
def test_wrong_constraints(wrong, message):
    with pytest.raises(ValueError, match=message):
        cbo(line, BOX, constraints=wrong, rng=1)


def test_rosenbrock_in_a_disc():
    # SciPy's tutorial example family; the minimum on x.x <= 1.5 is 0.0229 or less at (0.85, 0.72)
    constraint = NonlinearConstraint(lambda x: x @ x, -np.inf, 1.5)
    ours = cbo(rosen, BOX, constraints=constraint, rng=1)
    theirs = differential_evolution(rosen, BOX, constraints=constraint, rng=1)
    assert ours.fun <= theirs.fun + 1e-7 and ours.x @ ours.x <= 1.5 + 1e-8
