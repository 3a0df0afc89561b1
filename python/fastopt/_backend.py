"""The only door to the compiled engine: picks the extension module and says what it is."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from . import _cpu

__all__ = ["info", "module"]


def module(device: str | None = None) -> ModuleType:
    """Return the extension module that computes on ``device``.

    Parameters
    ----------
    device : {None, 'cpu'}
        ``None`` takes the CPU.

    Raises
    ------
    ValueError
        For any other device.
    """
    if device in (None, "cpu"):
        return _cpu
    raise ValueError(
        f"device must be None or 'cpu', got {device!r}: this build of fastopt computes on the CPU"
    )


def info() -> dict[str, Any]:
    """Describe the engine: version, instruction set, BLAS, threads, CUDA."""
    facts: dict[str, Any] = dict(_cpu.info())
    facts["cuda"] = {"available": False, "reason": "this build has no CUDA backend"}
    return facts
