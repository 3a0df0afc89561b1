"""Constraints of any SciPy form as one violation per point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint
from scipy.sparse import issparse

from ._arguments import numbers
from ._glm import checked_sparse
from ._problem import Array

_WRONG_SHAPE = (
    "An array returned from a Constraint has the wrong shape. If `vectorized is False` the "
    "Constraint should return an array of shape (M,). If `vectorized is True` then the Constraint "
    "must return an array of shape (M, S), where S is the number of solution vectors and M is the "
    "number of constraint components in a given Constraint object."
)

_EQUALITY_TOL = 1e-8


@dataclass(frozen=True)
class Component:
    """lower <= fun(X) <= upper, X (n, d) -> (n, m); fun may overwrite X."""

    fun: Callable[[Array], Array]
    lower: Array
    upper: Array

    def __call__(self, points: NDArray[Any]) -> tuple[Array, Array, Array]:
        """(values (n, m), lower (m,), upper (m,))."""
        values = self.fun(np.array(points, dtype=np.float64))
        if values.ndim != 2 or len(values) != len(points):
            raise ValueError(_WRONG_SHAPE)
        try:
            lower = np.broadcast_to(self.lower, values.shape[1:])
            upper = np.broadcast_to(self.upper, values.shape[1:])
        except ValueError:
            raise ValueError(_WRONG_SHAPE) from None
        return values, lower, upper


@dataclass(frozen=True)
class ByPoint:
    """A constraint function of one point."""

    fun: Callable[..., Any]
    args: tuple[Any, ...] = ()

    def __call__(self, points: Array) -> Array:
        rows = [np.atleast_1d(np.asarray(self.fun(x, *self.args), np.float64)) for x in points]
        if any(row.ndim != 1 or row.shape != rows[0].shape for row in rows):
            raise ValueError(_WRONG_SHAPE)
        return np.array(rows)


@dataclass(frozen=True)
class ByColumn:
    """A constraint function of points (d, n), as SciPy's `vectorized=True` calls it."""

    fun: Callable[..., Any]
    args: tuple[Any, ...] = ()

    def __call__(self, points: Array) -> Array:
        values = np.atleast_2d(np.asarray(self.fun(points.T, *self.args), dtype=np.float64))
        return values.T


@dataclass(frozen=True)
class Linear:
    """A x for every point."""

    matrix: Any

    def __call__(self, points: Array) -> Array:
        return np.ascontiguousarray((self.matrix @ points.T).T)


@dataclass(frozen=True)
class Identity:
    def __call__(self, points: Array) -> Array:
        return points


@dataclass(frozen=True)
class ConstraintSet:
    """All constraints of a problem.

    violation(x) = sum over components of max(0, lower - c(x)) + max(0, c(x) - upper), and exactly
    0 when every component is within the tolerance of its kind; a NaN counts as an infinite
    violation.
    """

    components: tuple[Component, ...]
    equality_tol: float
    inequality_tol: float

    def values(self, points: NDArray[Any]) -> tuple[Array, Array, Array]:
        """c(x_i) as (n, m) with its lower and upper limits (m,)."""
        parts = [component(points) for component in self.components]
        c, lower, upper = (np.concatenate([part[k] for part in parts], axis=-1) for k in range(3))
        return c, lower, upper

    def violation(self, points: NDArray[Any]) -> Array:
        c, lower, upper = self.values(points)
        return self.total(excess(c, lower, upper), lower, upper)

    def total(self, outside: Array, lower: Array, upper: Array) -> Array:
        """The violation from the excess (n, m) of each component."""
        allowed = np.where(lower == upper, self.equality_tol, self.inequality_tol)
        total = np.asarray(outside.sum(axis=-1), dtype=np.float64)
        total[(outside <= allowed).all(axis=-1)] = 0.0
        return total

    def is_feasible(self, x: Array) -> bool:
        return bool(self.violation(x[None])[0] == 0.0)

    def report(self, x: Array) -> list[Array]:
        """SciPy's `constr`: the excess of each constraint object at x."""
        return [excess(*component(x[None]))[0] for component in self.components]


def excess(c: Array, lower: Array, upper: Array) -> Array:
    with np.errstate(invalid="ignore"):
        out = np.where(c < lower, lower - c, 0.0) + np.where(c > upper, c - upper, 0.0)
    out[np.isnan(c)] = np.inf
    return out


def read_constraints(
    constraints: Any, dim: int, vectorized: bool, tol: float | None
) -> ConstraintSet | None:
    """One constraint or a sequence of them; None when there are none.

    `tol` None: inequalities hold exactly, as in SciPy, and equalities to 1e-8.
    """
    single = isinstance(constraints, (dict, Bounds, LinearConstraint, NonlinearConstraint))
    if not single and not isinstance(constraints, Iterable):
        raise ValueError(_unknown(constraints))
    every = [constraints] if single else list(constraints)
    if not every:
        return None
    components = tuple(_component(one, dim, vectorized) for one in every)
    return ConstraintSet(
        components,
        equality_tol=_EQUALITY_TOL if tol is None else tol,
        inequality_tol=0.0 if tol is None else tol,
    )


def _component(constraint: Any, dim: int, vectorized: bool) -> Component:
    call = ByColumn if vectorized else ByPoint
    if isinstance(constraint, dict):
        return _from_dict(constraint, call)
    if isinstance(constraint, NonlinearConstraint):
        fun: Callable[[Array], Array] = call(constraint.fun)
    elif isinstance(constraint, LinearConstraint):
        fun = Linear(_matrix(constraint.A, dim))
    elif isinstance(constraint, Bounds):
        fun = Identity()
    else:
        raise ValueError(_unknown(constraint))
    return Component(fun, *limits(constraint))


def limits(constraint: Any) -> tuple[Array, Array]:
    """lb and ub of one of SciPy's objects."""
    lower, upper = (
        np.atleast_1d(numbers(f"{name} of a constraint", getattr(constraint, name)))
        for name in ("lb", "ub")
    )
    if np.isnan(lower).any() or np.isnan(upper).any():
        raise ValueError("a constraint has a limit that is NaN: write -inf or inf for no limit.")
    return lower, upper


def _matrix(matrix: Any, dim: int) -> Any:
    if issparse(matrix):
        checked: Any = checked_sparse(matrix, "A of a LinearConstraint").tocsr()
    else:
        checked = np.atleast_2d(numbers("A of a LinearConstraint", matrix))
    if checked.ndim != 2 or checked.shape[1] != dim:
        raise ValueError(
            f"A of a LinearConstraint must have {dim} columns, one for each variable; "
            f"its shape is {checked.shape}."
        )
    return checked


def _from_dict(constraint: dict[str, Any], call: type[ByPoint] | type[ByColumn]) -> Component:
    kind = str(constraint.get("type", "")).lower()
    if kind not in ("eq", "ineq"):
        raise ValueError(
            "a constraint given as a dict needs 'type': 'eq' (fun(x) == 0) or 'ineq' "
            f"(fun(x) >= 0); got {constraint.get('type')!r}."
        )
    if not callable(constraint.get("fun")):
        raise ValueError("a constraint given as a dict needs a callable 'fun'.")
    args = constraint.get("args", ())
    fun = call(constraint["fun"], tuple(args) if isinstance(args, Iterable) else (args,))
    return Component(fun, np.zeros(1), np.zeros(1) if kind == "eq" else np.full(1, np.inf))


def _unknown(constraint: Any) -> str:
    return (
        "`constraint` of an unknown type is passed: constraints must be LinearConstraint, "
        "NonlinearConstraint, Bounds, a dict with 'type' and 'fun', or a sequence of these; "
        f"got {type(constraint).__name__}."
    )
