"""Values that nobody would pass, chosen by the bytes of a fuzzer's input."""

from __future__ import annotations

import array
import contextlib
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

SPECIAL = (
    0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 1e-3, 1e3, np.nan, np.inf, -np.inf, 5e-324, 2.3e-308,
    1e-300, 1e-160, 1e-16, 1e16, 1e139, 1e155, 1e300, 1.7e308, -1.7e308, 1 + 2**-52,
)  # fmt: skip
INTEGERS = (
    0, 1, 2, 3, 5, 7, 10, 17, -1, -2, 64, 255, 2**31 - 1, 2**31, 2**32, 10**9, 2**53, 2**62,
    2**62 + 1, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63), -(2**63) - 1,
)  # fmt: skip
WORDS = (
    "", "x", "nan", "inf", "auto", "cbo", "hybrid", "anisotropic", "memory", "hopping", "sampling",
    "polarized", "covariance", "ess", "full", "clip", "sobol", "halton", "random", "float32", "f8",
    "cuda", "cpu", "generate", "conic", "admm", "gated", "scp", "logistic", "softmax", "hinge",
    "squared_hinge", "huber", "quantile", "ldl", "sketch-pcg", "nystrom-pcg", "minres", "kaczmarz",
    "block", "adasketch", "filter", "sjlt", "srht", "gaussian", "uniform", "leverage", "less",
    "countsketch", "2-point", "3-point", "cs", "poisson", "gamma", "sum", "\0", "\ud800", "é" * 70,
)  # fmt: skip
DTYPES = (
    "<f8", ">f8", "<f4", ">f4", "<f2", "g", "O", "<i8", ">i4", "u1", "i1", "?", "<c16", "S4", "U4",
    "M8[s]", "m8[s]", "V8",
)  # fmt: skip


class Bytes:
    """Choices read from a string of bytes; all are the first one when it is used up."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, n: int) -> bytes:
        piece = self._data[self._at : self._at + n]
        self._at += n
        return piece.ljust(n, b"\0")

    def below(self, n: int) -> int:
        return int.from_bytes(self.take(1 if n <= 256 else 4), "little") % n

    def chance(self, one_in: int) -> bool:
        return self.below(one_in) == one_in - 1

    def pick(self, values: Sequence[Any]) -> Any:
        return values[self.below(len(values))]

    def real(self) -> float:
        kind = self.below(4)
        if kind == 0:
            return (self.below(256) - 128) / 16
        if kind == 1:
            return float(self.pick(SPECIAL))
        if kind == 2:
            return float(np.ldexp((self.below(256) - 128) / 128, self.below(2048) - 1024))
        return float(struct.unpack("<d", self.take(8))[0])

    def tame(self, shape: Any) -> np.ndarray:
        """Numbers without extremes: small dyadic ones, exact in float32."""
        size = int(np.prod(shape))
        return (np.frombuffer(self.take(size), np.int8) / 16).reshape(shape)


class Odd:
    """What claims to be an array, a number or a sequence, and fails at it in one of many ways."""

    def __init__(self, how: int) -> None:
        # A shape larger than its memory is not among them: NumPy itself believes it, and reads on.
        interface = {"typestr": "<f8", "version": 3, "data": bytes(24)}
        if how == 0:
            self.__array_interface__ = {**interface, "shape": (3,)}
        elif how == 1:
            self.__array_interface__ = {**interface, "shape": (-1,)}
        self._how = how

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        if self._how == 2:
            raise TypeError("no array")
        return "no array" if self._how == 3 else np.ones((2, 2))

    def __float__(self) -> float:
        return float("nan") if self._how == 4 else 1.0

    def __index__(self) -> int:
        return 2**70 if self._how == 5 else 3

    def __len__(self) -> int:
        return 2**40 if self._how == 6 else 2

    def __getitem__(self, k: Any) -> Any:
        if k in (0, 1):
            return 1.0
        raise IndexError(k)

    def __repr__(self) -> str:
        return "<Odd>\n" * 9


def weird(source: Bytes, depth: int = 2) -> Any:
    """Any value at all."""
    kind = source.below(16 if depth else 7)
    if kind == 0:
        return None
    if kind == 1:
        return source.pick((True, False, np.True_))
    if kind == 2:
        return source.pick(INTEGERS)
    if kind == 3:
        return source.real()
    if kind == 4:
        return source.pick(WORDS)
    if kind == 5:
        return source.pick((b"bytes", 1j, Ellipsis, int, np.float64, object(), {}, (), [], set()))
    if kind == 6:
        value = source.pick(SPECIAL)
        with np.errstate(all="ignore"):
            return source.pick((np.float32, np.float64, np.longdouble))(value)
    if kind == 7:
        return [weird(source, depth - 1) for _ in range(source.below(4))]
    if kind == 8:
        return tuple(weird(source, depth - 1) for _ in range(source.below(4)))
    if kind == 9:
        return {source.pick(WORDS): weird(source, depth - 1)}
    if kind == 10:
        return Odd(source.below(8))
    if kind == 11:
        return lambda *args, **kwargs: weird(Bytes(b"\3\1"))
    if kind == 12:
        return (one for one in (1.0, 2.0))
    if kind == 13:
        return np.random.default_rng(source.below(9))
    shape = tuple(source.below(5) for _ in range(source.below(4)))
    return imported(source, np.array([source.real() for _ in range(int(np.prod(shape)))])
                    .reshape(shape))  # fmt: skip


def imported(source: Bytes, values: np.ndarray) -> Any:
    """`values` in one of the many forms in which arrays come."""
    with np.errstate(all="ignore"), contextlib.suppress(TypeError, ValueError, OverflowError):
        values = values.astype(source.pick(DTYPES) if source.chance(3) else "<f8")
    form = source.below(16)
    if form == 1:
        return np.asfortranarray(values)
    if form == 2 and values.ndim:
        return values[::-1].copy()[::-1]
    if form == 3 and values.ndim:
        return np.repeat(values, 3, axis=0)[::3]
    if form == 4:
        values.flags.writeable = False
    if form == 5:
        return values.tolist()
    if form == 6:
        masked = np.ma.masked_array(values, mask=False)
        if values.size and source.chance(2):
            masked[(0,) * values.ndim] = np.ma.masked
        return masked
    if form == 7 and values.ndim == 2:
        return np.asmatrix(values)
    if form == 8 and values.ndim == 1:
        return memoryview(np.ascontiguousarray(values)) if values.dtype.kind == "f" else values
    if form == 9 and values.ndim == 1 and values.dtype == np.float64:
        return array.array("d", values.tolist())
    if form == 10 and values.size:
        return np.broadcast_to(values.flat[0], values.shape)  # strides of zero
    if form == 11 and values.dtype.itemsize > 1:  # an address that is no multiple of 8
        memory = np.zeros(values.nbytes + 1, np.uint8)[1:]
        shifted = memory.view(values.dtype) if values.dtype.kind != "O" else values.ravel()
        shifted[:] = values.ravel()
        return shifted.reshape(values.shape)
    if form == 12 and values.ndim == 2 and values.dtype.kind in "fiu":
        return sparse(source, values)
    if form == 13:
        record = np.zeros(values.shape, [("a", values.dtype), ("b", "u1")])
        record["a"] = values
        return record if source.chance(4) else record["a"]
    if form == 14 and values.ndim == 2:
        return np.lib.stride_tricks.as_strided(values, values.shape, (8, 8)) \
            if values.dtype.itemsize == 8 and values.dtype.kind == "f" and min(values.shape) \
            else values.T  # fmt: skip
    return values


def sparse(source: Bytes, values: np.ndarray) -> Any:
    """A sparse matrix, at times with indices, pointers or data that lie."""
    try:
        matrix = scipy.sparse.csr_matrix(values).asformat(source.pick(("csr", "csc", "coo", "bsr")))
    except (TypeError, ValueError):  # a type that SciPy does not store
        return values
    damage = source.below(8)
    names = ("row", "col") if matrix.format == "coo" else ("indices", "indptr")
    if damage in (1, 2):
        index = getattr(matrix, names[damage - 1])
        if index.size:
            index[source.below(index.size)] = source.pick((-1, 1, 5, 10**6, 2**31 - 1, -(2**31)))
    elif damage == 3:
        matrix.data = matrix.data[: source.below(3)]
    elif damage == 4 and matrix.format != "coo":
        matrix.indptr = matrix.indptr[:-1]
    elif damage == 5 and matrix.data.size:
        matrix.data.flat[0] = source.pick(SPECIAL) if matrix.data.dtype.kind == "f" else 3
    return matrix
