"""Local search from the best particle, with finite differences evaluated as one batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import Bounds, minimize

from ._constraints import ConstraintSet, excess
from ._problem import Array, Box

Values = Callable[[Array], Array]


_RESTORATIONS = 3
_MARGIN = 1e-10  # relative: SLSQP meets its constraints to 1e-12 or a few roundings


class _BudgetSpent(Exception):
    """Raised inside SciPy's solver when no evaluation is left."""


@dataclass
class Found:
    """The best point of a local search: feasible before infeasible, then the lower value."""

    x: Array
    fun: float
    violation: float
    nfev: int = 0

    def offer(self, x: Array, fun: float, violation: float) -> None:
        if (violation, fun) < (self.violation, self.fun):
            self.x, self.fun, self.violation = x, fun, violation


class Differences:
    """f, c and their forward differences at x from one batch of d + 1 points.

    Steps are sqrt(eps) max(1, |x_k|), backwards where the upper bound is nearer than that. `dtype`
    is float32 when the objective can only take that; the iterates are then float32 numbers too.
    """

    def __init__(
        self,
        values: Values,
        constraints: ConstraintSet | None,
        box: Box,
        best: Found,
        maxfun: int,
        dtype: Any = np.float64,
    ) -> None:
        self._values, self._constraints, self._box = values, constraints, box
        self._maxfun, self._dtype = maxfun, dtype
        rounds = _RESTORATIONS * (int(box.free.sum()) + 1)
        self._reserve = rounds if constraints is not None and maxfun > 4 * rounds else 0
        self._free = np.flatnonzero(box.free)
        self._at: bytes | None = None
        self.best = best
        self.limits = np.empty(0), np.empty(0)

    def look(self, x: Array) -> None:
        """Evaluate at x unless the last call was at the same point."""
        if x.tobytes() == self._at:
            return
        point = np.clip(x.astype(self._dtype), self._box.lower, self._box.upper)
        step = np.sqrt(np.finfo(self._dtype).eps) * np.maximum(1.0, np.abs(point))
        above, below = self._box.upper - point, point - self._box.lower
        step = np.where(step <= above, step, -np.minimum(step, below))
        step = np.where(step == 0.0, above, step)  # a box narrower than the step, at its lower end
        batch = np.tile(point, (self._free.size + 1, 1)).astype(self._dtype)
        batch[np.arange(self._free.size) + 1, self._free] += step[self._free]
        if self.best.nfev + len(batch) > self._maxfun - self._reserve:
            if self.best.nfev == 0:  # not even one gradient: the point itself is still worth it
                self._evaluate(batch[:1])
            raise _BudgetSpent
        self._differences(batch, *self._evaluate(batch))
        self._at = x.tobytes()

    def _evaluate(self, batch: Array) -> tuple[Array, Array]:
        """(f, c) of the batch; the best of its points is kept, which may be a neighbour of x."""
        if self._constraints is None:
            c, violation = np.empty((len(batch), 0)), np.zeros(len(batch))
        else:
            c, lower, upper = self._constraints.values(batch)
            violation = self._constraints.total(excess(c, lower, upper), lower, upper)
            self.limits = lower, upper
        f = self._values(batch.copy())  # which may overwrite what it is given
        f = np.where(np.isnan(f), np.inf, f)
        self.best.nfev += len(batch)
        k = int(np.lexsort((f, violation))[0])
        self.best.offer(batch[k].astype(np.float64), float(f[k]), float(violation[k]))
        return f, c

    def _differences(self, batch: Array, f: Array, c: Array) -> None:
        moved = (batch[1:] - batch[0])[np.arange(self._free.size), self._free].astype(np.float64)
        self.f, self.c = float(f[0]), c[0]
        self.gradient = np.zeros(self._box.dim)
        self.jacobian = np.zeros((c.shape[1], self._box.dim))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            self.gradient[self._free] = np.nan_to_num((f[1:] - f[0]) / moved)
            self.jacobian[:, self._free] = np.nan_to_num((c[1:] - c[0]).T / moved)

    def value_and_gradient(self, x: Array) -> tuple[float, Array]:
        self.look(x)
        return self.f, self.gradient

    def rows(self, x: Array, selected: Array, sign: float, limit: Array) -> Array:
        """sign * (c - limit) for the selected components; SLSQP wants = 0 or >= 0."""
        self.look(x)
        return np.asarray(sign * (self.c[selected] - limit[selected]))

    def restore(self) -> None:
        """From a best point that just misses feasibility onto the constraints, by Newton's method.

        SLSQP ends where its line search finds no descent, which may be a little outside.
        """
        self._reserve = 0
        for _ in range(_RESTORATIONS):
            if not 0.0 < self.best.violation < np.inf:
                return
            x = self.best.x.copy()
            self.look(x)
            lower, upper = self.limits
            equal = lower == upper
            low = np.where(equal, lower, _inside(lower, upper))
            high = np.where(equal, upper, _inside(upper, lower))
            lacking = np.where(
                self.c < low, low - self.c, np.where(self.c > high, high - self.c, 0)
            )
            rows = lacking != 0
            step = np.linalg.lstsq(self.jacobian[rows], lacking[rows], rcond=None)[0]
            self.look(np.clip(x + step, self._box.lower, self._box.upper))

    def row_jacobian(self, x: Array, selected: Array, sign: float) -> Array:
        self.look(x)
        return np.asarray(sign * self.jacobian[selected])


def polish(
    values: Values,
    constraints: ConstraintSet | None,
    box: Box,
    start: Found,
    maxfun: int,
    dtype: Any = np.float64,
) -> Found:
    """L-BFGS-B, or SLSQP when there are constraints; never worse than the start.

    The evaluations made are in `nfev` of what is returned: at least one and at most `maxfun`.
    """
    inside = box.with_integers_fixed(start.x)
    best = Found(start.x, start.fun, start.violation)
    look = Differences(values, constraints, inside, best, maxfun, dtype)
    try:
        look.look(start.x)
        if not inside.free.any():
            return best
        if constraints is None:
            minimize(
                look.value_and_gradient,
                start.x,
                jac=True,
                method="L-BFGS-B",
                bounds=Bounds(inside.lower, inside.upper),
                options={"maxfun": maxfun, "ftol": 1e-15, "gtol": 1e-10},
            )
        else:
            with contextlib.suppress(_BudgetSpent):
                _slsqp(look, start.x, inside)
            look.restore()
    except _BudgetSpent:
        pass
    return look.best


def _slsqp(look: Differences, x: Array, box: Box) -> None:
    lower, upper = look.limits
    sides = [
        ("eq", np.flatnonzero(lower == upper), 1.0, lower),
        ("ineq", np.flatnonzero((lower < upper) & (lower > -np.inf)), 1.0, _inside(lower, upper)),
        ("ineq", np.flatnonzero((lower < upper) & (upper < np.inf)), -1.0, _inside(upper, lower)),
    ]
    minimize(
        look.value_and_gradient,
        x,
        jac=True,
        method="SLSQP",
        bounds=Bounds(box.lower, box.upper),
        constraints=[_one_side(look, *side) for side in sides if side[1].size],
        options={"maxiter": 100 + 10 * box.dim, "ftol": 1e-12},
    )


def _inside(limit: Array, other: Array) -> Array:
    """Limits of inequalities moved inwards by what SLSQP may miss them by."""
    with np.errstate(invalid="ignore"):
        margin = np.minimum(_MARGIN * np.maximum(1.0, np.abs(limit)), np.abs(other - limit) / 4)
        return np.asarray(limit + np.where(other > limit, margin, -margin))


def _one_side(look: Differences, kind: str, selected: Any, sign: float, limit: Array) -> Any:
    return {
        "type": kind,
        "fun": lambda x: look.rows(x, selected, sign, limit),
        "jac": lambda x: look.row_jacobian(x, selected, sign),
    }


def constrained_search(
    values: Values, constraints: ConstraintSet, box: Box, dtype: Any = np.float64
) -> Callable[[Array, int], tuple[Array, float, float, int]]:
    """local_search(x, maxfun) -> (x, f, violation, nfev) of the core, for constrained problems."""

    def search(x: Array, maxfun: int) -> tuple[Array, float, float, int]:
        start = Found(np.array(x, dtype=np.float64), np.inf, np.inf)
        best = polish(values, constraints, box, start, maxfun, dtype)
        return best.x, best.fun, best.violation, best.nfev

    return search
