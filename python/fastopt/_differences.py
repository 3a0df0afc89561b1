"""Finite differences of functions of one point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._problem import Array

METHODS = ("2-point", "3-point", "cs")
_EPS = float(np.finfo(np.float64).eps)
_RELATIVE = {"2-point": _EPS ** (1 / 2), "3-point": _EPS ** (1 / 3), "cs": _EPS ** (1 / 2)}


def derivative(
    fun: Callable[[Any], Any],
    x: Array,
    method: str,
    rel_step: ArrayLike | None = None,
    at_x: Array | None = None,
) -> Array:
    """d fun / dx as (m, n) for fun: (n,) -> (m,).

    '2-point' takes n values besides fun(x) (`at_x` when known), '3-point' 2 n, 'cs' n complex ones.
    The step is ``rel_step * max(1, |x|)``, by default eps^(1/2), or eps^(1/3) for '3-point'.
    """
    relative = np.broadcast_to(_RELATIVE[method] if rel_step is None else rel_step, x.shape)
    sign = np.where(x < 0, -1.0, 1.0)
    if rel_step is None:
        steps = relative * sign * np.maximum(1.0, np.abs(x))
    else:
        steps = relative * sign * np.where(x == 0, 1.0, np.abs(x))
    if method == "2-point" and at_x is None:
        at_x = np.atleast_1d(fun(x.copy()))
    columns = []
    for k, wanted in enumerate(steps):
        if method == "cs":
            z = x.astype(np.complex128)
            z[k] += 1j * wanted
            columns.append(np.atleast_1d(fun(z)).imag / wanted)
            continue
        forward = x.copy()
        forward[k] += wanted
        step = forward[k] - x[k]  # what the addition really did
        if method == "2-point":
            assert at_x is not None
            columns.append((np.atleast_1d(fun(forward)) - at_x) / step)
        else:
            backward = x.copy()
            backward[k] -= step
            columns.append(
                (np.atleast_1d(fun(forward)) - np.atleast_1d(fun(backward))) / (2 * step)
            )
    return np.array(columns, dtype=np.float64).T
