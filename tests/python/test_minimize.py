"""`minimize` and `scipy_method`: SciPy's signature and SciPy's rules for both methods."""

import inspect
import pickle
import threading

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import (
    Bounds,
    LinearConstraint,
    NonlinearConstraint,
    OptimizeResult,
    OptimizeWarning,
    rosen,
    rosen_der,
    rosen_hess,
)

import fastopt
from fastopt import minimize, problems, scipy_method

METHODS = ["cbo", "sketch-newton"]
BOX = [(-2.0, 2.0)] * 3
START = [-1.0, 0.5, 0.0]


def arguments(method, **more):
    """Of a quick run of either method."""
    if method == "cbo":
        return {"bounds": BOX, "options": {"rng": 1, "maxiter": 20, **more}}
    return {"jac": rosen_der, "hess": rosen_hess, "options": more}


def test_the_signature_is_scipys():
    ours = inspect.signature(minimize).parameters
    theirs = inspect.signature(scipy.optimize.minimize).parameters
    assert list(ours) == list(theirs)
    assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]


@pytest.mark.parametrize("method", [None, "BFGS", "slsqp"])
def test_other_methods_are_scipys(method):
    ours = minimize(rosen, START, method=method, jac=rosen_der)
    theirs = scipy.optimize.minimize(rosen, START, method=method, jac=rosen_der)
    assert (ours.x == theirs.x).all() and ours.message == theirs.message


def test_a_callable_method_is_called_as_scipy_calls_it():
    seen = {}

    def method(fun, x0, **options):
        seen.update(options)
        return OptimizeResult(x=x0)

    minimize(rosen, START, method=method, tol=0.5, options={"some": 1})
    assert seen["tol"] == 0.5 and seen["some"] == 1


def test_an_unknown_method_is_scipys_error():
    with pytest.raises(ValueError, match="Unknown solver"):
        minimize(rosen, START, method="nonsense")


@pytest.mark.parametrize("name", ["cbo", "CBO"])
def test_cbo_gives_the_result_of_cbo(name):
    by_name = minimize(rosen, START, method=name, **arguments("cbo"))
    itself = fastopt.cbo(rosen, BOX, x0=START, rng=1, maxiter=20)
    assert (by_name.x == itself.x).all() and by_name.nfev == itself.nfev


@pytest.mark.parametrize("name", ["sketch-newton", "sketch_newton", "Sketch-Newton"])
def test_sketch_newton_gives_the_result_of_sketch_newton(name):
    by_name = minimize(rosen, START, method=name, **arguments("sketch-newton"))
    itself = fastopt.sketch_newton(rosen, START, jac=rosen_der, hess=rosen_hess)
    assert (by_name.x == itself.x).all() and by_name.nfev == itself.nfev and itself.success


@pytest.mark.parametrize("method", METHODS)
def test_through_scipy_it_is_the_same(method):
    kwargs = arguments(method)
    ours = minimize(rosen, START, method=method, **kwargs)
    theirs = scipy.optimize.minimize(rosen, START, method=scipy_method(method), **kwargs)
    assert (ours.x == theirs.x).all()
    assert (ours.nit, ours.nfev, ours.message) == (theirs.nit, theirs.nfev, theirs.message)


@pytest.mark.parametrize("method", METHODS)
def test_results_have_what_scipys_have(method):
    kwargs = arguments(method)
    result = minimize(rosen, START, method=method, **kwargs)
    assert type(result) is OptimizeResult
    assert type(result.status) is int and type(result.message) is str
    assert type(result.success) is bool
    assert result.x.dtype == np.float64 and result.x.flags.writeable and result.x.flags.owndata
    assert result.fun == rosen(result.x)
    assert dir(result)


@pytest.mark.parametrize("method", METHODS)
def test_every_call_is_counted(method):
    calls = 0

    def counting(x):
        nonlocal calls
        calls += 1
        x_before = x.copy()
        x[:] = np.nan  # an objective may spoil what it is given
        return rosen(x_before)

    kwargs = {"bounds": BOX} if method == "cbo" else {}
    result = minimize(counting, START, method=method, options={"maxiter": 5}, **kwargs)
    assert result.nfev == calls


# ---- options and tolerances ------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("through", [minimize, scipy.optimize.minimize])
def test_unknown_options_are_a_warning(method, through):
    kwargs = arguments(method, foo=1)
    by = method if through is minimize else scipy_method(method)
    with pytest.warns(OptimizeWarning, match=r"^Unknown solver options: foo$"):
        through(rosen, START, method=by, **kwargs)


@pytest.mark.parametrize("method", METHODS)
def test_the_options_stay_as_they_were(method):
    options = {"maxiter": 3}
    kwargs = {**arguments(method), "options": options}
    minimize(rosen, START, method=method, tol=1e-3, **kwargs)
    assert options == {"maxiter": 3}


@pytest.mark.parametrize("method", METHODS)
def test_tol_is_passed_and_an_option_of_this_name_wins(method):
    kwargs = {**arguments(method), "options": {"rng": 1}}
    fine = minimize(rosen, START, method=method, tol=1e-10, **kwargs)
    coarse = minimize(rosen, START, method=method, tol=10.0, **kwargs)
    assert coarse.nfev < fine.nfev
    kwargs["options"]["tol"] = 10.0
    assert minimize(rosen, START, method=method, tol=1e-10, **kwargs).nfev == coarse.nfev


def test_options_must_be_a_dict():
    with pytest.raises(ValueError, match="options must be a dict"):
        minimize(rosen, START, method="cbo", bounds=BOX, options=5)


def test_integrality_and_native_problems_by_options():
    problem = problems.sphere(2)
    box = [(-3.2, 5.0)] * 2
    options = {"integrality": [True, False], "rng": 1, "maxfev": 500}
    result = minimize(problem, [2, 2], method="cbo", bounds=box, options=options)
    assert result.x[0] == 0 and abs(result.x[1]) < 1e-6


# ---- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_args_may_be_one_value(method):
    kwargs = {"bounds": [(-5, 5)] * 2} if method == "cbo" else {}
    result = minimize(
        lambda x, c: ((x - c) ** 2).sum(),
        [0.0, 0.0],
        args=2.0,
        method=method,
        options={"maxiter": 30, "rng": 1},
        **kwargs,
    )
    np.testing.assert_allclose(result.x, 2, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_x0_of_two_dimensions_is_refused(method):
    with pytest.raises(ValueError, match="'x0' must only have one dimension"):
        minimize(rosen, np.ones((2, 2)), method=method)
    with pytest.raises(ValueError, match="x0 must hold real numbers"):
        minimize(rosen, "here", method=method)


@pytest.mark.parametrize("method", METHODS)
def test_x0_may_be_a_number_and_is_left_alone(method):
    start = np.array(3)
    kwargs = {"bounds": Bounds(-5, 5)} if method == "cbo" else {}
    result = minimize(lambda x: float(x[0] ** 2), start, method=method, **kwargs)
    assert result.x.shape == (1,) and abs(result.x[0]) < 1e-5 and start == 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (Bounds([1, 2], [3, 4]), "The number of bounds is not compatible with the length of `x0`"),
        ([(1, 3)] * 4, "The number of bounds is not compatible with the length of `x0`"),
        (Bounds([1, 6, 1], [3, 4, 2]), "An upper bound is less than the corresponding lower"),
        ("abc", "bounds must be a sequence"),
    ],
)
def test_bounds_that_make_no_sense(method, bounds, message):
    with pytest.raises(ValueError, match=message):
        minimize(rosen, [1, 2, 3], method=method, bounds=bounds)


def test_scalar_bounds_are_broadcast_and_none_means_none():
    for bounds in (Bounds(-2, 2), [(-2, 2)] * 3, (-2, 2)):
        result = minimize(rosen, START, method="cbo", bounds=bounds, options={"rng": 1})
        np.testing.assert_allclose(result.x, 1, atol=1e-5)


def test_a_start_outside_the_bounds_is_moved_with_a_warning():
    with pytest.warns(OptimizeWarning, match="Initial guess is not within the specified bounds"):
        result = minimize(rosen, [5, 0, 0], method="cbo", **arguments("cbo"))
    assert (np.abs(result.x) <= 2).all()


def test_cbo_without_bounds_starts_around_x0():
    result = minimize(lambda x: ((x - 30) ** 2).sum(), [20, 25], method="cbo", options={"rng": 1})
    np.testing.assert_allclose(result.x, 30, atol=1e-5)
    with pytest.raises(ValueError, match="dynamics='hybrid' searches a finite box"):
        minimize(rosen, START, method="cbo", options={"dynamics": "hybrid"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("jac", rosen_der), ("hess", rosen_hess), ("hessp", lambda x, p: rosen_hess(x) @ p)],
)
def test_cbo_says_that_it_does_not_use_derivatives(name, value):
    with pytest.warns(RuntimeWarning, match=rf"cbo does not use .*\({name}\).*'sketch-newton'"):
        minimize(rosen, START, method="cbo", **arguments("cbo"), **{name: value})


@pytest.mark.parametrize("through", [minimize, scipy.optimize.minimize])
@pytest.mark.filterwarnings("ignore:Method cbo does not use")
@pytest.mark.parametrize("method", METHODS)
def test_a_function_that_returns_its_gradient_too(method, through):
    def both(x):
        return rosen(x), rosen_der(x)

    kwargs = arguments(method)
    kwargs.update(jac=True, hess=None)
    by = method if through is minimize else scipy_method(method)
    result = through(both, START, method=by, **kwargs)
    np.testing.assert_allclose(result.x, 1, atol=1e-3)
    if through is minimize:
        with pytest.raises(ValueError, match=r"must return \(value, gradient\)"):
            minimize(rosen, START, method=method, **kwargs)


@pytest.mark.parametrize("scheme", ["2-point", "3-point", "cs", None])
def test_finite_differences_are_honoured_by_name(scheme):
    kinds = set()

    def f(x):
        kinds.add(x.dtype.kind)
        return (x[0] - 1) ** 2 + (x[1] - 2) ** 2 * (1 + x[0] ** 2)

    result = minimize(f, [0.3, 0.1], method="sketch-newton", jac=scheme)
    np.testing.assert_allclose(result.x, [1, 2], atol=1e-5)
    assert ("c" in kinds) == (scheme == "cs")


CONSTRAINTS = [
    {"type": "eq", "fun": lambda x: x.sum() - 3},
    [{"type": "eq", "fun": lambda x, total: x.sum() - total, "args": (3,)}],
    LinearConstraint(np.ones((1, 3)), 3, 3),
    (NonlinearConstraint(lambda x: x.sum(), 3, 3),),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_constraints_in_all_forms(method, constraint):
    kwargs = {"bounds": BOX, "options": {"rng": 1, "maxfev": 3000}} if method == "cbo" else {}
    result = minimize(
        lambda x: float(x @ x), [0, 0, 0], method=method, constraints=constraint, **kwargs
    )
    np.testing.assert_allclose(result.x, 1, atol=1e-5)
    assert result.constr_violation <= 1e-8


def test_what_sketch_newton_cannot_handle_names_the_alternative():
    for refused in (
        {"bounds": [(0, 1)] * 3},
        {"constraints": {"type": "ineq", "fun": lambda x: x[0]}},
        {"constraints": LinearConstraint(np.ones((1, 3)), 0, 1)},
    ):
        with pytest.raises(ValueError, match="trust-constr"):
            minimize(rosen, START, method="sketch-newton", **refused)


# ---- callbacks -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("through", [minimize, scipy.optimize.minimize])
@pytest.mark.parametrize("form", ["result", "point"])
def test_a_callback_that_stops(method, through, form):
    """No evaluation follows, and the result is that of a run with this maxiter."""
    calls, state = 0, {"nit": 0, "calls": -1}

    def counting(x):
        nonlocal calls
        calls += 1
        return rosen(x)

    def stop():
        state["nit"] += 1
        if state["nit"] == 4:
            state["calls"] = calls
            raise StopIteration

    def by_result(intermediate_result):
        assert type(intermediate_result) is OptimizeResult
        assert {"x", "fun", "nit", "nfev"} <= set(intermediate_result)
        stop()

    def by_point(xk):
        assert type(xk) is np.ndarray
        xk[:] = np.nan  # it is a copy
        stop()

    by = method if through is minimize else scipy_method(method)
    callback = by_result if form == "result" else by_point
    kwargs = arguments(method)
    stopped = through(counting, START, method=by, callback=callback, **kwargs)
    assert (stopped.success, stopped.status) == (False, 99)
    assert stopped.message.startswith("`callback` raised `StopIteration`")
    assert calls == state["calls"]
    limited = through(rosen, START, method=by, **arguments(method, maxiter=4))
    assert (stopped.x == limited.x).all() and stopped.fun == limited.fun
    assert stopped.nit == limited.nit == 4


@pytest.mark.parametrize("method", METHODS)
def test_a_true_answer_stops_too(method):
    result = minimize(rosen, START, method=method, callback=lambda x: True, **arguments(method))
    assert (result.nit, result.status) == (1, 99)
    assert result.message == "`callback` returned True."


# ---- scipy_method ----------------------------------------------------------------------------


def test_scipy_method_knows_two_names():
    assert scipy_method("sketch_newton") is fastopt.sketch_newton
    with pytest.raises(ValueError, match=r"name must be one of 'cbo', 'sketch-newton'; got 'cbi'"):
        scipy_method("cbi")
    with pytest.raises(ValueError, match="name must be one of"):
        scipy_method(3)
    for name in METHODS:
        assert pickle.loads(pickle.dumps(scipy_method(name))) is scipy_method(name)


def test_it_serves_as_a_local_minimizer():
    local = {"method": scipy_method("sketch-newton")}
    hopped = scipy.optimize.basinhopping(rosen, [0, 0], niter=2, rng=1, minimizer_kwargs=local)
    np.testing.assert_allclose(hopped.x, 1, atol=1e-4)
    annealed = scipy.optimize.dual_annealing(
        rosen, [(-2, 2)] * 2, maxiter=20, rng=1, minimizer_kwargs=local
    )
    np.testing.assert_allclose(annealed.x, 1, atol=1e-4)


def test_it_polishes():
    evolved = scipy.optimize.differential_evolution(
        lambda x: x[0] ** 2 + x[1] ** 2, [(-3, 2)] * 2, maxiter=1, rng=1, polish=scipy_method("cbo")
    )
    assert evolved.fun < 1e-12
    swarm = fastopt.cbo(
        rosen,
        None,
        x0=[0.0, 0.0],
        dynamics="memory",
        maxiter=5,
        rng=1,
        polish=scipy_method("sketch-newton"),
    )
    np.testing.assert_allclose(swarm.x, 1, atol=1e-4)
    with pytest.raises(ValueError, match="bounds are inequalities"):
        fastopt.cbo(rosen, BOX, maxiter=2, rng=1, polish=scipy_method("sketch-newton"))


def test_a_polish_of_the_users_own_brings_its_jacobian():
    seen = []

    def polish(f, x, **given):
        seen.append(sorted(given))
        return scipy_method("sketch-newton")(f, x, jac="3-point")

    result = fastopt.cbo(rosen, BOX, rng=1, maxiter=2, polish=polish)
    assert seen == [["bounds", "constraints"]]
    np.testing.assert_allclose(result.x, 1, atol=1e-5)
    assert "jac" in result


# ---- re-entrancy and threads -----------------------------------------------------------------


@pytest.mark.parametrize("outer", METHODS)
@pytest.mark.parametrize("inner", METHODS)
def test_an_objective_may_call_minimize(outer, inner):
    def f(x):
        kwargs = (
            {"bounds": [(-1, 1)], "options": {"rng": 1, "maxfev": 60}} if inner == "cbo" else {}
        )
        found = minimize(lambda y: float((y[0] - x[0] / 9) ** 2), [0.5], method=inner, **kwargs)
        return float((x[0] - 0.3) ** 2 + found.fun)

    kwargs = {"bounds": [(-1, 1)], "options": {"rng": 1, "maxfev": 60}} if outer == "cbo" else {}
    result = minimize(f, [0.9], method=outer, **kwargs)
    assert abs(result.x[0] - 0.3) < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_threads_do_not_disturb_each_other(method):
    kwargs = arguments(method)
    alone = minimize(rosen, START, method=method, **kwargs).x
    found = {}

    def solve(k):
        found[k] = minimize(rosen, START, method=method, **kwargs).x

    threads = [threading.Thread(target=solve, args=(k,)) for k in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 4 and all((x == alone).all() for x in found.values())
