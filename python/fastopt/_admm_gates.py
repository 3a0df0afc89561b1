"""Gates: sampled, given, or generated until none improves the bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult

from ._admm_data import TrainingData
from ._admm_run import Deadline, Engine, Settings, Strength
from ._arguments import integer, numbers
from ._device import on_host
from ._memory import refuse_beyond_memory
from ._problem import Array, Key

FIRST_GATES = 32  # gates='generate' starts from so many
MOST_NEW = 32  # and adds at most so many a round
ROUNDS = 50
MOST_DRAWN = 2**24
ROBUST_DRAWS = 8  # directions drawn for each gate with robust_eps
STARTS = 256  # random directions of the local ascent, each round
_TRAIN_STREAM, _SEARCH_STREAM = 0, 1


def sample(module: Any, data: TrainingData, n_gates: int, key: Key, threads: int) -> Array:
    """Up to n_gates directions with distinct patterns, none of them empty."""
    ranks = data.shares.of_samples
    gates: Array = module.sample_gates(data.X, n_gates, *key, _TRAIN_STREAM, None, threads, ranks)
    if len(gates) == 0:  # X is 0 without a column of ones, say: any gate will do
        gates = np.ones((1, data.X.shape[1]))
    return gates


def _robust_sample(module: Any, data: TrainingData, n_gates: int, key: Key, threads: int) -> Array:
    """Up to n_gates directions whose neurons can keep their side in every box.

    Most random patterns cut between close samples, and their cone holds 0 only. Of 8 times as many
    directions those with a projection onto their cone are kept, projected; the gate that is always
    open comes first, because it holds the robust linear models.
    """
    d = data.X.shape[1]
    drawn = sample(module, data, min(ROBUST_DRAWS * n_gates, MOST_DRAWN), key, threads)
    program = module.ReluProgram(
        data.X,
        module.gate_patterns(data.X, drawn, threads),
        np.zeros((1, len(data.X))),
        signs=1,
        radius=data.radius,
        threads=threads,
    )
    projected = program.make_feasible(drawn).reshape(-1, d)
    open_ones = np.linalg.norm(projected, axis=1) > 1e-9 * np.linalg.norm(drawn, axis=1)
    gates = drawn[open_ones]
    if data.scaling.intercept:
        gates = np.concatenate([np.eye(d)[-1:], gates])
    return np.ascontiguousarray(gates[:n_gates]) if len(gates) else drawn[:1]


def read_gates(module: Any, gates: Any, data: TrainingData, key: Key, threads: int) -> Array:
    """Gates from a number or an array (P, d), in the scaled and extended space."""
    d, gates = data.X.shape[1], on_host("gates", gates)
    if np.ndim(gates) == 0:
        wanted = integer("gates", gates, 1, MOST_DRAWN)
        _refuse_beyond_memory(wanted, data)
        if data.radius is not None:
            return _robust_sample(module, data, wanted, key, threads)
        return sample(module, data, wanted, key, threads)
    return _given(gates, d)


def _refuse_beyond_memory(wanted: int, data: TrainingData) -> None:
    """MemoryError where not even the gates and their patterns fit, which are drawn first."""
    n, d = data.X.shape
    drawn = wanted if data.radius is None else min(ROBUST_DRAWS * wanted, MOST_DRAWN)
    drawn = min(drawn, number_of_patterns(n, d))
    ranks = data.shares.of_gates
    samples = n if ranks is None else -(-n // ranks.size)  # a rank keeps patterns of its own gates
    what = f"gates={wanted} on {n} samples of {d} features"
    refuse_beyond_memory(what, 8 * drawn * (d + samples), "lower gates")


def number_of_patterns(n: int, d: int) -> int:
    """How many patterns n samples in general position have at most, up to MOST_DRAWN.

    2 sum_{k < d} binom(n - 1, k): T. M. Cover, IEEE Trans. Electron. Comput. EC-14 (1965), 326.
    """
    total, term = 0, 2
    for k in range(d):
        total += term
        term = term * (n - 1 - k) // (k + 1)
        if term == 0 or total >= MOST_DRAWN:
            break
    return min(total, MOST_DRAWN)


def _given(gates: ArrayLike, d: int) -> Array:
    array = numbers("gates", gates)
    if array.ndim != 2 or array.shape[1] != d or len(array) == 0:
        raise ValueError(
            f"gates must have the shape (n_gates, {d}), one row for each gate"
            f" (the intercept last); got {array.shape}."
        )
    if not np.isfinite(array).all() or not np.linalg.norm(array, axis=1).all():
        raise ValueError("gates must be finite, and no row may be zero.")
    return np.array(array, order="C")


def generate(
    data: TrainingData, settings: Settings, strength: Strength, key: Key, deadline: Deadline
) -> OptimizeResult:
    """Column generation: solve, look for gates that the dual point violates, add them, again.

    A unit vector u with |theta_k'(X u)_+| > beta proves that the network can still improve, and
    its gate is added. The search is a local ascent from random directions and the neurons found;
    when it finds none, the sampled gates hold a local certificate, not a proof over all gates.
    A round begins only when there is time for what the last one did besides its iterations, which
    know the limit themselves.
    """
    gates = sample(settings.module, data, FIRST_GATES, key, settings.threads)
    beta, rho = 0.0, -1.0
    warm: Array | None = None
    nit = 0
    rounds: list[tuple[int, float, float, float]] = []
    while True:
        began = deadline.now()
        engine = Engine(data, gates, settings)
        if not rounds:
            beta = strength.beta(engine)
        built = deadline.now() - began
        raw = engine.solve(beta, warm, maxtime=deadline.left, rho_start=rho)
        nit += int(raw["nit"])
        rho = float(raw["rho"])
        result = engine.result(raw, beta, settings.method)
        began = deadline.now()
        searched = bool(result.success) and not deadline.over
        new, largest = np.empty((0, data.X.shape[1])), math.nan
        if searched:
            new, largest = _search(engine, result, beta, key, len(rounds) + 1, deadline.left)
            searched = not deadline.over  # else it ended early
        rounds.append((len(gates), result.fun, result.dual_fun, largest))
        around = built + float(raw["setup"]) + deadline.now() - began
        if not searched or len(new) == 0 or len(rounds) == ROUNDS or deadline.left <= around:
            break
        warm = _extended(result.x.reshape(engine.shape), len(new))
        gates = np.concatenate([gates, new])
    result.nit = nit
    columns = zip(*rounds, strict=True)
    names = ("n_gates", "fun", "dual_fun", "largest")
    result.generation = {
        "rounds": len(rounds),
        **{name: np.array(column) for name, column in zip(names, columns, strict=True)},
        "exhausted": searched and len(new) == 0,
    }
    _explain(result, beta, len(new), deadline)
    return result


def _explain(result: OptimizeResult, beta: float, n_new: int, deadline: Deadline) -> None:
    """What the generation proves, or where its budget ended."""
    if not result.success:
        return
    largest = result.generation["largest"][-1] / beta
    if result.generation["exhausted"]:
        result.message += (
            f" No gate with |theta'(X u)_+| > beta was found from {STARTS} starts of local ascent:"
            f" over all gates found the network is optimal, and the largest value was"
            f" {largest:.6f} beta. This is evidence, not proof, for the gates that were not met."
        )
        return
    limit = "maxtime" if deadline.limited and result.generation["rounds"] < ROUNDS else "rounds"
    found = (
        f"gates that improve the network were still found ({n_new} in the last round)"
        if n_new
        else "the search for further gates was not done"
    )
    advice = "Raise maxtime." if limit == "maxtime" else f"{ROUNDS} rounds are the most."
    result.update(success=False, status=1, message=f"The budget ended while {found}. {advice}")


def _search(
    engine: Engine, result: OptimizeResult, beta: float, key: Key, rounds: int, maxtime: float
) -> tuple[Array, float]:
    """New gates, the most violated first, and the largest |theta'(X u)_+| met."""
    s, X, theta = engine.settings, engine.data.X, result.theta
    if s.loss == "squared" and engine.data.weights is not None:
        theta = theta * np.sqrt(engine.data.weights)
    d = X.shape[1]
    starts = s.module.fill_normal(STARTS * d, *key, rounds, _SEARCH_STREAM).reshape(STARTS, d)
    neurons = result.x.reshape(engine.shape).reshape(-1, d)
    starts = np.concatenate([starts, neurons[np.linalg.norm(neurons, axis=1) > 0]])
    found = s.module.ascend_gates(X, theta, starts, engine.gates, s.threads, maxtime)
    values, known = found[:, 0], found[:, 1] == 1
    level = beta * (1 + 2 * max(s.options["gap_tol"], 1e-6) ** 0.5)
    new = found[(values > level) & ~known, 2:]
    return np.ascontiguousarray(new[:MOST_NEW]), float(values.max(initial=0.0))


def _extended(weights: Array, more: int) -> Array:
    signs, c, _, d = weights.shape
    return np.concatenate([weights, np.zeros((signs, c, more, d))], axis=2).ravel()
