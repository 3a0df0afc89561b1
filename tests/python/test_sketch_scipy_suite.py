"""SciPy's own equality-constrained test problems, solved through minimize(method=sketch_newton)."""

import warnings

import numpy as np
import pytest
from scipy.optimize import BFGS, SR1, NonlinearConstraint, minimize

from fastopt import sketch_newton

suite = pytest.importorskip("scipy.optimize.tests.test_minimize_constrained")

PROBLEMS = {
    "Maratos": suite.Maratos(),
    "Maratos, differences": suite.Maratos(constr_hess="2-point"),
    "Maratos, SR1": suite.Maratos(constr_hess=SR1()),
    "Maratos, jac by differences": suite.Maratos(constr_jac="2-point", constr_hess=SR1()),
    "MaratosGradInFunc": suite.MaratosGradInFunc(),
    "Rosenbrock": suite.Rosenbrock(),
    "Elec": suite.Elec(n_electrons=2),
    "Elec, differences": suite.Elec(n_electrons=2, constr_hess="2-point"),
    "Elec, SR1": suite.Elec(n_electrons=2, constr_hess=SR1()),
    "Elec, jac by differences": suite.Elec(n_electrons=2, constr_jac="3-point", constr_hess=SR1()),
}


def constraint_of(problem):
    """SciPy lets the electrons of Elec into the sphere (lb = -inf); here they stay on it."""
    given = problem.constr
    if isinstance(problem, suite.Elec):
        return NonlinearConstraint(given.fun, 0, 0, given.jac, given.hess)
    return given


HESSIANS = {
    "exact": None,
    "3-point": "3-point",
    "SR1": SR1(),
    "BFGS damped": BFGS(exception_strategy="damp_update"),
    "BFGS": BFGS(exception_strategy="skip_update"),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("grad", ["exact", "3-point", False])
@pytest.mark.parametrize("hess", HESSIANS)
def test_problem(name, grad, hess):
    problem = PROBLEMS[name]
    if grad != "exact" and (hess == "3-point" or problem.grad is True):
        pytest.skip("a numerical Hessian needs an analytical gradient")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "delta_grad == 0.0", UserWarning)
        result = minimize(
            problem.fun,
            problem.x0,
            method=sketch_newton,
            jac=problem.grad if grad == "exact" else grad,
            hess=problem.hess if hess == "exact" else HESSIANS[hess],
            bounds=problem.bounds,
            constraints=constraint_of(problem),
        )
    if problem.x_opt is not None:
        np.testing.assert_array_almost_equal(result.x, problem.x_opt, decimal=5)
    if result.success:
        assert result.kkt_residual <= 1e-8
    assert result.status in (0, 2), result.message
    assert result.constr_violation <= 1e-7
    if name.startswith("Elec"):
        points = result.x.reshape(3, 2)
        assert np.linalg.norm(points[:, 0] - points[:, 1]) == pytest.approx(2, abs=1e-5)


def test_sixty_electrons():
    problem = suite.Elec(n_electrons=60)
    result = minimize(
        problem.fun,
        problem.x0,
        method=sketch_newton,
        jac=problem.grad,
        hess=problem.hess,
        constraints=constraint_of(problem),
    )
    assert result.success and result.kkt_residual <= 1e-8
    assert result.fun < 1.001 * 1543.8304  # the known minimum for 60 electrons


def test_hessp_and_args():
    problem = suite.Maratos()
    result = minimize(
        problem.fun,
        problem.x0,
        method=sketch_newton,
        jac=problem.grad,
        hessp=lambda x, p: problem.hess(x) @ p,
        constraints=constraint_of(problem),
    )
    np.testing.assert_allclose(result.x, problem.x_opt, atol=1e-6)
    problem = suite.MaratosTestArgs("a", 234)
    result = minimize(
        problem.fun,
        problem.x0,
        ("a", 234),
        method=sketch_newton,
        jac=problem.grad,
        hess=problem.hess,
        constraints=constraint_of(problem),
    )
    np.testing.assert_allclose(result.x, problem.x_opt, atol=1e-2)


def test_a_numerical_hessian_of_a_numerical_gradient_is_refused():
    problem = suite.Maratos()
    with pytest.raises(ValueError, match="Whenever the gradient is estimated via finite-differ"):
        sketch_newton(problem.fun, problem.x0, jac="2-point", hess="2-point")


def test_scalar_problem_with_a_callback_of_two_arguments():
    seen = []
    result = minimize(
        lambda x: x**2,
        [0],
        jac=lambda x: 2 * x,
        hess=lambda x: 2,
        callback=lambda x, info: seen.append((x.copy(), info.nit, info.niter)),
        method=sketch_newton,
    )
    assert result.success and result.niter == result.nit
    assert len(seen) == result.nit
