"""One object for everything that evaluates: Python or native objective, workers, constraints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arguments import is_one_of
from ._constraints import ConstraintSet
from ._device import Library
from ._native import NamedProblem, check_native_use, native_objective
from ._objective import (
    BatchedFunction,
    BatchObjective,
    Evaluation,
    Points,
    Values,
    device_function,
    python_values,
)
from ._problem import Array
from ._workers import MapWorkers, ProcessWorkers, check_picklable, open_workers


@dataclass(frozen=True)
class Evaluator:
    """The objective of a run, as the core calls it and as Python calls it after the run."""

    core: Any  # the core's objective
    values: Values  # (n, d) -> (n,), for local searches in Python
    dtype: Any  # of the points that `values` takes
    constraints: ConstraintSet | None
    is_native: bool
    reevaluate: bool  # f(float64 x) is not the value that the run saw

    def at(self, x: Array) -> float:
        """f of one point."""
        return float(self.values(np.array(x, dtype=self.dtype)[None])[0])


def native_evaluator(
    module: Any, func: Any, dim: int, constraints: ConstraintSet | None
) -> Evaluator:
    """For a function that runs without Python; constraints bring it back into Python's hands."""
    objective = native_objective(module, func, dim)

    def values(points: Points) -> Array:
        rows = np.array(points, dtype=np.float64, order="C")
        return np.asarray(objective.evaluate(rows), dtype=np.float64)

    core = objective
    if constraints is not None:
        core = module.batch_objective(BatchObjective(Evaluation(values, constraints)), True)
    return Evaluator(core, values, np.float64, constraints, is_native=True, reevaluate=False)


def python_evaluator(
    module: Any,
    func: Any,
    args: tuple[Any, ...],
    vectorized: bool,
    workers: int | Callable[..., Any],
    dtype: str,
    constraints: ConstraintSet | None,
    stack: ExitStack,
    where: Library | None,
) -> Evaluator:
    """For a Python function; a pool of processes lives until `stack` is closed. `where` is the
    library of the inputs that live on the device."""
    there = None
    if where is not None or is_one_of(workers, 1):
        there = device_function("func", func, args, vectorized, module, where)
    plain = python_values(func, args, vectorized, there)
    pool = _open(workers, Evaluation(plain, constraints), stack)
    core = BatchObjective(Evaluation(plain, constraints), pool)
    after = BatchObjective(Evaluation(plain), pool)
    batched = isinstance(func, BatchedFunction)
    if there is not None and constraints is None:
        objective = module.resident_objective(core, there.resident)
    else:
        objective = module.batch_objective(core, constraints is not None)
    return Evaluator(
        core=objective,
        values=after.values,
        dtype=np.dtype(dtype) if batched else np.float64,
        constraints=constraints,
        is_native=False,
        reevaluate=vectorized and not batched and dtype == "float32",
    )


def _open(
    workers: int | Callable[..., Any], task: Evaluation, stack: ExitStack
) -> MapWorkers | ProcessWorkers | None:
    pool = open_workers(workers)
    if isinstance(pool, ProcessWorkers):
        stack.enter_context(pool)
        check_picklable(task)
    return pool


def refuse_for_native(func: Any, args: tuple[Any, ...], vectorized: bool, workers: Any) -> None:
    """A named problem is a vectorised function by nature; a pointer is not."""
    check_native_use(args, vectorized and not isinstance(func, NamedProblem), workers)
