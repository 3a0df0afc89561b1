"""Gates: sampled, given, or generated until none improves the bound."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult

from ._admm_data import TrainingData
from ._admm_run import Engine, Settings
from ._arguments import integer
from ._problem import Array, Key

FIRST_GATES = 32  # gates='generate' starts from so many
MOST_NEW = 32  # and adds at most so many a round
ROUNDS = 50
ROBUST_DRAWS = 8  # directions drawn for each gate with robust_eps
STARTS = 256  # random directions of the local ascent, each round
_TRAIN_STREAM, _SEARCH_STREAM = 0, 1


def sample(module: Any, X: Array, n_gates: int, key: Key) -> Array:
    """Up to n_gates directions with distinct patterns, none of them empty."""
    gates: Array = module.sample_gates(X, n_gates, *key, _TRAIN_STREAM)
    if len(gates) == 0:  # X is 0 without a column of ones, say: any gate will do
        gates = np.ones((1, X.shape[1]))
    return gates


def _robust_sample(module: Any, data: TrainingData, n_gates: int, key: Key) -> Array:
    """Up to n_gates directions whose neurons can keep their side in every box.

    Most random patterns cut between close samples, and their cone holds 0 only. Of 8 times as many
    directions those with a projection onto their cone are kept, projected; the gate that is always
    open comes first, because it holds the robust linear models.
    """
    d = data.X.shape[1]
    drawn = sample(module, data.X, min(ROBUST_DRAWS * n_gates, 2**24), key)
    program = module.ReluProgram(
        data.X,
        module.gate_patterns(data.X, drawn),
        np.zeros((1, len(data.X))),
        signs=1,
        radius=data.radius,
    )
    projected = program.make_feasible(drawn).reshape(-1, d)
    open_ones = np.linalg.norm(projected, axis=1) > 1e-9 * np.linalg.norm(drawn, axis=1)
    gates = drawn[open_ones]
    if data.scaling.intercept:
        gates = np.concatenate([np.eye(d)[-1:], gates])
    return np.ascontiguousarray(gates[:n_gates]) if len(gates) else drawn[:1]


def read_gates(module: Any, gates: Any, data: TrainingData, key: Key) -> Array:
    """Gates from a number or an array (P, d), in the scaled and extended space."""
    d = data.X.shape[1]
    if np.ndim(gates) == 0:
        wanted = integer("gates", gates, 1, 2**24)
        if data.radius is not None:
            return _robust_sample(module, data, wanted, key)
        return sample(module, data.X, wanted, key)
    return _given(gates, d)


def _given(gates: ArrayLike, d: int) -> Array:
    try:
        array = np.array(gates, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            "gates must be a number, an array of shape (n_gates, d), or 'generate'; got "
            f"{type(gates).__name__}."
        ) from None
    if array.ndim != 2 or array.shape[1] != d or len(array) == 0:
        raise ValueError(
            f"gates must have the shape (n_gates, {d}), one row for each gate"
            f" (the intercept last); got {array.shape}."
        )
    if not np.isfinite(array).all() or not np.linalg.norm(array, axis=1).all():
        raise ValueError("gates must be finite, and no row may be zero.")
    return np.ascontiguousarray(array)


def generate(
    data: TrainingData, settings: Settings, beta: float, key: Key, maxtime: float
) -> OptimizeResult:
    """Column generation: solve, look for gates that the dual point violates, add them, again.

    A unit vector u with |theta_k'(X u)_+| > beta proves that the network can still improve, and
    its gate is added. The search is a local ascent from random directions and the neurons found;
    when it finds none, the sampled gates hold a local certificate, not a proof over all gates.
    """
    began, gates = time.monotonic(), sample(settings.module, data.X, FIRST_GATES, key)
    warm: Array | None = None
    rounds, nit = 0, 0
    history: list[tuple[int, float, float, float]] = []
    while True:
        engine = Engine(data, gates, settings)
        left = maxtime - (time.monotonic() - began)
        raw = engine.solve(beta, warm, maxtime=max(left, 1e-3))
        nit += int(raw["nit"])
        result = engine.result(raw, beta, settings.method)
        rounds += 1
        new, largest = _search(engine, result, beta, key, rounds)
        history.append((len(gates), result.fun, result.dual_fun, largest))
        done = len(new) == 0 or rounds == ROUNDS or not result.success
        if done or time.monotonic() - began >= maxtime:
            break
        warm = _extended(result.x.reshape(engine.shape), len(new))
        gates = np.concatenate([gates, new])
    result.nit = nit
    result.generation = {
        "rounds": rounds,
        "n_gates": np.array([h[0] for h in history]),
        "fun": np.array([h[1] for h in history]),
        "dual_fun": np.array([h[2] for h in history]),
        "largest": np.array([h[3] for h in history]),
        "exhausted": len(new) == 0,
    }
    if len(new) == 0 and result.success:
        result.message += (
            f" No gate with |theta'(X u)_+| > beta was found from {STARTS} starts of local ascent:"
            f" over all gates found the network is optimal, and the largest value was"
            f" {history[-1][3] / beta:.6f} beta. This is evidence, not proof, for the gates that"
            " were not met."
        )
    elif result.success:
        result.update(
            success=False,
            status=1,
            message=f"The budget ended while gates that improve the network were still found "
            f"({len(new)} in the last round). Raise maxtime.",
        )
    return result


def _search(
    engine: Engine, result: OptimizeResult, beta: float, key: Key, rounds: int
) -> tuple[Array, float]:
    """New gates, the most violated first, and the largest |theta'(X u)_+| met."""
    s, X, theta = engine.settings, engine.data.X, result.theta
    if s.loss == "squared" and engine.data.weights is not None:
        theta = theta * np.sqrt(engine.data.weights)
    d = X.shape[1]
    starts = s.module.fill_normal(STARTS * d, *key, rounds, _SEARCH_STREAM).reshape(STARTS, d)
    neurons = result.x.reshape(engine.shape).reshape(-1, d)
    starts = np.concatenate([starts, neurons[np.linalg.norm(neurons, axis=1) > 0]])
    found = s.module.ascend_gates(X, theta, starts, engine.gates[:0], 0.0, s.threads)
    largest = float(found[0, 0]) if len(found) else 0.0
    level = beta * (1 + 2 * max(s.options["gap_tol"], 1e-6) ** 0.5)
    new = s.module.ascend_gates(X, theta, starts, engine.gates, level, s.threads)
    return np.ascontiguousarray(new[:MOST_NEW, 1:]), largest


def _extended(weights: Array, more: int) -> Array:
    signs, c, _, d = weights.shape
    return np.concatenate([weights, np.zeros((signs, c, more, d))], axis=2).ravel()
