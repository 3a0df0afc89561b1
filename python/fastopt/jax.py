"""Objectives written in JAX: `from_jax` makes one for `cbo` and for scipy.optimize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._objective import BatchedFunction, as_values

_EXTRA = "fastopt.jax needs JAX: pip install 'fastopt[jax]'"


def _jax() -> Any:
    try:
        import jax
    except ImportError as error:
        raise ImportError(_EXTRA) from error
    return jax


def _as_jax(points: NDArray[Any]) -> Any:
    """A JAX array of the points.

    JAX arrays must not change and the particle buffer does, so this copies; without
    ``jax_enable_x64`` JAX computes in float32.
    """
    return _jax().numpy.array(points)


class JaxFunction(BatchedFunction):
    """What `from_jax` returns.

    Attributes
    ----------
    fun : callable
        ``fun(x) -> float``, x of shape (d,): SciPy's objective.
    jac : JaxGradient
        ``jac(x) -> (d,)`` by `jax.grad`, SciPy's gradient and the `gradient` of `cbo`.
    hessp : callable
        ``hessp(x, p) -> (d,)``, the Hessian times p, forward over reverse.
    batched : callable
        ``batched(points) -> (n,)``, points of shape (n, d).
    """

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        if not callable(fn):
            raise TypeError(f"fn must be callable; got {type(fn).__name__}.")
        self.fn = fn
        self.jac = JaxGradient(fn)

    def batched(self, points: NDArray[Any]) -> NDArray[np.float64]:
        return as_values(np.from_dlpack(self.fn(_as_jax(points))), len(points), "fn")

    def fun(self, x: ArrayLike) -> float:
        return float(self.batched(np.array(x)[None])[0])

    def hessp(self, x: ArrayLike, p: ArrayLike) -> NDArray[np.float64]:
        jax = _jax()

        def at(point: Any) -> Any:
            return self.fn(point[None]).sum()

        point, direction = (_as_jax(np.array(one, dtype=np.float64)) for one in (x, p))
        product = jax.jvp(jax.grad(at), (point,), (direction,))[1]
        return np.asarray(np.from_dlpack(product), dtype=np.float64)

    __call__ = fun


class JaxGradient(BatchedFunction):
    """The gradient of a batch function: each value depends on its own row only."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self._gradient = _jax().grad(lambda rows: fn(rows).sum())

    def batched(self, points: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.from_dlpack(self._gradient(_as_jax(points))), dtype=np.float64)

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        point = np.array(x)
        rows = self.batched(point if point.ndim == 2 else point[None])
        return rows if point.ndim == 2 else rows[0]


def from_jax(fn: Callable[[Any], Any]) -> JaxFunction:
    """An objective for `cbo` from a batch function of JAX.

    Parameters
    ----------
    fn : callable
        Takes a JAX array (n_points, n_dim) and returns one of shape (n_points,): for example
        ``jax.jit(jax.vmap(f))``. JAX computes in float32 unless
        ``jax.config.update("jax_enable_x64", True)`` was called before.

    Returns
    -------
    JaxFunction
        Pass it as `func` of `cbo`; its `fun`, `jac` and `hessp` suit `sketch_newton` and
        scipy.optimize.

    Raises
    ------
    ImportError
        If JAX is missing.

    Examples
    --------
    >>> from fastopt import cbo
    >>> from fastopt.jax import from_jax
    >>> f = from_jax(lambda x: ((x - 1) ** 2).sum(axis=1))
    >>> cbo(f, [(-5, 5)] * 3, rng=1).x.round(3)
    array([1., 1., 1.])
    """
    _jax()
    return JaxFunction(fn)
