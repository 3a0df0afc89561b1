"""Objectives written in PyTorch, for `cbo`, `sketch_newton` and scipy.optimize; and networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import numbers
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


def _checked(value: Any) -> Any:
    """What fn returned, a tensor without a graph."""
    torch = _torch()
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"fn must return a torch.Tensor; it returned a {type(value).__name__}.")
    if value.requires_grad:
        raise ValueError(
            "fn returned a tensor that requires grad: return value.detach(), or decorate fn with "
            "@torch.no_grad()."
        )
    return value


def _as_array(value: Any) -> NDArray[np.float64]:
    """A float64 array from a tensor, without copying one that lies in the CPU's memory."""
    return np.asarray(_checked(value).to("cpu", _torch().float64).numpy())


def _on_device(rows: Callable[[Any], Any]) -> tuple[Any, Callable[[Any], Any]] | None:
    """For `BatchedFunction.on_device`: PyTorch sees a GPU, or gets tensors on the CPU as ever."""
    torch = _torch()
    if not torch.cuda.is_available():
        return None
    return torch, lambda points: _checked(rows(points)).to(torch.float64)


class TorchFunction(BatchedFunction):
    """What `from_torch` returns.

    Attributes
    ----------
    fun : callable
        ``fun(x) -> float``, x of shape (d,): SciPy's objective.
    jac : TorchGradient
        ``jac(x) -> (d,)`` by `torch.func`, SciPy's gradient and the `gradient` of `cbo`.
    hessp : callable
        ``hessp(x, p) -> (d,)``, the Hessian times p, reverse over reverse.
    hess : callable
        ``hess(x) -> (d, d)``.
    batched : callable
        ``batched(points) -> (n,)``, points of shape (n, d).
    """

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        if not callable(fn):
            raise TypeError(f"fn must be callable; got {type(fn).__name__}.")
        self.fn = fn
        self.jac = TorchGradient(fn)

    def _at(self, x: Any) -> Any:
        return self.fn(x[None]).sum()

    def batched(self, points: NDArray[Any]) -> NDArray[np.float64]:
        return as_values(_as_array(self.fn(_as_tensor(points))), len(points), "fn")

    def on_device(self) -> tuple[Any, Callable[[Any], Any]] | None:
        return _on_device(self.fn)

    def fun(self, x: ArrayLike) -> float:
        return float(self.batched(np.array(x)[None])[0])

    def hessp(self, x: ArrayLike, p: ArrayLike) -> NDArray[np.float64]:
        func = _torch().func
        point, direction = (_as_tensor(np.array(one, dtype=np.float64)) for one in (x, p))
        return _as_array(func.vjp(func.grad(self._at), point)[1](direction)[0].detach())

    def hess(self, x: ArrayLike) -> NDArray[np.float64]:
        func = _torch().func
        point = _as_tensor(np.array(x, dtype=np.float64))
        return _as_array(func.jacrev(func.grad(self._at))(point).detach())

    __call__ = fun


class TorchGradient(BatchedFunction):
    """The gradient of a batch function: each value depends on its own row only."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self.fn = fn

    def _rows(self, points: Any) -> Any:
        return _torch().func.grad(lambda rows: self.fn(rows).sum())(points).detach()

    def batched(self, points: NDArray[Any]) -> NDArray[np.float64]:
        return _as_array(self._rows(_as_tensor(points)))

    def on_device(self) -> tuple[Any, Callable[[Any], Any]] | None:
        return _on_device(self._rows)

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
        does not require grad. With ``cbo(..., device='cuda')`` the tensor lives there, in the
        current stream, wherever PyTorch sees a GPU.

    Returns
    -------
    TorchFunction
        Pass it as `func` of `cbo`; its `fun`, `jac`, `hessp` and `hess` suit `sketch_newton` and
        scipy.optimize.

    Raises
    ------
    ImportError
        If PyTorch is missing.

    Examples
    --------
    >>> import torch
    >>> from fastopt import cbo
    >>> from fastopt.torch import from_torch
    >>> f = from_torch(lambda x: ((x - 1) ** 2).sum(dim=1))
    >>> cbo(f, [(-5, 5)] * 3, rng=1).x.round(6)
    array([1., 1., 1.])
    """
    _torch()
    return TorchFunction(fn)


class ModuleFunction(TorchFunction):
    """What `from_module` returns: a `TorchFunction` of the parameters of a module.

    Attributes
    ----------
    dim : int
        How many parameters there are.
    x0 : ndarray (dim,)
        The parameters that the module had, one after another.
    """

    def __init__(self, module: Any, loss: Callable[[Any], Any], chunk_size: int | None) -> None:
        torch = _torch()
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}.")
        if not callable(loss):
            raise TypeError(f"loss must be callable; got {type(loss).__name__}.")
        self.module, self._loss = module, loss
        self._parameters = {name: one.detach() for name, one in module.named_parameters()}
        if not self._parameters:
            raise ValueError("module must have parameters; this one has none.")
        flat = torch.cat([one.reshape(-1) for one in self._parameters.values()])
        self._like = flat[:0]
        self.dim = int(flat.numel())
        self.x0 = _as_array(flat.clone())
        super().__init__(torch.func.vmap(self._value, chunk_size=chunk_size))

    def _split(self, x: Any) -> dict[str, Any]:
        ends = x.to(self._like).split([one.numel() for one in self._parameters.values()])
        return {
            name: part.reshape(old.shape)
            for part, (name, old) in zip(ends, self._parameters.items(), strict=True)
        }

    def _value(self, x: Any) -> Any:
        parameters, functional_call = self._split(x), _torch().func.functional_call

        def call(*args: Any, **kwargs: Any) -> Any:
            return functional_call(self.module, parameters, args, kwargs)

        return self._loss(call)

    def load(self, x: ArrayLike) -> Any:
        """Put the parameters x (dim,) into the module, and return it."""
        torch = _torch()
        point = np.array(x, dtype=np.float64)
        if point.shape != (self.dim,):
            raise ValueError(f"x must hold {self.dim} parameters; got shape {point.shape}.")
        own = dict(self.module.named_parameters())
        with torch.no_grad():
            for name, value in self._split(_as_tensor(point)).items():
                own[name].copy_(value)
        return self.module


def from_module(
    module: Any, loss: Callable[[Any], Any], *, chunk_size: int | None = None
) -> ModuleFunction:
    """An objective for `cbo` from a network: its loss as a function of all its parameters.

    Parameters
    ----------
    module : torch.nn.Module
        A small network; a swarm searches tens of parameters well, thousands badly. Layers that
        change while they run (batch normalisation, dropout) belong in ``module.eval()``.
    loss : callable
        ``loss(network) -> scalar tensor``, which calls ``network(inputs)`` like the module. It runs
        under `torch.func.vmap` for all particles at once.
    chunk_size : int, optional
        At most so many particles at once, to save memory. Default: all.

    Returns
    -------
    ModuleFunction
        A `TorchFunction` with `dim`, `x0` and ``load(x)``, which puts parameters into the module.

    Raises
    ------
    ImportError
        If PyTorch is missing.
    TypeError, ValueError
        For a module that is none, or has no parameters.

    Examples
    --------
    >>> import torch
    >>> from fastopt import cbo
    >>> from fastopt.torch import from_module
    >>> X = torch.linspace(-1, 1, 20)[:, None]
    >>> net = torch.nn.Linear(1, 1)
    >>> f = from_module(net, lambda net: ((net(X) - 3 * X) ** 2).mean())
    >>> result = cbo(f, [(-5, 5)] * f.dim, rng=1, f_target=1e-8)
    >>> f.load(result.x)
    Linear(in_features=1, out_features=1, bias=True)
    """
    return ModuleFunction(module, loss, chunk_size)


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
    >>> module = to_module(result)
    """
    names = ("W1", "b1", "W2", "b2")
    if any(getattr(result, name, None) is None for name in names):
        raise ValueError(
            "to_module needs a result of admm_relu with a ReLU network (W1, b1, W2, b2); "
            "method='gated' trains another kind."
        )
    torch = _torch()
    W1, b1, W2, b2 = (numbers(name, getattr(result, name)) for name in names)
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
