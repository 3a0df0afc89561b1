"""Each dynamics does what its formula and its source say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest

from fastopt import cbo, problems

Array = NDArray[np.float64]


def sphere(x: Array) -> Any:
    return np.sum(x**2, axis=0)


def start(n: int, d: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-2.0, 2.0, (n, d))


def plain(func: Any, init: Array, **options: Any) -> Any:
    """A run of the formulas alone: all of R^d, no finish, no early end."""
    options = {"rng": 1, "tol": 0.0, "polish": False, "vectorized": True, **options}
    return cbo(func, None, init=init, **options)


def one_step(dynamics: str, **options: Any) -> tuple[Array, Array, Array]:
    """Particles before and after one move, and the consensus that they moved about."""
    before = start(500, 4)
    result = plain(sphere, before, dynamics=dynamics, maxiter=2, record_history=True, **options)
    return before, result.population, result.history["consensus"][0]


# ---- one step is the formula -------------------------------------------------------------------


def test_consensus_is_the_gibbs_mean() -> None:
    before, _, consensus = one_step("anisotropic", alpha=3.0)
    weights = np.exp(-3.0 * sphere(before.T))
    np.testing.assert_allclose(consensus, weights @ before / weights.sum(), rtol=1e-12)


def test_consensus_at_infinite_alpha_is_the_best_particle() -> None:
    before, _, consensus = one_step("anisotropic", alpha=np.inf)
    np.testing.assert_array_equal(consensus, before[np.argmin(sphere(before.T))])


def test_move_is_drift_plus_scaled_normals() -> None:
    drift, diffusion = 0.2, 0.5
    before, after, c = one_step("anisotropic", alpha=3.0, drift=drift, diffusion=diffusion)
    deviation = before - c
    xi = (after - before + drift * deviation) / (diffusion * np.abs(deviation))
    assert kstest(xi.ravel(), "norm").pvalue > 1e-3

    before, after, c = one_step("isotropic", alpha=3.0, drift=drift, diffusion=diffusion)
    length = np.linalg.norm(deviation, axis=1, keepdims=True)
    expected = before - drift * deviation + diffusion * length * xi  # the same key: the same xi
    np.testing.assert_allclose(after, expected, atol=1e-12)


@pytest.mark.parametrize("dynamics", ["anisotropic", "isotropic"])
def test_truncation_cuts_the_length_in_the_noise_only(dynamics: str) -> None:
    options = {"alpha": 3.0, "drift": 0.2, "diffusion": 0.5}
    before, free, c = one_step(dynamics, **options)
    _, cut, _ = one_step(dynamics, truncation=1.0, **options)
    deviation = before - c
    scale = np.abs(deviation)
    if dynamics == "isotropic":
        scale = np.linalg.norm(deviation, axis=1, keepdims=True)
    settled = before - 0.2 * deviation
    assert (scale > 1.0).any() and (scale < 1.0).any()
    np.testing.assert_allclose(
        (cut - settled) * scale, (free - settled) * np.minimum(scale, 1.0), atol=1e-12
    )


def test_gradient_drift_alone_is_gradient_descent() -> None:
    init = start(10, 3)
    result = plain(
        sphere,
        init,
        dynamics="anisotropic",
        drift=0.0,
        diffusion=0.0,
        gradient=lambda x: 2.0 * x,
        gradient_weight=0.1,
        maxiter=8,
    )
    np.testing.assert_allclose(result.population, 0.8**7 * init, rtol=1e-12)


def test_population_and_its_values_belong_together() -> None:
    result = plain(sphere, start(50, 3), dynamics="anisotropic", maxiter=5)
    np.testing.assert_allclose(result.population_energies, sphere(result.population.T), rtol=1e-12)


def test_memory_follows_the_best_of_personal_bests() -> None:
    """At infinite alpha the consensus is the best point ever seen, which a memory never loses."""
    options = {"alpha": np.inf, "drift": 0.1, "diffusion": 1.5, "maxiter": 50}
    result = plain(sphere, start(30, 3), dynamics="memory", **options)
    np.testing.assert_array_equal(result.consensus, result.x)
    forgetful = plain(sphere, start(30, 3), dynamics="anisotropic", record_history=True, **options)
    values = sphere(forgetful.history["consensus"].T)
    assert np.isclose(forgetful.fun, values.min())


def test_memory_drift_pulls_to_the_personal_best() -> None:
    """Only the first evaluation is good: each particle returns to its start."""
    init = start(20, 2)
    calls = []

    def once(x: Array) -> Any:
        calls.append(x.shape)
        return sphere(x) if len(calls) == 1 else 1e3 + sphere(x)

    result = plain(
        once,
        init,
        dynamics="memory",
        drift=0.0,
        diffusion=0.3,
        diffusion_factor=0.9,
        memory_drift=0.5,
        maxiter=300,
    )
    assert len(calls) == 300
    np.testing.assert_allclose(result.population, init, atol=1e-8)


# ---- alpha -------------------------------------------------------------------------------------


def effective_share(alpha: float, energies: Array) -> float:
    w = np.exp(-alpha * (energies - energies.min()))
    return float(w.sum() ** 2 / (w**2).sum() / energies.size)


@pytest.mark.parametrize("share", [0.9, 0.4, 0.05])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_ess_is_the_effective_sample_size_at_any_scale(share: float, scale: float) -> None:
    result = plain(
        lambda x: scale * sphere(x),
        start(200, 3),
        dynamics="anisotropic",
        ess=share,
        maxiter=5,
        record_history=True,
    )
    found = effective_share(result.history["alpha"][-1], result.population_energies)
    assert found == pytest.approx(share, rel=0.01)


def test_alpha_by_number_factor_and_schedule() -> None:
    def alphas(**options: Any) -> Array:
        result = plain(
            sphere,
            start(20, 2),
            dynamics="anisotropic",
            maxiter=5,
            record_history=True,
            **options,
        )
        return np.asarray(result.history["alpha"])

    np.testing.assert_array_equal(alphas(alpha=3.0), [3.0] * 5)
    np.testing.assert_array_equal(
        alphas(alpha=1.0, alpha_factor=2.0, alpha_max=6.0), [1, 2, 4, 6, 6]
    )
    np.testing.assert_array_equal(alphas(alpha=[5.0, 1.0, 2.0]), [5, 1, 2, 2, 2])


def test_diffusion_factor_anneals_the_noise() -> None:
    result = plain(
        sphere,
        start(20, 2),
        dynamics="anisotropic",
        diffusion=0.8,
        diffusion_factor=0.5,
        maxiter=4,
        record_history=True,
    )
    np.testing.assert_allclose(result.history["step_size"], [0.8, 0.4, 0.2, 0.1])


# ---- convergence -------------------------------------------------------------------------------

SETTINGS = {
    "anisotropic": {"dynamics": "anisotropic", "drift": 0.1, "diffusion": 1.0, "ess": 0.1},
    "isotropic": {"dynamics": "isotropic", "drift": 0.3, "diffusion": 0.55, "ess": 0.1},
    "covariance": {
        "dynamics": "anisotropic",
        "noise": "covariance",
        "drift": 0.3,
        "diffusion": 0.9,
        "ess": 0.1,
    },
    "memory": {"dynamics": "memory", "drift": 0.1, "diffusion": 1.0, "ess": 0.1},
    "hopping": {"dynamics": "hopping", "diffusion": 0.5, "diffusion_factor": 0.98, "ess": 0.1},
    "sampling": {"dynamics": "sampling", "drift": 0.5, "ess": 0.3},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
@pytest.mark.parametrize("name", ["sphere", "rastrigin"])
def test_converges_to_a_shifted_minimum(name: str, settings: dict[str, Any]) -> None:
    problem = problems.get(name, 2).shifted([1.3, -0.7])
    for seed in range(5):
        result = cbo(
            problem,
            problem.bounds,
            rng=seed,
            n_particles=200,
            maxiter=1000,
            polish=False,
            **settings,
        )
        assert result.fun < 1e-6
        np.testing.assert_allclose(result.consensus, problem.x_min, atol=1e-3)


@pytest.mark.parametrize(
    "dynamics", ["anisotropic", "isotropic", "memory", "hopping", "sampling", "polarized"]
)
def test_defaults_are_sensible(dynamics: str) -> None:
    """Who only names a dynamics gets the minimum of a multimodal function of the plane."""
    for seed in range(3):
        problem = problems.ackley(2).shifted(rng=seed)
        result = cbo(problem, problem.bounds, rng=seed, dynamics=dynamics, maxiter=300)
        assert result.fun < 1e-5


# ---- batches -----------------------------------------------------------------------------------


def test_partial_batch_moves_the_batch_only() -> None:
    init = start(12, 3)
    result = plain(sphere, init, dynamics="anisotropic", alpha=1.0, batch_size=4, maxiter=2)
    moved = (result.population != init).any(axis=1)
    assert moved.sum() == 4 and result.nfev == 8
    all_moved = plain(sphere, init, dynamics="anisotropic", alpha=1.0, batch_size=4, maxiter=4)
    assert (all_moved.population != init).any(axis=1).all()  # a permutation: each one once
    assert all_moved.nfev == 16


def test_full_batch_moves_everyone() -> None:
    init = start(12, 3)
    result = plain(
        sphere, init, dynamics="anisotropic", alpha=1.0, batch_size=4, batch_mode="full", maxiter=2
    )
    assert (result.population != init).any(axis=1).all() and result.nfev == 8


@pytest.mark.parametrize("alpha", ["ess", 1e6])
@pytest.mark.parametrize("mode", ["partial", "full"])
@pytest.mark.parametrize("dynamics", ["anisotropic", "memory"])
def test_batches_converge(dynamics: str, mode: str, alpha: str | float) -> None:
    """Also where the consensus is one particle, which two batches in a row may share."""
    problem = problems.rastrigin(2).shifted([1.3, -0.7])
    result = cbo(
        problem,
        problem.bounds,
        rng=1,
        dynamics=dynamics,
        drift=0.1,
        diffusion=1.0,
        alpha=alpha,
        ess=0.1,
        n_particles=100,
        batch_size=50,
        batch_mode=mode,
        maxiter=800,
        polish=False,
    )
    assert result.fun < 1e-4
    assert np.median(result.population_energies) < 1e-3


# ---- hopping is a relaxation of gradient descent -----------------------------------------------


def test_hopping_step_is_a_gradient_step() -> None:
    """c' - c ~ -sigma^2 alpha grad f; its mean is -alpha (I / sigma^2 + alpha H)^-1 grad f."""
    n, sigma, alpha = 100_000, 0.05, 10.0
    hessian = np.array([[3.0, 1.0], [1.0, 2.0]])
    c = np.array([0.6, -0.4])

    def quadratic(x: Array) -> Any:
        return 0.5 * np.sum(x * (hessian @ x), axis=0)

    result = plain(
        quadratic,
        np.tile(c, (n, 1)) + 1e-9 * start(n, 2),  # not all equal, which would end the run
        dynamics="hopping",
        diffusion=sigma,
        alpha=alpha,
        maxiter=2,
        record_history=True,
    )
    before, after = result.history["consensus"]
    np.testing.assert_allclose(before, c, atol=1e-8)
    gradient = hessian @ c
    exact = -alpha * np.linalg.solve(np.eye(2) / sigma**2 + alpha * hessian, gradient)
    standard_error = sigma / np.sqrt(n)
    np.testing.assert_allclose(after - c, exact, atol=5 * standard_error)
    slope = sigma**2 * alpha * gradient
    assert np.linalg.norm(after - c + slope) < 0.1 * np.linalg.norm(slope)


# ---- sampling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, "ess"])
def test_sampling_reproduces_a_gaussian(alpha: float | str) -> None:
    mean, covariance = np.array([1.0, -2.0]), np.array([[2.0, 0.8], [0.8, 0.5]])
    precision = np.linalg.inv(covariance)

    def potential(x: Array) -> Any:
        y = x - mean[:, np.newaxis]
        return 0.5 * np.sum(y * (precision @ y), axis=0)

    means, covariances = [], []
    for seed in range(5):
        result = plain(
            potential,
            start(2000, 2, seed),
            rng=seed,
            dynamics="sampling",
            samples=True,
            alpha=alpha,
            drift=0.5,
            maxiter=100,
        )
        assert result.success
        assert np.all(result.weights == 1 / 2000)  # the sample's, whatever moved it
        means.append(result.population.mean(axis=0))
        covariances.append(np.cov(result.population.T))
    np.testing.assert_allclose(np.mean(means, axis=0), mean, atol=0.1)
    np.testing.assert_allclose(np.mean(covariances, axis=0), covariance, rtol=0.1)


# ---- several minimisers ------------------------------------------------------------------------


def two_wells(x: Array) -> Any:
    wells = np.array([[1.0, 1.0], [-1.0, 0.5]])
    return np.min([np.sum((x - w[:, np.newaxis]) ** 2, axis=0) for w in wells], axis=0)


def four_wells(x: Array) -> Any:
    return np.sum((x**2 - 1.0) ** 2, axis=0)


CORNERS = [[-1, -1], [-1, 1], [1, -1], [1, 1]]


@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize(
    ("func", "minimizers"), [(two_wells, [[-1, 0.5], [1, 1]]), (four_wells, CORNERS)]
)
def test_polarized_finds_all_minimizers(func: Any, minimizers: Any, clusters: bool) -> None:
    result = cbo(
        func,
        [(-3.0, 3.0)] * 2,
        rng=1,
        dynamics="polarized",
        drift=0.1,
        diffusion=0.7,
        ess=0.1,
        n_particles=300,
        kernel_width=0.1,
        n_minimizers=len(minimizers) if clusters else None,
        maxiter=500,
        vectorized=True,
    )
    order = np.lexsort(np.round(result.minimizers.T[::-1]))
    assert result.minimizers.shape == np.shape(minimizers)
    np.testing.assert_allclose(result.minimizers[order], minimizers, atol=1e-3)
    np.testing.assert_allclose(result.minimizer_values, func(result.minimizers.T), atol=1e-12)
    assert result.fun < 1e-6


# ---- boxes, integers, precision ----------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["reflect", "clip"])
def test_walls(boundary: str) -> None:
    """No point outside is evaluated; only clipping puts particles on the wall."""
    seen: list[Array] = []

    def watched(x: Array) -> Any:
        seen.append(x.copy())
        return sphere(x)

    result = cbo(
        watched,
        [(1.0, 2.0)] * 2,
        rng=1,
        dynamics="anisotropic",
        drift=0.01,
        diffusion=1.5,
        n_particles=100,
        boundary=boundary,
        maxiter=20,
        polish=False,
        vectorized=True,
    )
    points = np.concatenate(seen, axis=1)
    assert points.min() >= 1.0 and points.max() <= 2.0
    on_the_wall = np.mean((result.population == 1.0) | (result.population == 2.0))
    assert on_the_wall > 0.1 if boundary == "clip" else on_the_wall < 0.01


@pytest.mark.parametrize("dynamics", ["anisotropic", "memory", "hopping"])
def test_integers_and_fixed_variables(dynamics: str) -> None:
    """The function sees whole numbers only, and a fixed variable never moves."""
    target = np.array([2.0, -3.0, 0.25, 1.5])

    def watched(x: Array) -> Any:
        assert (x[:2] == np.round(x[:2])).all()
        assert (x[3] == 1.5).all()
        return np.sum((x - target[:, np.newaxis]) ** 2, axis=0)

    result = cbo(
        watched,
        [(-10.0, 10.0), (-10.0, 10.0), (-1.0, 1.0), (1.5, 1.5)],
        rng=1,
        dynamics=dynamics,
        integrality=[True, True, False, False],
        n_particles=200,
        maxiter=200,
        vectorized=True,
    )
    np.testing.assert_allclose(result.x, target, atol=1e-3)
    np.testing.assert_array_equal(result.x[[0, 1, 3]], target[[0, 1, 3]])


def test_float32_particles_take_nearly_the_same_way() -> None:
    """Both precisions share their random numbers, so a few steps differ by rounding only."""
    problem = problems.rastrigin(5).shifted(rng=1)
    options = {"dynamics": "anisotropic", "drift": 0.1, "diffusion": 0.5, "alpha": 0.1}

    def population(dtype: str, maxiter: int) -> Any:
        return cbo(
            problem,
            problem.bounds,
            rng=1,
            n_particles=50,
            maxiter=maxiter,
            polish=False,
            dtype=dtype,
            **options,
        )

    single, double = population("float32", 5), population("float64", 5)
    assert single.population.dtype == np.float32 and single.x.dtype == np.float64
    np.testing.assert_allclose(single.population, double.population, atol=1e-4)
    assert population("float32", 500).fun == pytest.approx(
        problem(population("float32", 500).x), abs=1e-4
    )


# ---- many runs ---------------------------------------------------------------------------------


def test_restarts_double_the_particles() -> None:
    problem = problems.rastrigin(3)
    once = {"dynamics": "anisotropic", "n_particles": 10, "maxiter": 7, "tol": 0.0}
    result = cbo(problem, problem.bounds, rng=1, restarts=2, polish=False, **once)
    assert result.nfev == 7 * (10 + 20 + 40)
    assert result.fun <= cbo(problem, problem.bounds, rng=1, polish=False, **once).fun


def test_runs_are_independent_and_the_first_is_the_only_one() -> None:
    problem = problems.rastrigin(3)
    options = {"dynamics": "anisotropic", "n_particles": 10, "maxiter": 7, "polish": False}
    many = cbo(problem, problem.bounds, rng=1, runs=4, **options)
    single = cbo(problem, problem.bounds, rng=1, **options)
    assert many.x.shape == (4, 3) and many.fun.shape == (4,)
    np.testing.assert_array_equal(many.x[0], single.x)
    assert len({tuple(x) for x in many.x}) == 4
