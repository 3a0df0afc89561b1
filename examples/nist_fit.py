"""Nonlinear regression without a starting point: the enzyme data of Kowalik and Osborne (MGH09).

From NIST's own first starting point, ten times the size of the answer, many local methods
run off to the local minimum at infinity (residual sum 1.03e-3). Here only a box is given.
"""

import numpy as np
from scipy.optimize import least_squares

import fastopt

CERTIFIED = np.array([0.19280693458, 0.19128232873, 0.12305650693, 0.13606233068])
x = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
y = np.array([0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])


def residuals(b):
    """Model minus data; b is (4,) or (4, n_points)."""
    b1, b2, b3, b4 = (part[..., None] for part in b)
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4) - y


def residual_sum(b):
    return np.sum(residuals(b) ** 2, axis=-1)


result = fastopt.cbo(residual_sum, [(0, 10)] * 4, vectorized=True, rng=1)
fit = least_squares(residuals, result.x, xtol=1e-15, ftol=1e-15, gtol=1e-15)
error = np.sqrt(2 * fit.cost / 7 * np.diag(np.linalg.inv(fit.jac.T @ fit.jac)))

print(result.message)
print(f"residual sum {result.fun:.10e} (certified 3.0750560385e-04), {result.nfev} evaluations")
for k in range(4):
    print(f"b{k + 1} = {fit.x[k]:.8f} +- {error[k]:.8f}   certified {CERTIFIED[k]:.8f}")
