"""Design with constraints and whole numbers: the cheapest pressure vessel (Sandgren, 1990).

Thickness of the shell and of the heads come in sixteenths of an inch; radius and length are free.
The vessel must hold 1,296,000 cubic inches and meet the ASME boiler code. Best known cost:
6059.7143.
"""

import numpy as np
from scipy.optimize import NonlinearConstraint

import fastopt


def cost(design):
    shell, head, radius, length = design[0] / 16, design[1] / 16, design[2], design[3]
    return (
        0.6224 * shell * radius * length
        + 1.7781 * head * radius**2
        + 3.1661 * shell**2 * length
        + 19.84 * shell**2 * radius
    )


def margins(design):
    """All must be >= 0: shell thickness, head thickness, volume (relative)."""
    shell, head, radius, length = design[0] / 16, design[1] / 16, design[2], design[3]
    volume = np.pi * radius**2 * length + 4 / 3 * np.pi * radius**3
    return np.array([shell - 0.0193 * radius, head - 0.00954 * radius, volume / 1_296_000 - 1])


result = fastopt.cbo(
    cost,
    bounds=[(1, 99), (1, 99), (10, 200), (10, 200)],
    integrality=[True, True, False, False],
    constraints=NonlinearConstraint(margins, 0, np.inf),
    rng=0,
)
print(result.message)
print(f"shell {result.x[0]:.0f}/16 in, heads {result.x[1]:.0f}/16 in,")
print(f"radius {result.x[2]:.4f} in, length {result.x[3]:.4f} in")
print(f"cost {result.fun:.4f} (best known 6059.7143), {result.nfev} evaluations")
print("margins:", *(f"{m:.2e}" for m in margins(result.x)))
