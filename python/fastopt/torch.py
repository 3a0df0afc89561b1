"""Objectives written in PyTorch: `from_torch` makes one for `cbo` and for scipy.optimize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._objective import BatchedFunction, as_values

_EXTRA = "fastopt.torch needs PyTorch: pip install 'fastopt[torch]'"


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(_EXTRA) from error
    return torch


def _as_tensor(points: NDArray[Any]) -> Any:
    """A tensor on the memory of the points; only read-only points are copied."""
    return _torch().from_dlpack(points if points.flags.writeable else points.copy())


def _as_array(value: Any) -> NDArray[np.float64]:
    """A float64 array from a tensor, without copying one that lies in the CPU's memory."""
    torch = _torch()
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"fn must return a torch.Tensor; it returned a {type(value).__name__}.")
    if value.requires_grad:
        raise ValueError(
            "fn returned a tensor that requires grad: return value.detach(), or decorate fn with "
            "@torch.no_grad()."
        )
    return np.asarray(value.to("cpu", torch.float64).numpy())


class TorchFunction(BatchedFunction):
    """What `from_torch` returns.

    Attributes
    ----------
    fun : callable
        ``fun(x) -> float``, x of shape (d,): SciPy's objective.
    jac : TorchGradient
        ``jac(x) -> (d,)`` by `torch.func`, SciPy's gradient and the `gradient` of `cbo`.
    batched : callable
        ``batched(points) -> (n,)``, points of shape (n, d).
    """

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        if not callable(fn):
            raise TypeError(f"fn must be callable; got {type(fn).__name__}.")
        self.fn = fn
        self.jac = TorchGradient(fn)

    def batched(self, points: NDArray[Any]) -> NDArray[np.float64]:
        return as_values(_as_array(self.fn(_as_tensor(points))), len(points), "fn")

    def fun(self, x: ArrayLike) -> float:
        return float(self.batched(np.array(x)[None])[0])

    __call__ = fun


class TorchGradient(BatchedFunction):
    """The gradient of a batch function: each value depends on its own row only."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self.fn = fn

    def batched(self, points: NDArray[Any]) -> NDArray[np.float64]:
        gradient = _torch().func.grad(lambda rows: self.fn(rows).sum())
        return _as_array(gradient(_as_tensor(points)).detach())

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        point = np.array(x)
        rows = self.batched(point if point.ndim == 2 else point[None])
        return rows if point.ndim == 2 else rows[0]


def from_torch(fn: Callable[[Any], Any]) -> TorchFunction:
    """An objective for `cbo` from a batch function of PyTorch.

    Parameters
    ----------
    fn : callable
        Takes a tensor (n_points, n_dim), a view of the particles that it may overwrite (float64,
        or float32 with ``dtype='float32'``), and returns a tensor (n_points,) on any device that
        does not require grad.

    Returns
    -------
    TorchFunction
        Pass it as `func` of `cbo`; its `fun` and `jac` suit scipy.optimize.

    Raises
    ------
    ImportError
        If PyTorch is missing.

    Examples
    --------
    >>> import torch                                                   # doctest: +SKIP
    >>> from fastopt import cbo
    >>> from fastopt.torch import from_torch
    >>> f = from_torch(lambda x: ((x - 1) ** 2).sum(dim=1))            # doctest: +SKIP
    >>> cbo(f, [(-5, 5)] * 3, rng=1).x.round(6)                        # doctest: +SKIP
    array([1., 1., 1.])
    """
    _torch()
    return TorchFunction(fn)


def to_module(result: Any) -> Any:
    """A ``torch.nn.Sequential`` (Linear, ReLU, Linear) with the network of a result.

    Parameters
    ----------
    result : OptimizeResult
        What `fastopt.admm_relu` returned, for any method but 'gated'.

    Returns
    -------
    torch.nn.Module
        In double precision; its output for X (n, d) has the shape (n, n_outputs) and equals
        ``result.predict``. Call ``.float()`` for single precision.

    Raises
    ------
    ValueError
        For a result without a ReLU network.
    ImportError
        If PyTorch is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import admm_relu
    >>> from fastopt.torch import to_module
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> result = admm_relu(X, np.abs(X[:, 0]), beta=1e-3, gates=20, rng=1)
    >>> module = to_module(result)                                     # doctest: +SKIP
    """
    names = ("W1", "b1", "W2", "b2")
    if any(getattr(result, name, None) is None for name in names):
        raise ValueError(
            "to_module needs a result of admm_relu with a ReLU network (W1, b1, W2, b2); "
            "method='gated' trains another kind."
        )
    torch = _torch()
    W1, b1, W2, b2 = (getattr(result, name) for name in names)
    if len(b1) == 0:  # torch warns about layers without a unit: one that is always 0
        W1, b1, W2 = np.zeros((1, W1.shape[1])), np.zeros(1), np.zeros((len(b2), 1))
    layers = []
    for W, b in ((W1, b1), (W2, b2)):
        layer = torch.nn.utils.skip_init(
            torch.nn.Linear, W.shape[1], W.shape[0], dtype=torch.float64
        )
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(W.copy()))
            layer.bias.copy_(torch.from_numpy(b.copy()))
        layers.append(layer)
    return torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])
