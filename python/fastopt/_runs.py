"""One run of the core, a run with restarts, many runs: everything between arguments and result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, OptimizeResult

from . import _checkpoint
from ._callback import Base, Listener, Monitor, Printer, Record
from ._evaluator import Evaluator
from ._local import Found, constrained_search, polish
from ._problem import Key, Space, cloud_around, derived_key, low_discrepancy, resampled
from ._result import (
    CALLBACK_STATUS,
    add_constraints,
    distinct_minimizers,
    join_restarts,
    keep_own_rows,
    one_result,
    progress,
    stack_runs,
    with_all_rows,
)
from .distributed import Alone, Ranks

NO_LIMIT = 2**63 - 1
POLISH_EVALUATIONS = 200  # per free coordinate, when maxfev does not say less


@dataclass(frozen=True)
class Storage:
    """checkpoint, checkpoint_every and resume."""

    path: _checkpoint.PathLike | None = None
    every: float = 60.0
    resume: _checkpoint.PathLike | None = None
    problem: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A problem with everything chosen, ready to run for any key."""

    module: Any
    space: Space
    evaluator: Evaluator
    options: dict[str, Any]  # of the core, by name
    n_particles: int
    key: Key
    gradient: Callable[..., None] | None
    listener: Listener | None
    disp: bool
    polish: bool | Callable[..., Any]
    constraints: Any  # as the user gave them, for a polish of the user's
    restarts: int
    storage: Storage
    ranks: Ranks | Alone
    listens: bool  # has one of the ranks a callback?
    poll: Callable[[], None] | None = None  # called every 50 ms; what it raises ends the run

    @property
    def comm(self) -> Ranks | None:
        """The other ranks, as the core sees them."""
        return self.ranks if isinstance(self.ranks, Ranks) else None

    @property
    def is_hybrid(self) -> bool:
        return bool(self.options["dynamics"] == "hybrid")

    def limit(self, name: str) -> float:
        return float(self.options.get(name, np.inf))


def run(plan: Plan, runs: int, threads: int) -> OptimizeResult:
    """The result of `cbo`: run m has the key derived_key(key, 'run', m)."""
    if runs == 1:
        return run_one(plan, plan.key)
    keys = [derived_key(plan.key, "run", m) for m in range(runs)]
    if not plan.evaluator.is_native or threads == 1 or plan.comm:
        return stack_runs([run_one(plan, key) for key in keys])
    alone = replace(plan, options={**plan.options, "threads": 1})
    interrupted = threading.Event()

    def poll() -> None:  # signals reach the main thread only
        if interrupted.is_set():
            raise KeyboardInterrupt

    alone = replace(alone, poll=poll)
    with ThreadPoolExecutor(min(threads, runs)) as pool:
        try:
            return stack_runs(list(pool.map(lambda key: run_one(alone, key), keys)))
        except BaseException:
            interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_one(plan: Plan, key: Key) -> OptimizeResult:
    """All restarts of one run, the polish and the final bookkeeping."""
    printer = Printer() if plan.disp and plan.ranks.rank == 0 else None
    started = time.monotonic()
    store = _Store(plan, key)
    parts: list[OptimizeResult] = store.finished
    while True:
        parts.append(_restart(plan, store, len(parts), progress(parts), printer, started))
        if len(parts) > plan.restarts or not _may_restart(plan, parts, started):
            break
    result = join_restarts(parts) if plan.restarts else parts[0]
    _end_together(plan, result)
    if printer is not None:
        printer.finish(result)
    return result


def _may_restart(plan: Plan, parts: list[OptimizeResult], started: float) -> bool:
    last = parts[-1]
    nfev = sum(part.nfev for part in parts)
    first_iteration = plan.options.get("batch_size") or plan.n_particles << len(parts)
    return bool(
        last.status not in (CALLBACK_STATUS, 3)
        and not last.fun <= plan.options.get("f_target", -np.inf)
        and nfev + first_iteration <= plan.limit("maxfev")
        and not plan.ranks.most(time.monotonic() - started >= plan.limit("maxtime"))
    )


def _restart(
    plan: Plan, store: _Store, index: int, base: Base, printer: Printer | None, started: float
) -> OptimizeResult:
    """Restart `index`: a fresh key, 2^index times the particles, what is left of the budget."""
    box = plan.space.box
    key = derived_key(store.key, "restart", index)
    n = plan.n_particles << index
    options = plan.module.CboOptions()
    changed: dict[str, Any] = {"key0": key[0], "key1": key[1], "n_particles": n}
    if base.nfev and "maxfev" in plan.options:
        changed["maxfev"] = int(plan.limit("maxfev")) - base.nfev
    if base.nfev and "maxtime" in plan.options:
        changed["maxtime"] = plan.limit("maxtime") - (time.monotonic() - started)
    for name, value in {**plan.options, **changed}.items():
        setattr(options, name, value)
    monitor = _monitor(plan, store, index, base, printer)
    init, init_name = _initial(plan, n, key)
    options.init = init_name
    raw = plan.module.cbo(
        plan.evaluator.core,
        options,
        box.lower,
        box.upper,
        integrality=box.integrality,
        init=init,
        x0=plan.space.x0,
        monitor=monitor,
        local_search=_constrained_search(plan),
        gradient=plan.gradient,
        state=store.take_state(),
        poll=plan.poll,
        comm=plan.comm,
    )
    result = one_result(raw, monitor)
    if options.dynamics == "sampling":
        result.weights = raw["weights"]
    if options.dynamics == "polarized":
        finite = np.where(np.isfinite(box.upper - box.lower), box.upper - box.lower, 1.0)
        result.minimizers, result.minimizer_values = distinct_minimizers(
            result.population,
            result.population_energies,
            options.kernel_width * finite,
            options.n_minimizers or None,
        )
    return result


def _initial(plan: Plan, n: int, key: Key) -> tuple[NDArray[Any] | None, str]:
    """(the starting population or None, the native name of the design that the core draws)."""
    box, x0, init = plan.space.box, plan.space.x0, plan.space.init
    if plan.is_hybrid:
        return None, "latinhypercube"
    if not isinstance(init, str):
        return resampled(init, n, key), "random"
    if not box.is_finite:
        assert x0 is not None
        return cloud_around(x0, n, box, key), "random"
    if init in ("sobol", "halton"):
        return low_discrepancy(init, n, box, key), "random"
    return None, init


def _constrained_search(plan: Plan) -> Callable[..., Any] | None:
    """The hybrid's local search where its own L-BFGS-B cannot see the constraints."""
    one = plan.evaluator
    if one.constraints is None or not plan.is_hybrid or plan.polish is not True:
        return None
    search = constrained_search(one.values, one.constraints, plan.space.box, one.dtype)
    return lambda x, maxfun: plan.ranks.from_first(lambda: search(x, maxfun))


# ---- what listens ----------------------------------------------------------------------------


class _Store:
    """The checkpoint that is resumed, and the one that is written."""

    def __init__(self, plan: Plan, key: Key) -> None:
        self.key, self._plan = key, plan
        self.finished: list[OptimizeResult] = []
        self._storage, self._ranks = plan.storage, plan.ranks
        self._timer = _checkpoint.Timer(plan.storage.every)
        self._state: dict[str, Any] | None = None
        self._writes = plan.ranks.from_first(lambda: plan.storage.path is not None)
        arrays = plan.ranks.from_first(lambda: _stored(plan.storage))
        if arrays is not None:
            try:
                self._read(arrays)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise ValueError(
                    f"resume: {plan.storage.resume!r} is damaged ({error!r}): start the run afresh "
                    "or use an older checkpoint."
                ) from None

    def _read(self, arrays: _checkpoint.Arrays) -> None:
        first, second = (int(word) for word in arrays["run/key"])
        self.key = first, second
        names = {k.removeprefix("core/") for k in arrays if k.startswith("core/")}
        self._state = {name: arrays[f"core/{name}"] for name in names}
        for index in range(int(arrays["run/restart"].item())):
            prefix = f"restart{index}/"
            fields = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            self.finished.append(_finished_restart(fields, self._plan))

    def take_state(self) -> dict[str, Any] | None:
        """The core's state for the first call; later restarts begin afresh."""
        state, self._state = self._state, None
        return state

    def keeper(self, index: int) -> Callable[[Record, Base], None] | None:
        if not self._writes:
            return None
        path, done = self._storage.path, list(self.finished)

        def keep(record: Record, base: Base) -> None:  # on all ranks; the first one writes
            if not self._ranks.most(self._ranks.rank == 0 and self._timer.due()):
                return
            arrays: dict[str, Any] = {"run/key": np.array(self.key, np.uint32)}
            arrays["run/restart"] = np.array(index)
            arrays.update({f"core/{name}": value for name, value in record.state().items()})
            for k, part in enumerate(done):
                whole = with_all_rows(part, self._ranks)
                arrays.update({f"restart{k}/{name}": v for name, v in _result_arrays(whole)})
            if path is not None and self._ranks.rank == 0:
                _checkpoint.save(path, arrays, self._storage.problem)

        return keep


def _stored(storage: Storage) -> _checkpoint.Arrays | None:
    if storage.resume is None:
        return None
    return _checkpoint.load(storage.resume, storage.problem)


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "fun": float, "success": bool, "status": int, "message": str, "nit": int, "nfev": int,
    "maxcv": float,
}  # fmt: skip
_HISTORY = ("nfev", "fun", "spread", "alpha", "step_size", "consensus")


def _result_arrays(result: OptimizeResult) -> list[tuple[str, NDArray[Any]]]:
    flat = {name: value for name, value in result.items() if name != "history"}
    flat.update({f"history/{name}": v for name, v in result.get("history", {}).items()})
    return [(name, np.asarray(value)) for name, value in flat.items()]


def _finished_restart(fields: dict[str, NDArray[Any]], plan: Plan) -> OptimizeResult:
    """The result whose arrays these are; KeyError, TypeError or ValueError for others."""
    result, box = OptimizeResult(fields), plan.space.box
    for name, kind in _SCALARS.items():
        result[name] = kind(fields[name].item())
    x = result.x = np.asarray(fields["x"], dtype=np.float64)
    if x.shape != (box.dim,) or not ((x >= box.lower) & (x <= box.upper)).all():
        raise ValueError("the x of a finished restart is no point of the box")
    if plan.options["record_history"]:
        result.history = {name: result.pop(f"history/{name}") for name in _HISTORY}
        if any(one.shape[:1] != result.history["nfev"].shape for one in result.history.values()):
            raise ValueError("the history of a finished restart has gaps")
    return result


def _monitor(
    plan: Plan, store: _Store, index: int, base: Base, printer: Printer | None
) -> Monitor | None:
    keeper = store.keeper(index)
    if not plan.listens and printer is None and keeper is None:
        return None  # the core then calls nobody

    def tolerance(fun: float) -> float:
        return float(plan.options["atol"] + plan.options["tol"] * abs(fun))

    monitor = Monitor(plan.listener, printer, keeper, tolerance, plan.ranks, plan.listens)
    monitor.base = base
    return monitor


# ---- after the run ---------------------------------------------------------------------------

# What is the same on all ranks without being sent, or each rank's own.
_NOT_SENT = (
    "population", "population_energies", "population_rows", "consensus", "history", "weights",
    "minimizers", "minimizer_values",
)  # fmt: skip


def _end_together(plan: Plan, result: OptimizeResult) -> None:
    """The polish and the last bookkeeping, by the first rank for all."""

    def end() -> dict[str, Any]:
        if result.status != CALLBACK_STATUS:
            _polish(plan, result)
        _finish(plan, result)
        return {name: value for name, value in result.items() if name not in _NOT_SENT}

    ended = plan.ranks.from_first(end)
    for name in [name for name in result if name not in ended and name not in _NOT_SENT]:
        del result[name]
    result.update(ended)
    if plan.comm is not None:
        keep_own_rows(result, plan.comm)


def _polish(plan: Plan, result: OptimizeResult) -> None:
    """The final local search of the plain dynamics, or the user's own; counted in nfev."""
    if callable(plan.polish):
        _polish_by_user(plan, result)
        return
    native = plan.is_hybrid or plan.options.get("samples", False)
    if not plan.polish or native or result.status == 3 or not np.isfinite(result.fun):
        return
    box, evaluator = plan.space.box, plan.evaluator
    free = int(box.with_integers_fixed(result.x).free.sum())
    maxfun = min(plan.limit("maxfev") - result.nfev, float(POLISH_EVALUATIONS * (free + 1)))
    if not free or maxfun < 1:
        return
    start = Found(result.x, result.fun, result.maxcv)
    best = polish(evaluator.values, evaluator.constraints, box, start, int(maxfun), evaluator.dtype)
    result.nfev += best.nfev
    result.x, result.fun, result.maxcv = best.x.copy(), best.fun, best.violation


def _polish_by_user(plan: Plan, result: OptimizeResult) -> None:
    assert callable(plan.polish)
    box = plan.space.box.with_integers_fixed(result.x)
    found = plan.polish(
        plan.evaluator.at,
        result.x.copy(),
        bounds=Bounds(box.lower, box.upper),
        constraints=plan.constraints,
    )
    if not isinstance(found, OptimizeResult):
        raise ValueError(
            "The result from a user defined polishing function should return an OptimizeResult; "
            f"got {type(found).__name__}."
        )
    result.nfev += int(found.get("nfev", 0))
    x = np.array(found.x, dtype=np.float64)
    inside = bool(((x >= box.lower) & (x <= box.upper)).all())
    if inside and found.success and float(found.fun) < result.fun:
        result.x, result.fun = x, float(found.fun)
        if "jac" in found:
            result.jac = found.jac


def _finish(plan: Plan, result: OptimizeResult) -> None:
    evaluator = plan.evaluator
    if evaluator.reevaluate and result.status != 3:
        result.fun = evaluator.at(result.x)
        result.nfev += 1
    if evaluator.constraints is not None:
        add_constraints(result, evaluator.constraints)
    else:
        del result["maxcv"]
