"""Data on which convex training is known to be hard: the certificate is true, or is not claimed.

The witness shares no code with the library: the program's value is recomputed from its formulas in
NumPy, and the dual bound from theta, whose feasibility SciPy's non-negative least squares decides:
|Proj_K(r)| = min over mu >= 0 of |r + N' mu| for the cone K = {N v >= 0}.
"""

import numpy as np
import pytest
from scipy.optimize import nnls

from fastopt import admm_relu

RNG = np.random.default_rng(5)
N, D = 14, 3
X0 = RNG.standard_normal((N, D))
Y0 = np.maximum(X0 @ [1.0, -0.5, 0.25], 0) + 0.1 * RNG.standard_normal(N)
GATES = RNG.standard_normal((8, D + 1))


def ill_conditioned(decades):
    U = np.linalg.qr(RNG.standard_normal((N, D)))[0]
    V = np.linalg.qr(RNG.standard_normal((D, D)))[0]
    return U @ np.diag(np.logspace(0, -decades, D)) @ V


HARD = {
    "plain": (X0, Y0, {}),
    "nearly parallel gates": (X0, Y0, {"gates": np.vstack([GATES, GATES * (1 + 1e-9),
                                                           GATES + 1e-9 * GATES[::-1]])}),
    "nearly parallel samples": (np.vstack([X0, X0 + 1e-10]), np.append(Y0, -Y0), {}),
    "a gate through samples": (X0, Y0, {"gates": np.vstack(
        [[*np.cross(X0[i], X0[i + 1]).tolist(), 0.0] for i in range(6)])}),
    "duplicated rows": (np.vstack([X0, X0]), np.append(Y0, Y0 + 1), {}),
    "duplicated columns": (np.hstack([X0, X0, X0]), Y0, {}),
    "a column of zeros": (np.hstack([X0, np.zeros((N, 2))]), Y0, {}),
    "X 1e8": (1e8 * X0, Y0, {}),
    "X 1e-8": (1e-8 * X0, Y0, {}),
    "one column 1e8": (X0 * [1e8, 1, 1], Y0, {}),
    "X far from 0": (X0 + 1e6, Y0, {}),
    "y 1e8": (X0, 1e8 * Y0, {}),
    "y 1e-8": (X0, 1e-8 * Y0, {}),
    "condition 1e12": (ill_conditioned(12), Y0, {}),
    "condition 1e16": (ill_conditioned(16), Y0, {}),
    "beta tiny": (X0, Y0, {"beta_ratio": 1e-8}),
    "beta just below beta_max": (X0, Y0, {"beta_ratio": 1 - 1e-9}),
    "beta huge": (X0, Y0, {"beta_ratio": 1e9}),
    "one sample": (X0[:1], Y0[:1], {}),
    "one sample, one column": (X0[:1, :1], Y0[:1], {}),
    "constant y": (X0, np.full(N, 2.5), {}),
    "y is zero": (X0, np.zeros(N), {"beta": 0.1}),
    "X is zero": (np.zeros((N, D)), Y0, {}),
    "more columns than samples": (RNG.standard_normal((5, 20)), Y0[:5], {}),
}  # fmt: skip


def value_of(A, y, patterns, weights, beta):
    """1/2 |sum_i D_i A (v_i - w_i) - y|^2 + beta sum |v_i| + |w_i|."""
    v, w = weights.reshape(2, len(patterns), A.shape[1])
    z = sum(d * (A @ (a - b)) for d, a, b in zip(patterns, v, w, strict=True))
    lengths = np.linalg.norm(v, axis=1).sum() + np.linalg.norm(w, axis=1).sum()
    return 0.5 * ((z - y) ** 2).sum() + beta * lengths


def violation_of(A, patterns, weights):
    """The largest -E_i a_j'v / (|a_j| |v|)."""
    worst, sizes = 0.0, np.linalg.norm(A, axis=1)
    for v in weights.reshape(2, len(patterns), A.shape[1]):
        for d, one in zip(patterns, v, strict=True):
            scale = sizes * np.linalg.norm(one)
            slack = (2 * d - 1) * (A @ one)
            worst = max(worst, np.max(-slack[scale > 0] / scale[scale > 0], initial=0.0))
    return worst


def bound_of(A, y, patterns, theta, beta):
    """The best dual value -t^2 |theta|^2 / 2 - t theta'y over the feasible multiples t theta."""
    sizes = np.linalg.norm(A, axis=1)
    norm = 0.0
    for d in patterns:
        cone = ((2 * d - 1) / np.where(sizes > 0, sizes, 1))[:, None] * A
        for r in (A.T @ (d * theta), -A.T @ (d * theta)):
            unit = np.linalg.norm(r)
            if unit > 0:
                norm = max(norm, unit * nnls(cone.T, -r / unit)[1])
    t = beta / norm if norm > beta else 1.0
    square, product = theta @ theta, theta @ y
    if square > 0:
        t = min(t, max(0.0, -product / square))
    return -0.5 * t * t * square - t * product


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("intercept", [True, False])
def test_gap_and_violation_are_true(name, intercept):
    X, y, options = HARD[name]
    if "gates" in options and not intercept:
        options = {**options, "gates": options["gates"][:, :-1]}
    if "beta" not in options:
        options = {"beta_ratio": 1e-2, **options}
    result = admm_relu(X, y, method="conic", fit_intercept=intercept, tol=1e-6, maxiter=4000,
                       **{"gates": 8, "rng": 2, **options})  # fmt: skip
    A = np.column_stack([X, np.ones(len(X))]) if intercept else X
    patterns = (A @ result.gates.T >= 0).T.astype(float)
    value = value_of(A, y, patterns, result.x, result.beta)
    slack = 1e-9 * abs(value) + 1e-12 * (y @ y)
    assert value == pytest.approx(result.fun, abs=slack)
    violation = violation_of(A, patterns, result.x)
    assert violation <= 1e-9 and violation <= result.constr_violation + 1e-12
    bound = bound_of(A, y, patterns, result.theta[0], result.beta)
    # Both norms are estimates from above; of two rows that are opposite but for 1e-10 SciPy's is
    # the looser one.
    loose = 1e-6 * abs(bound) if name == "nearly parallel samples" else 0.0
    assert result.dual_fun <= bound + slack + loose
    assert result.dual_fun <= result.fun
    if result.success:
        assert value - bound <= 1e-6 * abs(value) + slack
        network = 0.5 * ((result.predict(X) - y) ** 2).sum() + 0.5 * result.beta * sum(
            (w**2).sum() for w in (result.W1, result.b1, result.W2)
        )
        assert network == pytest.approx(value, abs=1e-6 * abs(value) + slack)


def test_most_of_them_are_solved():
    """What is claimed above would hold for a solver that never succeeds."""
    failed = []
    for name, (X, y, options) in HARD.items():
        given = {"gates": 8, "rng": 2, "tol": 1e-6, **options}
        if "beta" not in given:
            given.setdefault("beta_ratio", 1e-2)
        if not admm_relu(X, y, method="conic", **given).success:
            failed.append(name)
    assert failed == ["nearly parallel samples"]  # status 1, with the gap that is left


@pytest.mark.parametrize("loss", ["softmax", "logistic"])
@pytest.mark.parametrize("method", ["conic", "gated", "scp", "admm"])
@pytest.mark.parametrize("beta", [1e-9, 1e-6])
def test_no_bound_lies_above_a_value_of_which_little_is_left(loss, method, beta):
    """Separable data, a tiny beta: what fun and bound differ by is the rounding of the first terms.
    The relative gap was -1e-7."""
    for seed in range(10):
        X = np.random.default_rng(seed).standard_normal((1, 3)) * [[1.0], [-1.0]]
        y = np.arange(2) if loss == "softmax" else np.array([1.0, -1.0])
        r = admm_relu(X, y, loss=loss, method=method, beta=beta, gates=5, rng=1)
        assert r.dual_fun <= r.fun and r.relative_gap >= 0


@pytest.mark.parametrize("method", ["admm", "gated", "scp"])
@pytest.mark.parametrize("name", HARD)
def test_other_methods_cost_what_they_say(method, name):
    X, y, options = HARD[name]
    given = {"gates": 8, "rng": 2, **options}
    if "beta" not in given:
        given.setdefault("beta_ratio", 1e-2)
    result = admm_relu(X, y, method=method, **given)
    value = 0.5 * ((result.predict(X) - y) ** 2).sum() + result.beta * result.penalty
    assert value == pytest.approx(result.fun, abs=1e-6 * abs(value) + 1e-10 * (y @ y))
    assert result.dual_fun <= result.fun
    assert not result.success or result.relative_gap <= 1e-2
