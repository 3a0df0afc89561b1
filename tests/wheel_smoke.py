"""One small problem for each solver, with a known answer: what tests/wheels.sh runs on a wheel."""

import sys

import numpy as np
from scipy.optimize import LinearConstraint

import fastopt
from fastopt import admm_relu, cbo, lstsq, problems, sketch_newton

rng = np.random.default_rng(0)

found = cbo(lambda x: float(np.sum((x - 1) ** 2)), [(-5, 5)] * 3, rng=1)
assert found.success and np.abs(found.x - 1).max() < 1e-4, found
native = cbo(problems.rastrigin(5), [(-5.12, 4.0)] * 5, rng=1)
assert native.fun < 1e-8, native

X = rng.standard_normal((100, 3))
y = np.maximum(X[:, 0], 0) - np.maximum(X[:, 1], 0)
network = admm_relu(X, y, beta=0.1, gates=16, rng=1)
assert network.success and 0 <= network.relative_gap <= 1e-4, network
assert network.constr_violation <= 1e-9, network

A = rng.standard_normal((5000, 30))
labels = (A[:, 0] + rng.standard_normal(5000) > 0).astype(float)
plane = LinearConstraint(np.ones((1, 30)), 0, 0)
for solver in ("ldl", "sketch-pcg"):
    model = problems.GLM(A, labels, "logistic", l2=1e-3)
    fit = sketch_newton(model, np.zeros(30), constraints=plane, linear_solver=solver)
    assert fit.success and abs(fit.x.sum()) < 1e-8, fit

b = A @ np.ones(30)
assert np.abs(lstsq(A, b).x - 1).max() < 1e-10

python = ".".join(map(str, sys.version_info[:3]))
print(f"fastopt {fastopt.__version__}, Python {python}, NumPy {np.__version__}: all solvers work")
