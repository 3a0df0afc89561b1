"""Which tests of SciPy's modules run, and which of these are left out and why."""

from __future__ import annotations

# The SciPy whose tests these lists describe; in another one a name may be missing.
MADE_FOR = "1.17"

# module: patterns of its tests that are about what fastopt does too
SELECTED: dict[str, tuple[str, ...]] = {
    "test_minimize_constrained": ("TestTrustRegionConstr::*", "TestEmptyConstraint::*", "test_*"),
    "test__differential_evolution": ("*",),
    "test_optimize": (
        "*test_callback_stopiteration*",
        "*test_minimize_callback_copies_array[[]cbo]",
        "*test_minimize_callback_copies_array[[]sketch-newton]",
        "*::test_attributes_present",
        "test_x_overwritten_user_function",
        "*test_optimize_result_attributes",
        "*test_respect_maxiter[[]trust-constr]",
        "*test_nan_values[[]nelder-mead]",
        "*test_nan_values[[]trust-constr]",
        "*test_minimize_invalid_bounds[[]nelder-mead]",
        "*test_minimize_invalid_bounds[[]trust-constr]",
        "*test_duplicate_evaluations[[]nelder-mead]",
        "*test_duplicate_evaluations[[]trust-constr]",
        "*test_minimize_tol_parameter",
        "test_minimize_with_scalar[[]Nelder-Mead]",
        "test_minimize_maxiter_noninteger[[]nelder-mead]",
        "test_minimize_maxiter_noninteger[[]trust-constr]",
        "test_result_x_shape_when_len_x_is_one",
        "test_sparse_hessian[[]*trust-constr]",
        "*test_no_increase[[]nelder-mead]",
        "*test_finite_differences_hess",
    ),
}

_EVOLUTION = "test__differential_evolution::TestDifferentialEvolutionSolver::"
_CONSTRAINED = "test_minimize_constrained::"
_PROBLEM = f"{_CONSTRAINED}TestTrustRegionConstr::test_list_of_problems"

_PRIVATE = "reads a private method or attribute of DifferentialEvolutionSolver"
_MUTATION = "mutation and strategy belong to differential evolution"
_INEQUALITY = "has inequalities or bounds, which sketch_newton refuses with the alternative"
_ON_THE_SPHERE = (
    "SciPy lets the electrons into the ball, an inequality; test_sketch_scipy_suite.py keeps them "
    "on the sphere"
)

SKIPPED: dict[str, str] = {
    # ---- differential evolution --------------------------------------------------------------
    f"{_EVOLUTION}test__strategy_resolves": _MUTATION,
    f"{_EVOLUTION}test__mutate[12]": _MUTATION,
    f"{_EVOLUTION}test__randtobest1": _MUTATION,
    f"{_EVOLUTION}test__currenttobest1": _MUTATION,
    f"{_EVOLUTION}test_can_init_with_dithering": _MUTATION,
    f"{_EVOLUTION}test_invalid_mutation_values_arent_accepted": _MUTATION,
    f"{_EVOLUTION}test_init_with_invalid_strategy": _MUTATION,
    f"{_EVOLUTION}test_strategy_fn": _MUTATION,
    f"{_EVOLUTION}test_select_samples": _MUTATION,
    f"{_EVOLUTION}test__scale_parameters": _PRIVATE,
    f"{_EVOLUTION}test__unscale_parameters": _PRIVATE,
    f"{_EVOLUTION}test__ensure_constraint": _PRIVATE,
    f"{_EVOLUTION}test_equal_bounds": f"{_PRIVATE}; test_api.py has equal bounds",
    f"{_EVOLUTION}test_calculate_population_energies": _PRIVATE,
    f"{_EVOLUTION}test_iteration": "iterates over the solver object, which cbo does not have",
    f"{_EVOLUTION}test_convergence": _PRIVATE,
    f"{_EVOLUTION}test_converged": _PRIVATE,
    f"{_EVOLUTION}test_quadratic": "asks for the best member first; particles keep their places",
    f"{_EVOLUTION}test_population_initiation": _PRIVATE,
    f"{_EVOLUTION}test_deferred_updating": "updating belongs to differential evolution",
    f"{_EVOLUTION}test_immediate_updating": "updating belongs to differential evolution",
    f"{_EVOLUTION}test_parallel_threads": f"{_PRIVATE}; test_objectives.py has workers",
    f"{_EVOLUTION}test_parallel_processes": f"{_PRIVATE}; test_objectives.py has workers",
    f"{_EVOLUTION}test_constraint_violation_fn": _PRIVATE,
    f"{_EVOLUTION}test_constraint_population_feasibilities": _PRIVATE,
    f"{_EVOLUTION}test_accept_trial": _PRIVATE,
    f"{_EVOLUTION}test_constraint_wrapper*": "tests a private class of SciPy's alone",
    f"{_EVOLUTION}test_matrix_linear_constraint": "tests a private class of SciPy's alone",
    f"{_EVOLUTION}test_integrality_limits": f"{_PRIVATE}; test_api.py has integrality",
    f"{_EVOLUTION}test_reference_cycles": "tests a private class; test_leaks.py tests ours",
    f"{_EVOLUTION}test_intermediate_result": (
        "wants the population in the intermediate result, which the hybrid does not have, and an "
        "evaluation after StopIteration, which must not follow here; test_callbacks.py has the rest"
    ),
    f"{_EVOLUTION}test_maxfun_stops_solve": "wants maxfun passed by one; maxfev is never passed",
    f"{_EVOLUTION}test_constraint_solve": "wants the warning of trust-constr; ours is SLSQP",
    f"{_EVOLUTION}test_impossible_constraint": "wants the warning of trust-constr; ours is SLSQP",
    f"{_EVOLUTION}test_vectorized": (
        "wants the warning about updating, and calls counted where nfev counts points here"
    ),
    f"{_EVOLUTION}test_L3": (
        "wants x to 1e-6; forward differences in SLSQP give 2e-6, and f to 1e-10"
    ),
    # ---- trust-constr ------------------------------------------------------------------------
    f"{_PROBLEM}[[]*-prob[5678]]": _INEQUALITY,
    f"{_PROBLEM}[[]*-prob1[012]]": _INEQUALITY,
    f"{_PROBLEM}[[]*-prob1[3456]]": _ON_THE_SPHERE,
    f"{_PROBLEM}[[]*-False-prob[0123]]": (
        "wants an optimality of 1e-8 from forward differences; tol is relative to |grad f| there"
    ),
    f"{_CONSTRAINED}*::test_default_jac_and_hess": _INEQUALITY,
    f"{_CONSTRAINED}*::test_default_hess": _INEQUALITY,
    f"{_CONSTRAINED}*::test_issue_15093": _INEQUALITY,
    f"{_CONSTRAINED}*::test_empty_constraint": _INEQUALITY,
    f"{_CONSTRAINED}test_gh11649": _INEQUALITY,
    f"{_CONSTRAINED}test_bug_11886": "names no method: SciPy's choice solves it",
    f"{_CONSTRAINED}*::test_issue_9044": (
        "starts at the minimum, where trust-constr counts an iteration and we count none"
    ),
    f"{_CONSTRAINED}test_gh20665_too_many_constraints": (
        "wants an error for more equalities than variables, which sketch_newton can treat"
    ),
    # ---- minimize ----------------------------------------------------------------------------
    "test_optimize::test_minimize_maxiter_noninteger*": (
        "passes maxiter=100.1, which we refuse as a mistake"
    ),
    "test_optimize::TestOptimizeSimple::test_minimize_tol_parameter": (
        "a valley where f rounds to its minimum, which particles reach before any tol ends the run"
    ),
}
