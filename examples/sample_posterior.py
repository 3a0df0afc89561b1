"""Sampling a posterior by consensus: a dose-response experiment (Racine et al., 1986).

Twenty animals, four doses. The particles of consensus-based sampling end as draws from the Gaussian
that fits the posterior exp(-f) at its mode, found without a derivative of f. The posterior itself,
integrated on a grid, is printed beside: it is skewed, and its mean lies further out than its mode.
"""

import numpy as np

import fastopt

dose = np.array([-0.86, -0.30, -0.05, 0.73])  # log g/ml
animals, deaths = 5, np.array([0, 1, 3, 5])


def energy(theta):
    """Minus log posterior, normal priors N(0, 4) and N(10, 100); theta is (2,) or (2, n)."""
    level, slope = theta[0][..., None], theta[1][..., None]
    logit = level + slope * dose
    likelihood = np.sum(animals * np.logaddexp(0, logit) - deaths * logit, axis=-1)
    return likelihood + theta[0] ** 2 / 8 + (theta[1] - 10) ** 2 / 200


bounds = [(-10, 15), (-10, 60)]
result = fastopt.cbo(
    energy,
    bounds,
    vectorized=True,
    dynamics="sampling",
    samples=True,
    alpha=10.0,  # sharp weights see f near the mode; the sample's width does not depend on it
    n_particles=2000,
    maxiter=200,
    rng=0,
)
mean, sd = result.population.mean(axis=0), result.population.std(axis=0)

grid = np.stack(np.meshgrid(*(np.linspace(*b, 1001) for b in bounds), indexing="ij"))
density = np.exp(-energy(grid.reshape(2, -1)))
density /= density.sum()
grid_mean = grid.reshape(2, -1) @ density
grid_sd = np.sqrt((grid.reshape(2, -1) - grid_mean[:, None]) ** 2 @ density)

print(f"{'':<8}{'sampled':>18}{'grid':>18}")
for k, name in enumerate(("level", "slope")):
    print(f"{name:<8}{mean[k]:9.2f} +- {sd[k]:5.2f}{grid_mean[k]:9.2f} +- {grid_sd[k]:5.2f}")
