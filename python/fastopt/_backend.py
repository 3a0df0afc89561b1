"""The only door to the compiled engine: picks the extension module and says what it is."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any

from . import _cpu

__all__ = ["device_memory", "info", "module"]

_ON_CUDA = {"admm_relu", "cbo", "sketch", "sketch_newton"}  # functions that fastopt._cuda holds
_INSTALL = (
    "build fastopt with it: `FASTOPT_CUDA=1 pip install '.[cuda]'` in the source tree, "
    "with nvcc on the path"
)


def module(device: str | None = None, solver: str = "") -> ModuleType:
    """Return the extension module that computes on ``device``.

    Parameters
    ----------
    device : {None, 'cpu', 'cuda'}
        ``None`` takes the CPU.
    solver : str
        The public function that asks.

    Raises
    ------
    ValueError
        For any other device, and for 'cuda' where fastopt was built without CUDA or the solver
        runs on the CPU only.
    RuntimeError
        For 'cuda' where a library or the device is missing.
    """
    if device is None or (isinstance(device, str) and device == "cpu"):
        return _cpu
    if solver not in _ON_CUDA:
        raise ValueError(
            f"device must be None or 'cpu', got {device!r}: {solver or 'this'} runs on the CPU only"
        )
    if not isinstance(device, str) or device != "cuda":
        raise ValueError(f"device must be None, 'cpu' or 'cuda', got {device!r}")
    cuda = _cuda_info()
    if not cuda["available"]:
        error = ValueError if importlib.util.find_spec("fastopt._cuda") is None else RuntimeError
        raise error(f"device='cuda' is not available: {cuda['reason']}")
    return importlib.import_module("fastopt._cuda")


def device_memory(module: ModuleType) -> int | None:
    """Bytes that are free where a module's arrays lie; None for one that computes on the CPU."""
    return None if module is _cpu else int(module.cuda_free_memory())


def info() -> dict[str, Any]:
    """Describe the engine: version, instruction set, BLAS, threads, CUDA."""
    return {**_cpu.info(), "cuda": _cuda_info()}


def _cuda_info() -> dict[str, Any]:
    """Whether CUDA can be used, and why not."""
    try:
        extension = importlib.import_module("fastopt._cuda")
    except ModuleNotFoundError:
        return {"available": False, "reason": f"this build has no CUDA backend; {_INSTALL}"}
    except ImportError as error:  # a library that it needs
        reason = f"{error}; install cuBLAS and cuSOLVER with `pip install 'fastopt[cuda]'`"
        return {"available": False, "reason": reason}
    facts: dict[str, Any] = extension.cuda_info()
    return facts
