"""Numbers of the literature that a correct implementation reproduces.

Success shares over runs with fixed seeds. Every band is what the source reports (its own counts are
over about 100 runs), widened to the counts that a binomial with such a share gives with probability
1 - 2e-4. Papers' parameters map as drift = lambda dt, diffusion = sigma sqrt(dt).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from fastopt import cbo, problems

Array = NDArray[np.float64]


def check_share(succeeds: Callable[[int], bool], runs: int, low: float, high: float) -> None:
    """The number of successes of seeds 0, 1, ... is plausible for a share in [low, high]."""
    count = sum(succeeds(seed) for seed in range(runs))
    least, most = binom.ppf(1e-4, runs, low), binom.ppf(1 - 1e-4, runs, high)
    assert least <= count <= most, (
        f"{count} of {runs} runs succeeded, expected between {least:.0f} and {most:.0f}"
    )


def run(problem: Any, start: Array, seed: int, **options: Any) -> Any:
    """One run in all of R^d from given particles, to the last iteration, without a finish."""
    return cbo(problem, None, init=start, rng=seed, tol=0.0, polish=False, **options)


# ---- Riedl, Klock, Geldhauser, Fornasier, "Gradient is All You Need?": the noisy canyon --------


def canyon_start(seed: int, n: int) -> Array:
    """Particles from N((8, 8), 0.25 I)."""
    return 8.0 + 0.5 * np.random.default_rng(seed).standard_normal((n, 2))


def in_the_minimum(c: Array) -> bool:
    return bool(np.linalg.norm(c) < 0.25)


@pytest.mark.parametrize(("n", "low", "high"), [(200, 0.98, 0.99), (50, 0.46, 0.53)])
def test_cbo_passes_the_canyon(n: int, low: float, high: float) -> None:
    def succeeds(seed: int) -> bool:
        result = run(
            problems.canyon(),
            canyon_start(seed, n),
            seed,
            dynamics="isotropic",
            drift=0.01,
            diffusion=1.6 * 0.1,
            alpha=100.0,
            maxiter=250,
        )
        assert result.nit == 250
        return in_the_minimum(result.consensus)

    check_share(succeeds, 300, low, high)


@pytest.mark.parametrize(("width", "low", "high"), [(0.7, 0.74, 0.74), (0.4, 0.0, 0.005)])
def test_consensus_hopping_passes_the_canyon_if_it_hops_far_enough(
    width: float, low: float, high: float
) -> None:
    def succeeds(seed: int) -> bool:
        start = canyon_start(seed, 200)
        result = run(
            problems.canyon(),
            start,
            seed,
            dynamics="hopping",
            diffusion=width,
            alpha=100.0,
            maxiter=250,
        )
        return in_the_minimum(result.consensus)

    check_share(succeeds, 300, low, high)


def test_gradient_descent_is_trapped_in_the_canyon() -> None:
    """Without drift and noise each particle is a gradient descent of its own; none arrives."""
    canyon = problems.canyon()

    def gradient(x: Array) -> Array:
        h = 1e-6 * np.eye(2)[:, :, np.newaxis]
        return np.array([(canyon(x + e) - canyon(x - e)) / 2e-6 for e in h])

    start = canyon_start(0, 200)
    result = run(
        canyon,
        start,
        0,
        dynamics="anisotropic",
        drift=0.0,
        diffusion=0.0,
        gradient=gradient,
        gradient_weight=0.005,
        vectorized=True,
        maxiter=5000,
    )
    assert np.linalg.norm(result.population - start, axis=1).min() > 0.1  # they did move
    slope = gradient(result.population.T)
    assert np.median(np.linalg.norm(slope, axis=0)) < 1e-3  # ... and have arrived
    assert not any(in_the_minimum(x) for x in result.population)


# ---- Fornasier, Richtarik, Riedl, Sun: truncated noise -----------------------------------------


@pytest.mark.parametrize(
    ("sigma", "truncation", "low", "high"),
    [
        (0.9, np.inf, 0.88, 0.96),  # reported .92
        (1.2, np.inf, 0.00, 0.06),  # .02
        (1.2, 1.0, 0.97, 1.00),  # 1.00
        (2.0, 2.0, 0.58, 0.74),  # .66
        (3.0, 0.5, 0.92, 1.00),  # .97
    ],
)
def test_truncated_noise(sigma: float, truncation: float, low: float, high: float) -> None:
    problem = problems.rastrigin_mild(4)

    def succeeds(seed: int) -> bool:
        start = 1.0 + np.sqrt(2000.0) * np.random.default_rng(seed).standard_normal((100, 4))
        result = run(
            problem,
            start,
            seed,
            dynamics="isotropic",
            drift=0.01,
            diffusion=sigma * 0.1,
            truncation=truncation,
            alpha=1e5,
            maxiter=5000,
        )
        assert result.nit == 5000
        return bool(problem(result.consensus) < 0.1)

    check_share(succeeds, 80, low, high)


# ---- Bailo et al., CBXpy's notebook: Rastrigin in 20 dimensions --------------------------------


@pytest.mark.parametrize("shifted", [False, True])
def test_rastrigin_in_20_dimensions(shifted: bool) -> None:
    """10 of 10 runs reported, in about 70 thousand evaluations."""
    evaluations = []

    def succeeds(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        problem = problems.rastrigin(20)
        if shifted:
            problem = problem.shifted(rng.uniform(-1.0, 1.0, 20))
        result = run(
            problem,
            rng.uniform(-3.0, 3.0, (40, 20)),
            seed,
            dynamics="anisotropic",
            drift=0.01,
            diffusion=10.1 * 0.1,
            alpha=30.0,
            alpha_factor=1.05,
            maxiter=10000,
            f_target=1e-4,
        )
        if result.success:
            evaluations.append(result.nfev)
        return bool(result.fun <= 1e-4)

    check_share(succeeds, 40, 0.9, 1.0)
    assert 55e3 < np.median(evaluations) < 90e3


# ---- Riedl: gradient drift recovers sparse signals ---------------------------------------------


class SparseRecovery:
    """|A x - b|^2 + |x|_1 / 4 with m Gaussian measurements of 8 nonzeros among 200."""

    def __init__(self, rng: np.random.Generator, m: int) -> None:
        d, nonzeros = 200, 8
        self.signal = np.zeros(d)
        support = rng.choice(d, nonzeros, replace=False)
        self.signal[support] = rng.choice([-1.0, 1.0], nonzeros) * rng.uniform(0.5, 1.5, nonzeros)
        self.a = rng.standard_normal((m, d)) / np.sqrt(m)
        self.b = self.a @ self.signal

    def value(self, x: Array) -> Array:
        residual = self.a @ x - self.b[:, np.newaxis]
        return np.sum(residual**2, axis=0) + 0.25 * np.sum(np.abs(x), axis=0)

    def gradient(self, x: Array) -> Array:
        return 2.0 * self.a.T @ (self.a @ x - self.b[:, np.newaxis]) + 0.25 * np.sign(x)

    def is_recovered(self, c: Array) -> bool:
        """The signal is the least-squares solution on the coordinates that c singles out.

        The threshold lies above the steps of the l1 term, 3.2 * 0.02 / 4, and far below 0.5.
        """
        support = np.abs(c) > 0.05
        if support.sum() > self.b.size:
            return False
        fit = np.zeros_like(c)
        fit[support] = np.linalg.lstsq(self.a[:, support], self.b, rcond=None)[0]
        return bool(np.linalg.norm(fit - self.signal) < 1e-10 * np.linalg.norm(self.signal))


@pytest.mark.parametrize("gamma", [0.0, 0.8, 1.6, 3.2])
def test_compressed_sensing_needs_the_gradient(gamma: float) -> None:
    def succeeds(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        problem = SparseRecovery(rng, m=64)
        more = {"gradient": problem.gradient, "gradient_weight": 0.02 * gamma} if gamma else {}
        result = run(
            problem.value,
            rng.standard_normal((10, 200)),
            seed,
            dynamics="anisotropic",
            drift=0.02,
            diffusion=np.sqrt(1.6 * 0.02),
            alpha=100.0,
            vectorized=True,
            maxiter=1000,
            **more,
        )
        return problem.is_recovered(result.consensus)

    runs = 8
    check_share(succeeds, runs, *((0.0, 0.0) if gamma == 0 else (1.0, 1.0)))
