"""A little library of arrays on the emulated device, which is not fastopt's.

Its work runs in a stream of its own, when something waits for it; with `eager` at once. What it
lends and takes by DLPack is counted. `fault` plants the two that a library can make: 'lends', it
does not make those wait who take an array; 'takes', it tells those who lend one not to.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

eager = False
fault = os.environ.get("FOREIGN_FAULT", "")
lent = returned = taken = given_back = 0

_emulator = ctypes.CDLL(os.environ["FASTOPT_CUDA_MODULE"])
_pointer, _long, _size = ctypes.c_void_p, ctypes.c_long, ctypes.c_size_t
_Strides = _long * 2


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_emulator, f"foreign_{name}")
    function.restype, function.argtypes = result, arguments
    return function


_make_stream = _function("stream", _pointer)
_drop_stream = _function("drop_stream", None, _pointer)
_wait = _function("wait", ctypes.c_int, _pointer, _pointer)
_synchronise = _function("synchronise", ctypes.c_int, _pointer)
_allocate = _function("allocate", _pointer, _pointer, _size)
_free = _function("free", None, _pointer, _pointer)
_send = _function("send", None, _pointer, _pointer, _pointer, _size)
_fetch = _function("fetch", None, _pointer, _pointer, _pointer, _size)
_binary = _function(
    "binary", None, _pointer, ctypes.c_char, ctypes.c_int, _long, _long,
    _pointer, _Strides, _pointer, _Strides, _pointer,
)  # fmt: skip


class ForeignError(RuntimeError):
    """A call of the device failed."""


class Stream:
    def __init__(self) -> None:
        self.handle = _make_stream()
        if not self.handle:
            raise ForeignError("no stream")

    def __del__(self, drop: Any = _drop_stream) -> None:
        if getattr(self, "handle", None):
            drop(self.handle)


stream: Stream | None = None  # in which everything is done; `start` makes it


def start() -> None:
    global stream, eager
    stream, eager = Stream(), False


def stop() -> None:
    global stream
    stream = None


def _here() -> Any:
    assert stream is not None, "foreign_arrays.start() was not called"
    return stream.handle


def _done() -> None:
    if eager and not _synchronise(_here()):
        raise ForeignError("waiting failed")


class _Memory:
    def __init__(self, size: int) -> None:
        self.stream = stream
        self.address = _allocate(_here(), size) if size else None
        if size and not self.address:
            raise ForeignError("no memory")

    def __del__(self, free: Any = _free, synchronise: Any = _synchronise) -> None:
        if getattr(self, "address", None):
            free(self.stream.handle, self.address)
            if eager:
                synchronise(self.stream.handle)


# ---- DLPack ------------------------------------------------------------------------------------


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("ordinal", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Managed._fields_ = [
    ("tensor", _Tensor),
    ("context", ctypes.c_void_p),
    ("deleter", _Deleter),
]
_FRESH, _USED = b"dltensor", b"used_dltensor"
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Destructor]
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_SetName", ctypes.pythonapi)
)

_held: dict[int, Any] = {}  # what is lent, by the address of its tensor


@_Deleter
def _take_back(address: int) -> None:
    global returned
    returned += 1
    del _held[address]


@_Destructor
def _drop_capsule(capsule: int) -> None:
    if _is_valid(capsule, _FRESH):
        _take_back(_get(capsule, _FRESH))


class _Taken:
    """A tensor of another library, until nobody needs it."""

    def __init__(self, address: int) -> None:
        global taken
        taken += 1
        self.managed = _Managed.from_address(address)
        self.address: int | None = address

    def __del__(self) -> None:
        global given_back
        given_back += 1
        self.managed.deleter(self.address)


# ---- arrays ------------------------------------------------------------------------------------


class Array:
    """At most two dimensions, float64 or float32."""

    def __init__(self, owner: Any, address: Any, shape: Any, strides: Any, dtype: Any) -> None:
        self._owner, self._address = owner, address
        self.shape, self.strides, self.dtype = tuple(shape), tuple(strides), np.dtype(dtype)
        self.dl_type = (2, 8 * self.dtype.itemsize, 1)
        self.dl_device = (2, 0)
        self.dl_name = _FRESH

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use to_numpy().")

    def to_numpy(self) -> Any:
        whole = self * 1.0  # by rows
        out = np.empty(self.shape, self.dtype)
        if out.size:
            _fetch(_here(), out.ctypes.data, whole._address, out.nbytes)
        return out

    @property
    def T(self) -> Array:
        return Array(self._owner, self._address, self.shape[::-1], self.strides[::-1], self.dtype)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, k: Any) -> Array:
        if isinstance(k, slice):
            first, last, step = k.indices(len(self))
            count = len(range(first, last, step))
            shape, strides = (count, *self.shape[1:]), (step * self.strides[0], *self.strides[1:])
        else:
            if not 0 <= k < len(self):
                raise IndexError(k)
            first, shape, strides = k, self.shape[1:], self.strides[1:]
        address = self._address + first * self.strides[0] * self.dtype.itemsize
        return Array(self._owner, address, shape, strides, self.dtype)

    def _two(self, like: tuple[int, ...]) -> Any:
        if not self.shape:
            return _Strides(0, 0)
        assert self.shape == like
        return _Strides(*(self.strides if len(like) == 2 else (0, *self.strides)))

    def _with(self, op: bytes, other: Any) -> Array:
        b = other if isinstance(other, Array) else array(np.array(other, self.dtype))
        shape = self.shape or b.shape
        assert b.dtype == self.dtype
        rows, cols = (1, 1, *shape)[-2:] if shape else (1, 1)
        size = int(np.prod(shape, dtype=int))
        out = _by_rows(_Memory(size * self.dtype.itemsize), shape, self.dtype)
        if size:
            _binary(
                _here(), op, self.dtype == np.float64, rows, cols,
                self._address, self._two(shape), b._address, b._two(shape), out._address,
            )  # fmt: skip
        _done()
        return out

    def __add__(self, other: Any) -> Array:
        return self._with(b"+", other)

    def __sub__(self, other: Any) -> Array:
        return self._with(b"-", other)

    def __mul__(self, other: Any) -> Array:
        return self._with(b"*", other)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.dl_device

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None, **_: Any) -> Any:
        global lent
        if stream != -1 and fault != "lends" and not _wait(stream or 1, _here()):
            raise ForeignError("waiting failed")
        managed = _Managed()
        shape = (ctypes.c_int64 * len(self.shape))(*self.shape)
        strides = (ctypes.c_int64 * len(self.shape))(*self.strides)
        managed.tensor = _Tensor(
            self._address, _Device(*self.dl_device), len(self.shape), _Type(*self.dl_type),
            shape, strides, 0,
        )  # fmt: skip
        managed.deleter = _take_back
        address = ctypes.addressof(managed)
        _held[address] = (managed, shape, strides, self._owner)
        lent += 1
        return _new_capsule(address, self.dl_name, _drop_capsule)


def _by_rows(memory: _Memory, shape: Any, dtype: Any) -> Array:
    strides = [int(np.prod(shape[k + 1 :], dtype=int)) for k in range(len(shape))]
    return Array(memory, memory.address, shape, strides, dtype)


def array(numbers: Any) -> Array:
    """A copy of NumPy's array there; what is not float32 becomes float64."""
    rows = np.asarray(numbers)
    rows = np.ascontiguousarray(rows, np.float32 if rows.dtype == np.float32 else np.float64)
    out = _by_rows(_Memory(rows.nbytes), np.shape(numbers), rows.dtype)
    if rows.nbytes:
        _send(_here(), out._address, rows.ctypes.data, rows.nbytes)
    _done()
    return out


def from_dlpack(x: Any) -> Array:
    assert tuple(x.__dlpack_device__()) == (2, 0)
    capsule = x.__dlpack__(stream=-1 if fault == "takes" else _here())
    address = _get(id(capsule), _FRESH)
    _rename(capsule, _USED)
    owner = _Taken(address)
    t = owner.managed.tensor
    assert (t.type.code, t.type.lanes, t.byte_offset) == (2, 1, 0)
    shape, strides = ([one[k] for k in range(t.ndim)] for one in (t.shape, t.strides))
    return Array(owner, t.data, shape, strides, np.float64 if t.type.bits == 64 else np.float32)
