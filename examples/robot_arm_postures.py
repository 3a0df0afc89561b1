"""Several minimisers in one run: all four postures that bring a robot's hand to one point.

An arm with a turning base, a shoulder and an elbow reaches a point facing it or facing away, elbow
up or down. The polarised dynamics give every particle its own consensus, so groups of particles
settle on different solutions.
"""

import numpy as np

import fastopt

UPPER, FORE, HEIGHT = 0.5, 0.4, 0.3  # metres
target = np.array([0.3, 0.4, 0.5])


def hand(angles):
    """Place of the hand for (base, shoulder, elbow), radians; (3,) or (3, n_points)."""
    base, shoulder, elbow = angles
    reach = UPPER * np.cos(shoulder) + FORE * np.cos(shoulder + elbow)
    lift = HEIGHT + UPPER * np.sin(shoulder) + FORE * np.sin(shoulder + elbow)
    return np.stack([reach * np.cos(base), reach * np.sin(base), lift])


def distance_squared(angles):
    return np.sum((hand(angles).T - target) ** 2, axis=-1)


result = fastopt.cbo(
    distance_squared,
    [(-np.pi, np.pi)] * 3,
    vectorized=True,
    dynamics="polarized",
    n_particles=400,
    n_minimizers=8,
    rng=0,
)
print(f"{len(result.minimizers)} places found; those with the hand within 1 mm of the target:")
postures = result.minimizers[np.sqrt(result.minimizer_values) < 1e-3]
for base, shoulder, elbow in np.degrees(postures):
    print(f"base {base:7.1f}   shoulder {shoulder:7.1f}   elbow {elbow:7.1f}   degrees")
