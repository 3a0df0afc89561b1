"""Calibrating a black box: an epidemic model on the influenza of an English boarding school, 1978.

Data: boys confined to bed on each of 14 days, of 763 (British Medical Journal, 4 March 1978). The
simulator steps all particles of a generation at once, so cbo calls it once per generation.
"""

import numpy as np

import fastopt

BOYS = 763
in_bed = np.array([3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4])


def simulate(parameters, steps_per_day=10):
    """Infected on days 0..13 for each column (contact rate, recovery rate, infected on day 0)."""
    contact, recovery, infected = np.array(parameters, dtype=float)
    state = np.array([BOYS - infected, infected])
    h = 1 / steps_per_day

    def flow(state):
        new = contact * state[0] * state[1] / BOYS
        return np.array([-new, new - recovery * state[1]])

    days = [state[1]]
    for _ in range(len(in_bed) - 1):
        for _ in range(steps_per_day):  # classical Runge-Kutta
            k1 = flow(state)
            k2 = flow(state + h / 2 * k1)
            k3 = flow(state + h / 2 * k2)
            k4 = flow(state + h * k3)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        days.append(state[1])
    return np.array(days)


def misfit(parameters):
    return np.sum((simulate(parameters).T - in_bed) ** 2, axis=-1)


bounds = [(0, 10), (0, 5), (0, 100)]
result = fastopt.cbo(misfit, bounds, vectorized=True, rng=0)
contact, recovery, infected = result.x
print(f"{result.message} ({result.nfev} simulations)")
print(f"contact rate {contact:.3f} per day, ill for {1 / recovery:.2f} days,")
print(f"reproduction number {contact / recovery:.2f}, ill on day 0: {infected:.2f}")
print("in bed:", *in_bed)
print("model: ", *np.rint(simulate(result.x)).astype(int))
