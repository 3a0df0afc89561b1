"""Evaluation of a batch by other processes or by the user's own map."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ._arguments import is_one_of, short

Task = Callable[[NDArray[Any]], Any]
MapLike = Callable[[Task, Iterable[Any]], Iterable[Any]]


class Workers(Protocol):
    def map(self, task: Task, points: NDArray[Any]) -> Sequence[Any]:
        """task(chunk) for consecutive chunks of the points, in their order."""
        ...


def chunks(points: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """At most `count` consecutive pieces of nearly equal length, none of them empty."""
    return [piece for piece in np.array_split(points, max(1, count)) if len(piece)]


def available_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class MapWorkers:
    """The user's map-like callable, for example `pool.map` or an MPI pool's map."""

    def __init__(self, maplike: MapLike) -> None:
        self._maplike = maplike
        # The number of workers behind a callable is unknown: four chunks a CPU keep them busy
        # and the cost of a task small beside the evaluations in it.
        self._count = 4 * available_cpus()

    def map(self, task: Task, points: NDArray[Any]) -> Sequence[Any]:
        pieces = chunks(points, self._count)
        results = list(self._maplike(task, pieces))
        if len(results) != len(pieces):
            raise RuntimeError(
                "The map-like callable must be of the form f(func, iterable), returning a "
                "sequence of the same length as 'iterable'."
            )
        return results


class ProcessWorkers:
    """A pool of processes of our own; it notices workers that die instead of waiting forever."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = ProcessPoolExecutor(count, mp_context=_context())

    def map(self, task: Task, points: NDArray[Any]) -> Sequence[Any]:
        return list(self._pool.map(task, chunks(points, self._count)))

    def __enter__(self) -> ProcessWorkers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=error is None, cancel_futures=True)
        if error is not None:  # a long evaluation must not delay the exception
            for process in processes:
                process.terminate()


def _context() -> Any:
    """SciPy's choice: the user's start method, else 'forkserver' where Python still forks."""
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None and os.name == "posix" and sys.version_info < (3, 14):
        method = "forkserver"
    return multiprocessing.get_context(method)


def open_workers(workers: int | MapLike) -> MapWorkers | ProcessWorkers | None:
    """None for workers=1; a ProcessWorkers must be closed (it is a context manager)."""
    if callable(workers):
        return MapWorkers(workers)
    count = available_cpus() if is_one_of(workers, -1) else workers
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(
            "workers must be -1 (all CPUs), an int >= 1 or a map-like callable; "
            f"got {short(workers)}."
        )
    return ProcessWorkers(int(count)) if count > 1 else None


def check_picklable(task: Task) -> None:
    """Say what is wrong before a pool of processes says it in its own words."""
    try:
        pickle.dumps(task)
    except Exception as error:
        raise ValueError(
            "workers > 1 sends func, args and constraints to other processes, and they cannot be "
            f"pickled ({error}). Define them at the top level of a module, or pass a map-like "
            "callable, for example concurrent.futures.ThreadPoolExecutor().map."
        ) from None
