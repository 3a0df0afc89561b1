"""Arrays that live on a CUDA device: how they are read, and where results of them go."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from . import _backend

_CUDA = 2  # DLPack's number of the device


def lives_there(value: object) -> bool:
    """Whether `value` is an array on a CUDA device, of any library with DLPack."""
    where = getattr(type(value), "__dlpack_device__", None)
    if where is None or isinstance(value, np.ndarray):
        return False
    try:
        return int(where(value)[0]) == _CUDA
    except (BufferError, RuntimeError, TypeError, ValueError):  # on a device that DLPack lacks
        return False


def on_host(name: str, value: Any) -> Any:
    """A NumPy array of the numbers, where `value` lives on a CUDA device; else `value` itself."""
    if not lives_there(value):
        return value
    try:
        return _module(name, value).to_host(value, name)
    except BufferError as error:  # by which a library says that it does not export this array
        raise ValueError(f"{name} cannot be read from its device: {error}") from None


def _module(name: str, value: Any) -> ModuleType:
    """The CUDA module, which reads `value`; an error that names it where there is none."""
    try:
        return _backend.module("cuda", "cbo")
    except (RuntimeError, ValueError) as error:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise type(error)(
            f"{name} is an array on a CUDA device (a {kind}), which cannot be read here: {error}. "
            "Or pass a copy on the host, such as x.cpu() of PyTorch or cupy.asnumpy(x)."
        ) from None


class Library:
    """A library of arrays on the device, and the way there and back in a queue of its own."""

    def __init__(self, module: ModuleType, library: Any) -> None:
        self.take = library.from_dlpack
        self._module, self._queue = module, module.Queue()

    def lend(self, array: NDArray[Any]) -> Any:
        """A copy of `array` on the device, for anybody's from_dlpack."""
        return self._module.DeviceArray(self._queue, array)

    def array(self, array: NDArray[Any]) -> Any:
        """A copy of `array`, float64 or float32, as an array of the library."""
        return self.take(self.lend(array))


def home(**inputs: Any) -> Library | None:
    """The library of the first input that lives on a CUDA device; None where none does."""
    for name, value in inputs.items():
        if lives_there(value):
            return Library(_module(name, value), _library(name, value))
    return None


def _library(name: str, value: Any) -> Any:
    namespace = getattr(value, "__array_namespace__", None)
    found = [] if namespace is None else [namespace()]
    found += [sys.modules.get(one.__module__.partition(".")[0]) for one in type(value).__mro__]
    for library in found:
        if hasattr(library, "from_dlpack"):
            return library
    raise ValueError(
        f"{name} lives on a CUDA device, but its library, {type(value).__module__}, has no "
        "from_dlpack by which results could be returned: pass an array of PyTorch, CuPy or JAX."
    )


def device_of(device: str | None, where: Library | None) -> str | None:
    """The `device` of a call: inputs that live on one choose it."""
    return "cuda" if device is None and where is not None else device


def placed(result: Any, where: Library | None) -> Any:
    """`result` with its arrays of real numbers where the inputs lived."""
    if where is None:
        return result
    if isinstance(result, OptimizeResult):
        for name, value in result.items():
            result[name] = placed(value, where)
    elif isinstance(result, list):
        return [placed(one, where) for one in result]
    elif isinstance(result, np.ndarray) and result.ndim and result.dtype.kind == "f":
        return where.array(result)
    return result
