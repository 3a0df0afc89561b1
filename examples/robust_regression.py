"""Robust regression by least trimmed squares: Brownlee's stack loss data (1965).

Of 21 days in a plant that makes nitric acid, four (1, 3, 4, 21) are known to be different. Ordinary
least squares hides them. Least trimmed squares minimises the sum of the smallest h of the squared
residuals: not convex, not differentiable, and full of local minima.
"""

import numpy as np

import fastopt

air = [80, 80, 75, 62, 62, 62, 62, 62, 58, 58, 58, 58, 58, 58, 50, 50, 50, 50, 50, 56, 70]
water = [27, 27, 25, 24, 22, 23, 24, 24, 23, 18, 18, 17, 18, 19, 18, 18, 19, 19, 20, 20, 20]
acid = [89, 88, 90, 87, 87, 87, 93, 93, 87, 80, 89, 88, 82, 93, 89, 86, 72, 79, 80, 82, 91]
loss = [42, 37, 37, 28, 18, 18, 19, 20, 15, 14, 14, 13, 11, 12, 8, 7, 8, 8, 9, 15, 15]

y = np.array(loss, dtype=float)
columns = np.array([air, water, acid], dtype=float).T
columns = (columns - np.median(columns, axis=0)) / columns.std(axis=0)
X = np.column_stack([np.ones_like(y), columns])
h = 16  # three quarters: up to five days may be wild


def trimmed_squares(beta):
    """Sum of the h smallest squared residuals; beta is (4,) or (4, n_points)."""
    squares = (X @ beta - y.reshape(-1, *[1] * (beta.ndim - 1))) ** 2
    return np.sum(np.partition(squares, h - 1, axis=0)[:h], axis=0)


result = fastopt.cbo(trimmed_squares, [(-50, 50)] * 4, vectorized=True, rng=0)
residuals = y - X @ result.x
scale = 1.4826 * np.median(np.abs(residuals))
outliers = np.flatnonzero(np.abs(residuals) > 2.5 * scale) + 1

ordinary = np.linalg.lstsq(X, y)[0]
print(f"{result.message} ({result.nfev} evaluations)")
print("least trimmed squares:", np.round(result.x, 3), f"sum {result.fun:.4f}")
print("ordinary:             ", np.round(ordinary, 3), f"sum {trimmed_squares(ordinary):.4f}")
print("days that differ:", *outliers)
