"""SciPy's OptimizeResult from what the core returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from ._callback import Base, Monitor
from ._constraints import ConstraintSet
from ._problem import Array
from .distributed import Alone, Ranks

CALLBACK_STATUS = 99
INFEASIBLE_STATUS = 4

_OPTIONAL = ("population_rows", "weights", "minimizers", "minimizer_values")
_PIECE = 1 << 17  # numbers that a rank sends at a time
_LEAST_SHARE = 0.02  # of the particles: fewer about a point are stragglers, not a minimum


def one_result(raw: dict[str, Any], monitor: Monitor | None) -> OptimizeResult:
    """The result of one run of the core; `monitor` knows how the callback stopped it."""
    result = OptimizeResult(
        x=np.array(raw["x"], dtype=np.float64),
        fun=float(raw["fun"]),
        success=bool(raw["success"]),
        status=int(raw["status"]),
        message=str(raw["message"]),
        nit=int(raw["nit"]),
        nfev=int(raw["nfev"]),
        population=raw["population"],
        population_energies=raw["population_energies"],
        consensus=raw["consensus"],
        maxcv=float(raw.get("violation", 0.0)),
    )
    n = len(raw["population"])
    if n < len(raw["population_energies"]):  # the rows of this rank
        first = int(raw["first_row"])
        result.population_rows = np.array([first, first + n])
    if raw.get("history") is not None:
        result["history"] = {name: np.asarray(values) for name, values in raw["history"].items()}
    if monitor is not None and monitor.stopped is not None:
        result.update(success=False, status=CALLBACK_STATUS, message=monitor.stopped)
    return result


def with_all_rows(result: OptimizeResult, ranks: Ranks | Alone) -> OptimizeResult:
    """The result with the whole population, on rank 0 (of no use elsewhere)."""
    if "population_rows" not in result or isinstance(ranks, Alone):
        return result
    own, n = result.population, len(result.population_energies)
    d = own.shape[1]
    spans = ranks.allgather(result.population_rows).astype(int)
    whole = np.empty((n if ranks.rank == 0 else 0, d), dtype=own.dtype)
    step = max(1, _PIECE // d)
    for start in range(0, int((spans[:, 1] - spans[:, 0]).max()), step):
        piece = np.zeros((step, d))
        mine = own[start : start + step]
        piece[: len(mine)] = mine
        for (first, last), rows in zip(spans, ranks.allgather(piece), strict=True):
            count = max(0, min(step, last - first - start))
            if ranks.rank == 0:
                whole[first + start : first + start + count] = rows[:count]
    complete = OptimizeResult(result)
    del complete["population_rows"]
    complete.population = whole
    return complete


def keep_own_rows(result: OptimizeResult, ranks: Ranks) -> None:
    """`population` and what goes with it become this rank's rows, `population_rows` says which."""
    n = len(result.population_energies)
    if "population_rows" not in result:  # all are here: as evenly as they were evaluated
        cuts = [n * rank // ranks.size for rank in (ranks.rank, ranks.rank + 1)]
        result.population = result.population[cuts[0] : cuts[1]].copy()
        result.population_rows = np.array(cuts)
    first, last = result.population_rows
    for name in ("population_energies", "weights"):
        if name in result:
            result[name] = result[name][first:last].copy()


def distinct_minimizers(
    population: NDArray[Any], energies: Array, width: Array, most: int | None
) -> tuple[Array, Array]:
    """Points where the particles of the polarised dynamics have gathered, and their values.

    The best particle claims all within `width` of it (one length for each coordinate), the best of
    the others does the same, and so on; a claim of less than 2 % of the particles is dropped.
    """
    points = np.asarray(population, dtype=np.float64)
    scaled = points / np.where(width > 0, width, 1.0)
    left = np.argsort(energies, kind="stable")
    least = max(2, int(_LEAST_SHARE * len(points)))
    found: list[int] = []
    while left.size and (most is None or len(found) < most):
        near = np.linalg.norm(scaled[left] - scaled[left[0]], axis=1) <= 1.0
        near[0] = True  # also a point that is not a number, or this would never end
        if near.sum() >= least:
            found.append(int(left[0]))
        left = left[~near]
    return points[found], np.asarray(energies[found], dtype=np.float64)


def add_constraints(result: OptimizeResult, constraints: ConstraintSet) -> None:
    """SciPy's `constr` (excess of each constraint) and the largest of them."""
    result.constr = constraints.report(result.x)
    largest = max((float(one.max(initial=0.0)) for one in result.constr), default=0.0)
    result.constr_violation = result.maxcv = largest
    if result.status == INFEASIBLE_STATUS or result.success:
        feasible = constraints.is_feasible(result.x)
        if feasible and result.status == INFEASIBLE_STATUS:
            message = "Optimization terminated successfully: the local search ended feasible."
            result.update(success=True, status=0, message=message)
        elif not feasible:
            message = f"The solution does not satisfy the constraints, MAXCV = {largest}."
            result.update(success=False, status=INFEASIBLE_STATUS, message=message)


def is_better(a: OptimizeResult, b: OptimizeResult) -> bool:
    return bool((a.maxcv, _rank(a.fun)) < (b.maxcv, _rank(b.fun)))


def _rank(fun: float) -> float:
    return np.inf if np.isnan(fun) else fun


def join_restarts(parts: Sequence[OptimizeResult]) -> OptimizeResult:
    """The best restart, with the work and the history of all of them."""
    best = parts[0]
    for part in parts[1:]:
        if is_better(part, best):
            best = part
    last = parts[-1]
    joined = OptimizeResult(best)
    joined.nit, joined.nfev = sum(p.nit for p in parts), sum(p.nfev for p in parts)
    joined.n_restarts = len(parts) - 1
    if last.status != 0 and best.status == 0 and last.status != CALLBACK_STATUS:
        last = best
    joined.update(success=last.success, status=last.status, message=last.message)
    if "history" in best:
        joined.history = _join_histories([p.history for p in parts], [p.nfev for p in parts])
    return joined


def _join_histories(histories: Sequence[dict[str, Any]], nfev: Sequence[int]) -> dict[str, Any]:
    joined = {name: np.concatenate([h[name] for h in histories]) for name in histories[0]}
    before = np.concatenate([[0], np.cumsum(nfev)[:-1]])
    joined["nfev"] = np.concatenate(
        [h["nfev"] + offset for h, offset in zip(histories, before, strict=True)]
    )
    joined["fun"] = np.minimum.accumulate(joined["fun"])
    return joined


def stack_runs(parts: Sequence[OptimizeResult]) -> OptimizeResult:
    """M independent runs as one result with arrays: x (M, d), fun, nfev, nit, status (M,)."""
    names = [k for k in ("x", "fun", "nfev", "nit", "status", "maxcv", "success") if k in parts[0]]
    stacked = OptimizeResult({name: np.array([part[name] for part in parts]) for name in names})
    stacked.message = [part.message for part in parts]
    for name in ("population", "population_energies", "consensus", "history", *_OPTIONAL):
        if name in parts[0]:
            stacked[name] = [part[name] for part in parts]
    return stacked


def progress(parts: Sequence[OptimizeResult]) -> Base:
    """What the monitor of the next restart must add to its own counts."""
    if not parts:
        return Base()
    so_far = join_restarts(parts)
    return Base(so_far.nit, so_far.nfev, so_far.x, so_far.fun, so_far.maxcv)
