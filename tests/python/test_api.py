"""The face of `cbo`: signature, arguments in all their forms, results."""

import inspect
import math

import numpy as np
import pytest
from scipy.optimize import Bounds, OptimizeResult, differential_evolution, minimize, rosen

from fastopt import _cbo, cbo, problems

DYNAMICS = ["anisotropic", "isotropic", "memory", "hopping", "sampling", "polarized"]
BOX = [(-2.0, 2.0)] * 3
QUICK = {"rng": 7, "dynamics": "anisotropic", "n_particles": 30, "maxiter": 40}


def bowl(x):
    return float(((x - 0.5) ** 2).sum())


# ---- signature -------------------------------------------------------------------------------


def test_parameters_that_scipy_has_too_stand_in_its_order_with_its_defaults():
    ours, theirs = (inspect.signature(f).parameters for f in (cbo, differential_evolution))
    positional = [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["func", "bounds", "args", "maxiter", "popsize", "tol"]
    same = ["args", "callback", "disp", "polish", "init", "atol", "x0", "constraints",
            "integrality", "vectorized", "workers", "rng"]  # fmt: skip
    for name in same:
        assert ours[name].default == theirs[name].default, name


def test_defaults_in_the_signature_are_those_of_the_core():
    native = _cbo._backend.module(None).CboOptions()
    for name, parameter in inspect.signature(cbo).parameters.items():
        if hasattr(native, name) and parameter.default is not None and name not in ("alpha",):
            assert getattr(native, name) == parameter.default, name
    assert native.alpha < 0  # 'ess'


def test_every_parameter_is_documented():
    described = inspect.getdoc(cbo)
    for name in inspect.signature(cbo).parameters:
        assert name in described


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("n_partices", "n_particles"), ("maxfun", "maxfev"), ("sigma", "diffusion"), ("rgn", "rng")],
)
def test_unknown_names_are_errors_that_know_what_was_meant(wrong, meant):
    with pytest.raises(TypeError, match=rf"unexpected keyword argument '{wrong}'.*'{meant}'"):
        cbo(bowl, BOX, **{wrong: 1})


# ---- bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bounds",
    [
        [(-2, 2)] * 3,
        ((-2, 2),) * 3,
        np.array([[-2, 2]] * 3),
        Bounds([-2, -2, -2], [2, 2, 2]),
        Bounds(-2, [2, 2, 2]),
        zip([-2] * 3, [2] * 3, strict=True),
    ],
    ids=["pairs", "tuple", "array", "Bounds", "Bounds mixed", "zip"],
)
def test_forms_of_bounds_mean_the_same(bounds):
    assert cbo(bowl, bounds, **QUICK).x.tobytes() == cbo(bowl, BOX, **QUICK).x.tobytes()


@pytest.mark.parametrize("bounds", [(-2, 2), Bounds(-2, 2), [-2.0, 2.0]], ids=["pair", "B", "list"])
def test_one_pair_is_broadcast_where_the_dimension_is_known(bounds):
    x0 = np.zeros(3)
    expected = cbo(bowl, BOX, x0=x0, **QUICK).x.tobytes()
    assert cbo(bowl, bounds, x0=x0, **QUICK).x.tobytes() == expected
    if isinstance(bounds, Bounds):  # SciPy's object holds arrays: alone it has one variable
        assert cbo(bowl, bounds, **QUICK).x.shape == (1,)
    else:
        with pytest.raises(ValueError, match="nothing tells how many variables"):
            cbo(bowl, bounds, **QUICK)


@pytest.mark.parametrize("dynamics", ["hybrid", *DYNAMICS])
def test_equal_bounds_fix_a_variable(dynamics):
    seen = []

    def func(x):
        seen.append(x[1])
        return bowl(x)

    result = cbo(func, [(-2, 2), (1.25, 1.25), (-2, 2)], **{**QUICK, "dynamics": dynamics})
    assert set(seen) == {1.25} and result.x[1] == 1.25


@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
def test_a_box_of_one_point_is_evaluated(dynamics):
    result = cbo(bowl, [(1, 1), (2, 2)], **{**QUICK, "dynamics": dynamics})
    assert result.x.tolist() == [1.0, 2.0] and result.fun == 2.5


@pytest.mark.parametrize("boundary", ["reflect", "clip"])
@pytest.mark.parametrize("dynamics", ["hybrid", *DYNAMICS])
def test_no_point_outside_the_bounds_is_ever_evaluated(dynamics, boundary):
    lower, upper = np.array([-0.1, 0.3, -1e-3]), np.array([0.7, 1 / 3, 2e5])

    def func(x):
        assert (lower <= x).all() and (x <= upper).all()
        return float(np.sin(5 * x).sum())  # minima at the walls too

    extra = {} if dynamics == "hybrid" else {"boundary": boundary}
    for dtype in ("float64", "float32"):
        cbo(func, Bounds(lower, upper), dtype=dtype, **{**QUICK, "dynamics": dynamics}, **extra)


@pytest.mark.parametrize("bounds", [[(None, None)] * 2, None, [(0, None), (-math.inf, 3)]],
                         ids=["None pairs", "None", "one-sided"])  # fmt: skip
def test_infinite_bounds_work_from_x0_with_the_plain_dynamics(bounds):
    result = cbo(lambda x: ((x - 2) ** 2).sum(), bounds, x0=[1.0, 1.0], rng=1,
                 dynamics="anisotropic", maxiter=200)  # fmt: skip
    assert np.abs(result.x - 2).max() < 1e-5


def test_infinite_bounds_work_from_an_array_of_particles():
    init = np.random.default_rng(3).normal(8.0, 0.5, (60, 2))
    result = cbo(lambda x: ((x - 2) ** 2).sum(), None, init=init, rng=1, dynamics="memory")
    assert np.abs(result.x - 2).max() < 1e-5


# ---- x0 and init -----------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["hybrid", *DYNAMICS])
def test_x0_is_evaluated(dynamics):
    x0, seen = np.array([0.125, -1.5, 1.75]), []

    def func(x):
        seen.append(x.tobytes())
        return bowl(x)

    cbo(func, BOX, x0=x0, **{**QUICK, "dynamics": dynamics})
    assert x0.tobytes() in seen


def test_a_good_x0_is_never_lost():
    x0 = np.array([1.0, 1.0, 1.0])
    assert cbo(rosen, BOX, x0=x0, **QUICK).fun == 0.0
    assert cbo(rosen, BOX, x0=x0, rng=1, maxiter=1).fun == 0.0


def first_population(**changes):
    points = []
    cbo(lambda x: points.append(x) or bowl(x), [(-2, 2), (0, 8)], polish=False,
        **{**QUICK, "maxiter": 1, "n_particles": 64, **changes})  # fmt: skip
    return np.array(points)


@pytest.mark.parametrize("init", ["latinhypercube", "sobol", "halton"])
def test_designs_fill_every_slice(init):
    points = first_population(init=init)
    assert points.shape == (64, 2)
    cells = 64 if init == "latinhypercube" else 16
    for k, (lower, width) in enumerate([(-2, 4), (0, 8)]):
        taken = np.floor((points[:, k] - lower) / width * cells).astype(int)
        counts = np.bincount(taken, minlength=cells)
        assert counts.max() - counts.min() <= (0 if init != "halton" else 3)


def test_random_starts_are_independent_of_each_other_and_of_the_design():
    points = first_population(init="random")
    taken = np.floor((points[:, 0] + 2) / 4 * 64).astype(int)
    assert len(set(taken)) < 60  # a Latin hypercube would take all 64
    assert len({first_population(init=i).tobytes() for i in ("random", "sobol", "halton")}) == 3


def test_sobol_takes_any_number_of_particles_without_a_warning():
    assert first_population(init="sobol", n_particles=50).shape == (50, 2)


def test_an_array_is_the_population_clipped_to_the_bounds():
    init = np.random.default_rng(1).uniform(-3, 3, (12, 2))
    points = first_population(init=init, n_particles=None)
    assert points.tobytes() == np.clip(init, [-2, 0], [2, 8]).tobytes()


# ---- integers --------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["hybrid", *DYNAMICS])
def test_integer_variables_are_whole_in_every_evaluation(dynamics):
    def func(x):
        assert x[1] == round(x[1]) and -3 <= x[1] <= 2
        return (x[0] - 0.3) ** 2 + (x[1] + 1.4) ** 2

    result = cbo(func, [(-2, 2), (-3.5, 2.9)], integrality=[False, True],
                 **{**QUICK, "dynamics": dynamics, "maxiter": 80})  # fmt: skip
    assert result.x[1] == -1.0
    assert result.fun == pytest.approx(0.16, abs=2e-2)


def test_the_hybrid_ends_when_every_variable_is_an_integer():
    def func(x):
        return float(((x - [2, -1, 4]) ** 2).sum())

    result = cbo(func, [(-9, 9)] * 3, integrality=True, rng=1)
    assert result.x.tolist() == [2, -1, 4] and result.fun == 0.0


def test_all_integers_reach_every_value_of_their_range():
    seen = set()
    result = cbo(lambda x: seen.add(tuple(x)) or abs(x[0] - 3), [(1, 3)], integrality=True,
                 **QUICK)  # fmt: skip
    assert seen == {(1.0,), (2.0,), (3.0,)} and result.fun == 0.0


# ---- agreement ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lowest", [0.0, 3.0])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_restarts_agree_on_a_smooth_function(dtype, lowest):
    def func(x):
        return float((x.astype(dtype) * [1, 2, 3, 4] @ (x - 0.3)).sum() + lowest + 0.225)

    result = cbo(func, [(-5, 5)] * 4, dtype=dtype, rng=1)
    assert result.success and result.nfev < 20_000 and "agree" in result.message
    assert result.fun == pytest.approx(lowest, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_local_minima_inside_a_penalty_wall_are_no_agreement(seed):
    """They are far below the wall's 1e20, and far from one another."""

    def func(x):
        if np.abs(x).max() > 2:
            return 1e20
        return float(20 + (x**2).sum() + 10 * (1 - np.cos(2 * np.pi * x)).sum())

    result = cbo(func, [(-6, 7)] * 3, rng=seed, maxfev=3000)
    assert not result.success or result.fun == pytest.approx(20)


# ---- randomness ------------------------------------------------------------------------------


def test_rng_in_all_its_forms():
    def run(**source):
        return cbo(bowl, BOX, **{**QUICK, "rng": None, **source}).x.tobytes()

    assert run(rng=5) == run(seed=5) == run(rng=np.random.default_rng(5)) == run(rng=np.int64(5))
    assert run(rng=5) != run(rng=6)
    # What a run converges to may be the same point: its path shows fresh entropy.
    first, second = (cbo(bowl, BOX, **{**QUICK, "rng": None, "maxiter": 3}).x for _ in range(2))
    assert not np.array_equal(first, second)
    legacy = [run(rng=np.random.RandomState(5)) for _ in range(2)]
    assert legacy[0] == legacy[1]


def test_a_generator_advances_and_is_drawn_from_once():
    generator, twin = np.random.default_rng(5), np.random.default_rng(5)
    first, second = (cbo(bowl, BOX, **{**QUICK, "rng": generator}).x for _ in range(2))
    assert first.tobytes() != second.tobytes()
    for _ in range(2):
        twin.integers(0, 2**32, size=2, dtype=np.uint32)
    assert twin.bit_generator.state == generator.bit_generator.state


@pytest.mark.parametrize("dynamics", ["hybrid", *DYNAMICS])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_threads_do_not_change_the_result(dynamics, dtype):
    problem = problems.rastrigin(40)
    options = {"rng": 3, "dynamics": dynamics, "dtype": dtype, "maxiter": 12}
    if dynamics != "hybrid":
        options["n_particles"] = 700
    results = [cbo(problem, problem.bounds, threads=t, **options) for t in (1, 2, 4)]
    assert len({(r.x.tobytes(), r.fun, r.population.tobytes()) for r in results}) == 1


# ---- sizes and limits ------------------------------------------------------------------------


def test_popsize_counts_per_free_variable_and_n_particles_is_the_number():
    def size(**given):
        options = {**QUICK, "n_particles": None, "maxiter": 1, "polish": False, **given}
        return cbo(bowl, [(-1, 1), (0, 0), (-1, 1)], **options).nfev

    assert size(popsize=7) == 14
    assert size(n_particles=9) == 9
    assert size() == 100


@pytest.mark.parametrize("dynamics", ["hybrid", *DYNAMICS])
def test_maxfev_is_never_passed(dynamics):
    calls = []
    for maxfev in (1, 37, 150):
        calls.clear()
        result = cbo(lambda x: calls.append(1) or rosen(x), BOX, rng=1, dynamics=dynamics,
                     maxfev=max(maxfev, 30) if dynamics != "hybrid" else maxfev,
                     n_particles=None if dynamics == "hybrid" else 30)  # fmt: skip
        assert result.nfev == len(calls) <= max(maxfev, 30 if dynamics != "hybrid" else 0)
        assert (result.status, result.success) == (1, False)
        assert "maxfev" in result.message


def test_maxiter_is_the_number_of_iterations():
    result = cbo(rosen, BOX, rng=1, maxiter=9)
    assert (result.nit, result.status, result.success) == (9, 1, False)
    assert "maxiter" in result.message


def test_maxtime_ends_a_run():
    result = cbo(rosen, BOX, rng=1, tol=0, maxtime=0.05)
    assert result.status == 1 and "maxtime" in result.message


def test_f_target_ends_with_success():
    result = cbo(rosen, BOX, rng=1, f_target=1e-3)
    assert result.success and result.status == 0 and result.fun <= 1e-3
    assert result.nfev < cbo(rosen, BOX, rng=1).nfev


def test_a_wider_tolerance_ends_earlier():
    loose, tight = (cbo(bowl, BOX, rng=1, dynamics="anisotropic", atol=a, polish=False)
                    for a in (1e-2, 1e-10))  # fmt: skip
    assert loose.success and tight.success and loose.nit < tight.nit


def test_the_default_budget_depends_on_the_dimension():
    result = cbo(lambda x: rosen(x) + np.sin(1e4 * x).sum(), BOX, rng=1, tol=0)
    assert result.nfev <= 5000 * 3 and result.status == 1


# ---- results ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["hybrid", *DYNAMICS])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_result_is_scipys(dynamics, dtype):
    result = cbo(bowl, BOX, **{**QUICK, "dynamics": dynamics, "dtype": dtype})
    assert type(result) is OptimizeResult
    assert result.x.dtype == np.float64 and result.x.shape == (3,)
    assert result.x.flags.writeable and result.x.flags.owndata
    assert (type(result.status), type(result.success)) == (int, bool)
    assert (type(result.message), type(result.fun)) == (str, float)
    assert (type(result.nit), type(result.nfev)) == (int, int)
    assert result.population.ndim == 2 and result.population.shape[1] == 3
    assert result.population_energies.shape == (len(result.population),)
    assert result.consensus.shape == (3,)
    assert "x" in repr(result)


def test_population_energies_belong_to_the_population():
    result = cbo(bowl, BOX, **{**QUICK, "polish": False})
    assert result.population_energies.tolist() == [bowl(x) for x in result.population]


def test_it_finds_what_scipy_finds():
    problem = problems.rastrigin(5)
    theirs = differential_evolution(problem, problem.bounds, rng=1, maxiter=300)
    ours = cbo(problem, problem.bounds, rng=1)
    assert ours.fun <= theirs.fun + 1e-9
    assert np.abs(ours.x - problem.x_min).max() < 1e-5


# ---- polish, restarts, runs ------------------------------------------------------------------


def test_polish_refines_the_best_particle_and_is_counted():
    calls = []

    def func(x):
        calls.append(1)
        return rosen(x)

    options = {**QUICK, "maxiter": 25}
    rough = cbo(rosen, BOX, polish=False, **options)
    fine = cbo(func, BOX, **options)
    assert fine.fun < 1e-9 < rough.fun
    assert fine.nfev == len(calls) > rough.nfev
    assert fine.fun == rosen(fine.x)
    assert rough.nit == fine.nit


def test_polish_leaves_integers_whole():
    result = cbo(lambda x: (x[0] - 0.3) ** 2 + (x[1] - 0.4) ** 2, [(-2, 2), (-2, 2)],
                 integrality=[False, True], **QUICK)  # fmt: skip
    assert result.x[1] == 0.0 and abs(result.x[0] - 0.3) < 1e-6


@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
def test_a_polish_of_the_users_own(dynamics):
    seen = {}

    def mine(func, x0, bounds, constraints):
        seen.update(x0=x0, bounds=bounds, constraints=constraints)
        return minimize(func, x0, method="Nelder-Mead", bounds=bounds)

    result = cbo(rosen, BOX, polish=mine, **{**QUICK, "dynamics": dynamics})
    assert isinstance(seen["bounds"], Bounds) and seen["constraints"] == ()
    assert result.fun <= rosen(seen["x0"]) and result.fun == rosen(result.x)
    with pytest.raises(ValueError, match="should return an OptimizeResult"):
        cbo(rosen, BOX, polish=lambda func, x0, **kw: x0, **QUICK)


def test_restarts_double_the_particles_and_keep_the_best():
    sizes = []
    options = {"rng": 1, "dynamics": "anisotropic", "polish": False, "maxiter": 20, "tol": 0.0}

    def maplike(func, pieces):
        sizes.append(sum(map(len, pieces)))
        return map(func, pieces)

    result = cbo(rosen, BOX, n_particles=8, restarts=2, workers=maplike, **options)
    assert sizes == [8] * 20 + [16] * 20 + [32] * 20
    assert (result.nit, result.nfev, result.n_restarts) == (60, sum(sizes), 2)
    assert result.fun <= cbo(rosen, BOX, n_particles=8, **options).fun


def test_restarts_share_maxfev_and_stop_at_the_target():
    options = {"rng": 1, "dynamics": "anisotropic", "n_particles": 10, "maxiter": 20}
    assert cbo(rosen, BOX, restarts=5, maxfev=700, **options).nfev <= 700
    done = cbo(bowl, BOX, restarts=5, f_target=1e9, **options)
    assert done.n_restarts == 0 and done.success


def test_runs_are_independent_and_the_first_is_the_plain_call():
    many = cbo(rosen, BOX, runs=3, **QUICK)
    one = cbo(rosen, BOX, **QUICK)
    assert many.x.shape == (3, 3) and many.fun.shape == many.nfev.shape == many.status.shape == (3,)
    assert many.x[0].tobytes() == one.x.tobytes() and many.nfev[0] == one.nfev
    assert len({row.tobytes() for row in many.x}) == 3
    assert many.fun.tolist() == [rosen(x) for x in many.x]


# ---- the other dynamics ----------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_every_dynamics_finds_the_bottom_of_a_bowl(dynamics):
    result = cbo(bowl, BOX, rng=1, dynamics=dynamics, n_particles=200, maxiter=400, polish=False)
    assert result.fun < 1e-2


def test_polarized_returns_several_minimizers():
    def wells(x):
        return float(min((x[0] - 1) ** 2, (x[0] + 1) ** 2) + x[1] ** 2)

    result = cbo(wells, [(-2, 2)] * 2, dynamics="polarized", n_particles=150, maxiter=300, rng=2,
                 polish=False, diffusion=0.3, drift=0.1)  # fmt: skip
    near = [np.abs(result.minimizers - [s, 0.0]).max(axis=1).min() for s in (-1, 1)]
    assert max(near) < 0.1
    assert result.minimizer_values.shape == (len(result.minimizers),)
    assert np.allclose(result.minimizer_values, [wells(m) for m in result.minimizers])


def test_samples_come_from_the_gibbs_measure():
    result = cbo(lambda x: float(x @ x) / 2, [(-30, 30)] * 2, dynamics="sampling", samples=True,
                 alpha=1.0, n_particles=2000, maxiter=150, rng=1)  # fmt: skip
    assert result.weights.shape == (2000,)
    assert np.abs(result.population.mean(axis=0)).max() < 0.15
    assert np.abs(result.population.var(axis=0) - 1.0).max() < 0.2  # exp(-|x|^2 / 2): variance 1


def test_alpha_in_its_forms():
    def run(**given):
        return cbo(rosen, BOX, record_history=True, **{**QUICK, "polish": False, **given})

    assert set(run(alpha=3.0).history["alpha"]) == {3.0}
    grown = run(alpha=2.0, alpha_factor=2.0, alpha_max=16.0).history["alpha"]
    assert grown[:5].tolist() == [2, 4, 8, 16, 16]
    listed = run(alpha=[1.0, 5.0, 2.5]).history["alpha"]
    assert listed[:4].tolist() == [1.0, 5.0, 2.5, 2.5]
    assert math.isinf(run(alpha=math.inf).history["alpha"][0])


@pytest.mark.parametrize("scale", [1024.0, 1e-12, 3.7e9])
def test_ess_weights_do_not_depend_on_the_scale_of_the_objective(scale):
    one = cbo(rosen, BOX, **{**QUICK, "polish": False, "tol": 0})
    scaled = cbo(lambda x: scale * rosen(x), BOX, **{**QUICK, "polish": False, "tol": 0})
    assert np.abs(one.x - scaled.x).max() < 1e-10


@pytest.mark.parametrize("ess", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("nit", [1, 2, 40])
def test_alpha_gives_the_effective_sample_size_asked_for(ess, nit):
    options = {**QUICK, "polish": False, "tol": 0, "maxiter": nit, "n_particles": 300}
    result = cbo(rosen, BOX, ess=ess, record_history=True, **options)
    energies = result.population_energies - result.population_energies.min()
    weights = np.exp(-result.history["alpha"][-1] * energies)
    size = weights.sum() ** 2 / (weights**2).sum()
    assert size == pytest.approx(ess * 300, rel=1.001e-3)


@pytest.mark.parametrize("ess", [0.02, 1.0])
def test_an_effective_sample_size_that_no_alpha_gives(ess):
    def mostly_infinite(x):
        return float(x @ x) if x[0] > BOX[0][1] - 0.1 else math.inf

    for func in (lambda x: 5.0, mostly_infinite):
        result = cbo(func, BOX, ess=ess, record_history=True, **{**QUICK, "polish": False})
        assert np.isfinite(result.x).all()
        assert (np.array(result.history["alpha"]) > 0).all()


def test_truncation_bounds_the_noise():
    def moved(truncation):
        options = {**QUICK, "maxiter": 2, "polish": False, "n_particles": 400}
        points = []
        cbo(lambda x: points.append(x) or bowl(x), [(-1e6, 1e6)] * 2, truncation=truncation,
            drift=0.0, diffusion=0.01, **options)  # fmt: skip
        return np.abs(np.array(points[400:]) - np.array(points[:400])).max()

    assert moved(math.inf) > 100  # 0.01 times distances of up to 2e6
    assert moved(1e-3) < 1e-3 * 0.01 * 7  # 7 sigma of 0.01 * 1e-3
