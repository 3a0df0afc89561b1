"""Objectives written in Python as one batch function: points row by row in, values out."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _backend
from ._arguments import without_objects
from ._constraints import ConstraintSet
from ._device import Library, lives_there, on_host
from ._problem import Array
from ._workers import Workers

Points: TypeAlias = NDArray[Any]  # (n, d), float64 or float32, one point a row
Values: TypeAlias = Callable[[Points], Array]  # points -> (n,); may overwrite the points

NOT_A_SCALAR = "The user-provided objective function must return a scalar value."


class BatchedFunction(abc.ABC):
    """A function of many points at once that `cbo` calls by rows (`fastopt.torch`, `.jax`)."""

    @abc.abstractmethod
    def batched(self, points: Points) -> Any:
        """Values at `points` (n, d): (n,) for an objective, (n, d) for a gradient."""

    def on_device(self) -> tuple[Any, Callable[[Any], Any]] | None:
        """(its library, `batched` for arrays of it) where that library sees a GPU."""
        return None


def read_pair(answer: Any) -> tuple[Any, Any]:
    """(value, gradient) of a function with jac=True."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise ValueError(
            f"fun must return (value, gradient) with jac=True; it returned {answer!r:.60}."
        )
    return answer[0], answer[1]


def as_scalar(value: Any) -> float:
    """A float from what the user's function returned: float, 0-d, size-1 array, 0-d tensor."""
    if isinstance(value, float):
        return value
    try:
        number = np.asarray(value).item()
    except (TypeError, ValueError):
        raise ValueError(f"{NOT_A_SCALAR} It returned {_describe(value)}.") from None
    if not isinstance(number, (int, float)):
        raise ValueError(f"{NOT_A_SCALAR} It returned {_describe(value)}.")
    return float(number)


def as_values(value: Any, n: int, called: str) -> Array:
    """An array (n,) from what a function of n points returned."""
    values = without_objects(np.asarray(value))
    if values.dtype.kind not in "fiub" or values.size != n:
        raise ValueError(
            f"The vectorized function must return an array of shape (S,) when given an array of "
            f"shape (len(x), S): {called} returned {_describe(value)} for S = {n}."
        )
    return values.reshape(n).astype(np.float64, copy=False)


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None and tuple(shape) != ():
        return f"an array of shape {tuple(shape)}"
    return f"{value!r:.40} of type {type(value).__name__}"


@dataclass(frozen=True)
class PointFunction:
    """func(x) called for one point after another; x is float64 (d,) and func may keep it."""

    func: Callable[..., Any]
    args: tuple[Any, ...] = ()

    def __call__(self, points: Points) -> Array:
        func, args = self.func, self.args
        rows = np.array(points, dtype=np.float64)  # one copy for the batch; rows are views of it
        return np.array([as_scalar(func(x, *args)) for x in rows], dtype=np.float64)


@dataclass(frozen=True)
class ColumnFunction:
    """func(x) with x (d, n), the transpose of the particle buffer: SciPy's `vectorized=True`."""

    func: Callable[..., Any]
    args: tuple[Any, ...] = ()

    def __call__(self, points: Points) -> Array:
        return as_values(self.func(points.T, *self.args), len(points), "func")


@dataclass(frozen=True)
class RowFunction:
    """A BatchedFunction: it takes the particle buffer as it lies."""

    func: BatchedFunction

    def __call__(self, points: Points) -> Array:
        return as_values(self.func.batched(points), len(points), "func")


@dataclass(frozen=True)
class DeviceFunction:
    """A function of arrays that live on the device: rows (n, d) of `library` -> (n,) or (n, d)."""

    function: Callable[[Any], Any]
    library: Library
    name: str  # of the user's function

    def on_host(self, points: Points) -> Any:
        """Its values at points of the host, there."""
        value = self.function(self.library.array(points))
        return on_host(f"the array that {self.name} returned", value)

    def __call__(self, points: Points) -> Array:
        return as_values(self.on_host(points), len(points), self.name)

    def resident(self, points: Any) -> Any:
        """For points and values that stay on the device and are handed over by DLPack."""
        value = self.function(self.library.take(points))
        if lives_there(value):
            return value
        return self.library.lend(as_values(value, points.shape[0], self.name))


def device_function(
    name: str,
    func: Any,
    args: tuple[Any, ...],
    vectorized: bool,
    module: Any,
    where: Library | None,
) -> DeviceFunction | None:
    """The user's `name` as a function of rows on the device; None if it gets NumPy's arrays.

    `where` is the library of the inputs that live there.
    """
    if module is _backend.module():
        return None
    if isinstance(func, BatchedFunction):
        found = func.on_device()
        return None if found is None else DeviceFunction(found[1], Library(module, found[0]), name)
    if where is None:
        return None
    if not vectorized:
        raise ValueError(
            "x0, bounds or init live on a CUDA device, so func and gradient get arrays there, "
            "which is of use for many points at once only: pass vectorized=True (x of shape "
            "(d, n)) without workers, or device='cpu' and functions of NumPy's arrays."
        )
    return DeviceFunction(lambda rows: func(rows.T, *args), where, name)


def python_values(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    vectorized: bool,
    there: DeviceFunction | None = None,
) -> Values:
    """The batch function of a Python objective; `there` is what `device_function` says of it."""
    if isinstance(func, BatchedFunction):
        if args:
            raise ValueError("args cannot be passed to a torch or JAX objective: use a closure.")
        return RowFunction(func) if there is None else there
    if not callable(func):
        raise TypeError(
            "func must be callable or a compiled function (fastopt.problems, LowLevelCallable, "
            f"numba cfunc, ctypes or cffi pointer); got {type(func).__name__}."
        )
    if there is not None:
        return there
    return ColumnFunction(func, args) if vectorized else PointFunction(func, args)


@dataclass(frozen=True)
class Evaluation:
    """f and violation of a batch; what a worker computes for its chunk."""

    values: Values
    constraints: ConstraintSet | None = None

    def __call__(self, points: Points) -> tuple[Array, Array | None]:
        violation = None if self.constraints is None else self.constraints.violation(points)
        return self.values(points), violation


class BatchObjective:
    """Fills f and v for the core; `workers` cut the batch into chunks, one task each."""

    def __init__(self, evaluation: Evaluation, workers: Workers | None = None) -> None:
        self._evaluation = evaluation
        self._workers = workers

    def __call__(self, points: Points, f: Array, v: Array | None) -> None:
        values, violation = self.evaluate(points)
        f[:] = values
        if v is not None and violation is not None:
            v[:] = violation

    def values(self, points: Points) -> Array:
        return self.evaluate(points)[0]

    def evaluate(self, points: Points) -> tuple[Array, Array | None]:
        if self._workers is None:
            return self._evaluation(points)
        return _join(self._workers.map(self._evaluation, points))


def _join(parts: Sequence[tuple[Array, Array | None]]) -> tuple[Array, Array | None]:
    values = np.concatenate([f for f, _ in parts])
    violations = [v for _, v in parts if v is not None]
    return values, np.concatenate(violations) if violations else None


def python_gradient(
    gradient: Any,
    args: tuple[Any, ...],
    vectorized: bool,
    there: DeviceFunction | None = None,
) -> Callable[[Points, Points], None]:
    """gradient(X, G) of the core from the user's gradient, by point, by columns or by rows."""
    batched = isinstance(gradient, BatchedFunction)
    if not batched and not callable(gradient):
        raise TypeError(f"gradient must be callable; got {type(gradient).__name__}.")
    if there is not None:

        def rows(points: Points) -> Array:
            values = np.asarray(there.on_host(points))
            return values if batched else values.T

    elif batched:
        rows = gradient.batched
    elif vectorized:

        def rows(points: Points) -> Array:
            return np.asarray(gradient(points.T, *args)).T

    else:

        def rows(points: Points) -> Array:
            copies = np.array(points, dtype=np.float64)
            return np.array([np.asarray(gradient(x, *args)) for x in copies])

    def fill(points: Points, out: Points) -> None:
        values = rows(points)
        if values.shape != out.shape:
            n, d = out.shape
            wanted, came = ((d, n), values.shape[::-1]) if vectorized else ((d,), values.shape[1:])
            raise ValueError(
                f"gradient must return an array of shape {wanted}; it returned shape {came}."
            )
        out[:] = values

    return fill
