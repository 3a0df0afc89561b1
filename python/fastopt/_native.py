"""Objectives that run without Python: named problems and pointers to compiled functions."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy import LowLevelCallable

from ._problem import Array

_SIGNATURES = {"double(int,double*)": False, "double(int,double*,void*)": True}
_WANTED = "'double (int, double *)' or 'double (int, double *, void *)'"

_CtypesFunction: type[Any] = ctypes.CFUNCTYPE(ctypes.c_void_p).__bases__[0]
_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_context = ctypes.pythonapi.PyCapsule_GetContext
_capsule_name.restype = ctypes.c_char_p
_capsule_name.argtypes = [ctypes.py_object]
_capsule_pointer.restype = _capsule_context.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_capsule_context.argtypes = [ctypes.py_object]


@runtime_checkable
class NamedProblem(Protocol):
    """A function of `fastopt.problems`, which the core knows by name."""

    def _native_spec(self) -> tuple[str, int, Array | None, Array | None]: ...


@dataclass(frozen=True)
class CFunction:
    """The address of `double f(int n, double *x[, void *user_data])` and what keeps it alive."""

    address: int
    user_data: int
    has_user_data: bool
    owner: Any


def is_native(func: Any) -> bool:
    """Whether `func` is an objective that the core can run without Python."""
    if isinstance(func, (NamedProblem, LowLevelCallable)):
        return True
    return _is_numba_cfunc(func) or _is_pointer(func)


def native_dimension(func: Any) -> int | None:
    """The dimension that a named problem carries."""
    return int(func._native_spec()[1]) if isinstance(func, NamedProblem) else None


def native_objective(module: Any, func: Any, dim: int) -> Any:
    """The core's objective for a native `func`."""
    if not isinstance(func, NamedProblem):
        c = c_function(func)
        return module.cfunc_objective(c.address, c.user_data, c.has_user_data, c.owner)
    name, its_dim, shift, rotation = func._native_spec()
    if its_dim != dim:
        raise ValueError(
            f"func is a problem of dimension {its_dim}, but bounds has {dim} pairs: make the "
            f"problem with dim={dim}, or use its own .bounds."
        )
    return module.native_objective(name, dim, shift, rotation)


def c_function(func: Any) -> CFunction:
    """Address and user data of a compiled function, its signature checked."""
    low = func if isinstance(func, LowLevelCallable) else _low_level(func)
    capsule = tuple.__getitem__(low, 0)  # SciPy's parsed form: pointer, signature, user data
    signature = _capsule_name(capsule)
    plain = (signature or b"").decode().replace("const ", "").replace(" ", "")
    if plain not in _SIGNATURES:
        raise ValueError(
            f"a compiled objective must have the signature {_WANTED}; "
            f"this one has {(signature or b'none').decode()!r}."
        )
    has_user_data = _SIGNATURES[plain]
    user_data = _capsule_context(capsule) or 0
    if user_data and not has_user_data:
        raise ValueError(
            "the LowLevelCallable has user_data, but its function does not take any: give it the "
            "signature 'double (int, double *, void *)'."
        )
    return CFunction(_capsule_pointer(capsule, signature), user_data, has_user_data, (func, low))


def _low_level(func: Any) -> LowLevelCallable:
    pointer = func.ctypes if _is_numba_cfunc(func) else func
    if isinstance(pointer, _CtypesFunction) and pointer.argtypes is None:
        raise ValueError(
            "a ctypes function needs its types: set .restype = ctypes.c_double and .argtypes = "
            "[ctypes.c_int, ctypes.POINTER(ctypes.c_double)]."
        )
    try:
        return LowLevelCallable(pointer)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"a compiled objective must have the signature {_WANTED}; SciPy's LowLevelCallable "
            f"does not understand this one ({error})."
        ) from None


def _is_numba_cfunc(func: Any) -> bool:
    return isinstance(getattr(func, "address", None), int) and hasattr(func, "ctypes")


def _is_pointer(func: Any) -> bool:
    if isinstance(func, _CtypesFunction):
        return True
    return any(kind.__name__ == "_CDataBase" for kind in type(func).__mro__)  # cffi


def check_native_use(args: tuple[Any, ...], vectorized: bool, workers: Any) -> None:
    """Arguments that mean nothing for a native objective are refused, not ignored."""
    if args:
        raise ValueError(
            "args cannot be passed to a compiled function: use the user_data of LowLevelCallable."
        )
    if vectorized:
        raise ValueError("vectorized=True is for Python functions; a native one is batched anyway.")
    if callable(workers) or not np.isscalar(workers) or workers != 1:
        raise ValueError("workers is for Python functions; a native one runs in threads=.")
