"""A mistake in every argument of the public functions: the error names the argument."""

import inspect
import math

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from fastopt import (
    SketchOperator,
    admm_relu,
    admm_relu_path,
    cbo,
    lstsq,
    minimize,
    problems,
    scipy_method,
    sketch,
    sketch_newton,
)

A = np.random.default_rng(0).standard_normal((60, 4))
BOX = [(-2.0, 2.0)] * 2


class Odd:
    def __repr__(self):
        return "<Odd>"


WRONG = {
    "object": Odd(),
    "word": "nonsense",
    "negative": -1,
    "nan": math.nan,
    "fraction": 2.5,
    "list": [1, 2, 3, "a"],
    "cube": np.ones((2, 3, 4)),
    "dict": {},
}

CALLS = {
    "cbo": (cbo, {"func": rosen, "bounds": BOX, "maxfev": 60, "rng": 1}),
    "sketch_newton": (sketch_newton, {"fun": rosen, "x0": [0, 0], "jac": rosen_der, "maxiter": 3}),
    "minimize cbo": (
        minimize,
        {"fun": rosen, "x0": [0, 0], "method": "cbo", "bounds": BOX, "options": {"maxfev": 60}},
    ),
    "minimize newton": (
        minimize,
        {"fun": rosen, "x0": [0, 0], "method": "sketch-newton", "options": {"maxiter": 3}},
    ),
    "admm_relu": (admm_relu, {"X": A, "y": A[:, 0], "beta": 0.1, "gates": 4, "maxiter": 3}),
    "admm_relu_path": (
        admm_relu_path,
        {"X": A, "y": A[:, 0], "betas": [0.1], "gates": 4, "maxiter": 3},
    ),
    "sketch": (sketch, {"A": A, "size": 10}),
    "SketchOperator": (SketchOperator, {"size": 10, "rows": 60}),
    "lstsq": (lstsq, {"A": A, "b": A[:, 0]}),
    "scipy_method": (scipy_method, {"name": "cbo"}),
    "problems.get": (problems.get, {"name": "sphere", "dim": 2}),
    "problems.GLM": (problems.GLM, {"A": A, "y": np.sign(A[:, 0])}),
}

# What is no mistake after all, or not ours to tell.
FINE = {
    ("tol", "fraction"), ("atol", "fraction"), ("maxtime", "fraction"), ("f_target", "negative"),
    ("f_target", "fraction"), ("constraint_tol", "fraction"), ("checkpoint_every", "fraction"),
    ("finite_diff_rel_step", "fraction"), ("rcond", "fraction"), ("l2", "fraction"),
    ("beta", "fraction"), ("beta_ratio", "fraction"), ("rho", "fraction"), ("gap_tol", "fraction"),
    ("huber_delta", "fraction"), ("robust_eps", "fraction"),
    ("sample_weight", "fraction"),  # the same for all rows
    ("options", "dict"), ("constraints", "dict"), ("checkpoint", "word"),
    ("workers", "negative"),  # all CPUs
    ("x0", "negative"), ("x0", "fraction"),  # one variable, which rosen does not know
    ("method", "word"),  # SciPy's own error
    ("resume", "word"),  # a file that does not exist: the system's own error
    ("args", "word"), ("args", "object"), ("args", "negative"), ("args", "nan"),
    ("args", "fraction"), ("args", "list"), ("args", "cube"), ("args", "dict"),
    ("device", "cube"),
}  # fmt: skip


def cases():
    for name, (function, _) in CALLS.items():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is not parameter.VAR_KEYWORD:
                yield name, parameter.name


@pytest.mark.parametrize(("name", "parameter"), list(cases()))
def test_the_error_names_the_argument(name, parameter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, given = CALLS[name]
    for kind, wrong in WRONG.items():
        if (parameter, kind) in FINE:
            continue
        with pytest.raises((ValueError, TypeError)) as caught:
            function(**{**given, parameter: wrong})
        message = str(caught.value)
        assert parameter.removesuffix("s") in message, (kind, message)
        assert "\n" not in message, (kind, message)
        assert len(message) < 500, (kind, message)
