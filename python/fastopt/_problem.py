"""From what the user wrote to plain numbers: the box, the starting points, the random key."""

from __future__ import annotations

import hashlib
import os
import struct
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds

from ._arguments import choice, numbers, short

Array: TypeAlias = NDArray[np.float64]
Key: TypeAlias = tuple[int, int]
BoundsLike: TypeAlias = "Bounds | Sequence[tuple[float | None, float | None]] | ArrayLike"
RandomSource: TypeAlias = (
    "int | np.integer[Any] | np.random.Generator | np.random.RandomState"
    " | np.random.BitGenerator | np.random.SeedSequence | None"
)

_BOUNDS_FORM = (
    "bounds must be a sequence of (min, max) pairs, one for each variable, or a "
    "scipy.optimize.Bounds"
)


@dataclass(frozen=True)
class Box:
    """The search space: lower <= x <= upper, with some coordinates whole numbers.

    `lower == upper` fixes a coordinate. Bounds of an integer coordinate are whole numbers.
    """

    lower: Array
    upper: Array
    integrality: NDArray[np.bool_] | None = None

    @property
    def dim(self) -> int:
        return self.lower.size

    @property
    def free(self) -> NDArray[np.bool_]:
        """The coordinates that can move."""
        return self.lower < self.upper

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.lower).all() and np.isfinite(self.upper).all())

    def with_integers_fixed(self, x: Array) -> Box:
        """The box in which a local search may move: integer coordinates stay where x has them."""
        if self.integrality is None:
            return self
        lower, upper = self.lower.copy(), self.upper.copy()
        lower[self.integrality] = upper[self.integrality] = x[self.integrality]
        return Box(lower, upper)


# ---- bounds ----------------------------------------------------------------------------------


def read_box(bounds: BoundsLike | None, integrality: ArrayLike | None, dim: int | None) -> Box:
    """The box from any form of `bounds` that SciPy knows.

    `dim` is the dimension when something else already tells it (x0, an init array, a native
    problem); then scalar bounds are broadcast to it.
    """
    lower, upper, is_pair = _limits(bounds)
    if is_pair and dim is None:
        raise ValueError(
            "bounds gives one pair for all variables, but nothing tells how many variables "
            "there are: write [(min, max)] * n_dim, or pass x0."
        )
    if dim is not None and (is_pair or (isinstance(bounds, Bounds) and lower.size == 1)):
        lower, upper = np.full(dim, lower[0]), np.full(dim, upper[0])
    if dim is not None and lower.size != dim:
        raise ValueError(
            "The number of bounds is not compatible with the length of `x0`."
            f" There are {lower.size} bounds for {dim} variables."
        )
    _check_limits(lower, upper)
    return _round_integers(lower, upper, integrality)


def _limits(bounds: BoundsLike | None) -> tuple[Array, Array, bool]:
    """(lower, upper, whether this is one pair of scalars)."""
    if isinstance(bounds, np.ndarray) and bounds.dtype.kind != "O":  # with None for no bound
        bounds = numbers("bounds", bounds)
    try:
        if isinstance(bounds, Bounds):
            lower, upper = np.broadcast_arrays(
                numbers("lb of bounds", bounds.lb), numbers("ub of bounds", bounds.ub)
            )
            return lower.reshape(-1).copy(), upper.reshape(-1).copy(), False
        pairs = [None, None] if bounds is None else list(bounds)  # type: ignore[arg-type]
        is_pair = len(pairs) == 2 and all(one is None or np.ndim(one) == 0 for one in pairs)
        table = [_pair(pair) for pair in ([pairs] if is_pair else pairs)]
    except (TypeError, ValueError, NotImplementedError) as error:  # the last: a memoryview
        raise ValueError(f"{_BOUNDS_FORM}; got {short(bounds)} ({error}).") from None
    if not table:
        raise ValueError(f"{_BOUNDS_FORM}; got an empty sequence.")
    both = np.array(table, dtype=np.float64)
    return both[:, 0].copy(), both[:, 1].copy(), is_pair


def _pair(pair: Any) -> tuple[float, float]:
    if isinstance(pair, str):
        raise TypeError("a string is not a pair")
    low, high = pair
    return (-np.inf if low is None else float(low), np.inf if high is None else float(high))


def _check_limits(lower: Array, upper: Array) -> None:
    for name, limit, never in (("lower", lower, np.inf), ("upper", upper, -np.inf)):
        bad = np.flatnonzero(np.isnan(limit) | (limit == never))
        if bad.size:
            raise ValueError(
                f"{_BOUNDS_FORM}; the {name} bound of variable {bad[0]} is {limit[bad[0]]}."
            )
    bad = np.flatnonzero(lower > upper)
    if bad.size:
        k = bad[0]
        raise ValueError(
            "An upper bound is less than the corresponding lower bound."
            f" Variable {k} has bounds ({lower[k]}, {upper[k]})."
        )
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(np.isfinite(lower) & np.isfinite(upper) & np.isinf(upper - lower))
    if bad.size:
        raise ValueError(
            f"the bounds of variable {bad[0]} are so far apart that their difference overflows:"
            " scale the variable."
        )


def _round_integers(lower: Array, upper: Array, integrality: ArrayLike | None) -> Box:
    if integrality is None:
        return Box(lower, upper)
    given = np.asarray(integrality)
    if given.dtype.kind not in "biuf" or not np.isin(given, (0, 1)).all():
        raise ValueError(
            f"integrality must be a bool or {lower.size} bools, one for each variable; "
            f"got {short(integrality)}."
        )
    try:
        mask = np.broadcast_to(given.astype(bool), lower.shape).copy()
    except ValueError:
        raise ValueError(
            f"integrality must be a bool or {lower.size} bools, one for each variable; "
            f"got shape {given.shape}."
        ) from None
    if not mask.any():
        return Box(lower, upper)
    lower[mask], upper[mask] = np.ceil(lower[mask]), np.floor(upper[mask])
    bad = np.flatnonzero(lower > upper)
    if bad.size:
        raise ValueError(
            "One of the integrality constraints does not have any possible integer values "
            f"between the lower/upper bounds: variable {bad[0]}."
        )
    return Box(lower, upper, mask)


# ---- starting points -------------------------------------------------------------------------

INITS = ("latinhypercube", "sobol", "halton", "random")


@dataclass(frozen=True)
class Space:
    """Where to search and where to start."""

    box: Box
    x0: Array | None
    init: str | Array


def read_space(
    bounds: BoundsLike | None,
    integrality: ArrayLike | None,
    x0: ArrayLike | None,
    init: str | ArrayLike,
    dim: int | None,
    hybrid: bool,
) -> Space:
    """Bounds, x0 and init, consistent with each other; `dim` is a native problem's dimension."""
    if dim is None and x0 is not None:
        dim = np.asarray(x0).size
    if dim is None and not isinstance(init, str) and np.ndim(init) == 2:
        dim = np.shape(init)[1]
    box = read_box(bounds, integrality, dim)
    start = None if x0 is None else read_x0(x0, box)
    design = choice("init", init, INITS) if isinstance(init, str) else read_population(init, box)
    if hybrid and not isinstance(design, str):
        raise ValueError(
            "dynamics='hybrid' draws its own points and has no use for an init array: pass its "
            "best point as x0=, or choose another dynamics."
        )
    if hybrid and design != INITS[0]:
        warnings.warn(
            f"cbo: dynamics='hybrid' draws its own points; init={design!r} is not used. Leave it "
            "out, or choose another dynamics.",
            RuntimeWarning,
            stacklevel=4,
        )
    _check_infinite(box, start, design, hybrid)
    return Space(box, start, design)


def _check_infinite(box: Box, x0: Array | None, init: str | Array, hybrid: bool) -> None:
    if box.is_finite:
        return
    k = int(np.flatnonzero(~(np.isfinite(box.lower) & np.isfinite(box.upper)))[0])
    if hybrid:
        raise ValueError(
            f"dynamics='hybrid' searches a finite box, but variable {k} has the bounds "
            f"({box.lower[k]}, {box.upper[k]}): give finite bounds, or use "
            "dynamics='anisotropic' with x0= or an init array."
        )
    if x0 is None and isinstance(init, str):
        raise ValueError(
            f"variable {k} has the bounds ({box.lower[k]}, {box.upper[k]}), so the particles need "
            "a place to start: pass x0= or an init array of shape (n_particles, n_dim)."
        )


def read_x0(x0: ArrayLike, box: Box) -> Array:
    """x0 as float64 (d,), inside the box."""
    point = np.atleast_1d(numbers("x0", x0)).copy()
    if point.shape != (box.dim,):
        raise ValueError(f"x0 must be one point of {box.dim} coordinates; got shape {point.shape}.")
    outside = np.flatnonzero(~((point >= box.lower) & (point <= box.upper) & np.isfinite(point)))
    if outside.size:
        k = outside[0]
        raise ValueError(
            "Some entries in x0 lay outside the specified bounds: "
            f"x0[{k}] = {point[k]} is not in [{box.lower[k]}, {box.upper[k]}]."
        )
    return point


def read_start(x0: ArrayLike) -> Array:
    """x0 of a local method, which has no box: finite float64 (n,), a copy."""
    start = np.atleast_1d(numbers("x0", x0)).copy()
    if start.ndim != 1 or start.size == 0:
        raise ValueError(
            f"'x0' must only have one dimension, and an entry; its shape is {start.shape}."
        )
    if not np.all(np.isfinite(start)):
        raise ValueError("x0 must be finite.")
    return start


def read_population(init: ArrayLike, box: Box) -> Array:
    """A starting population (n, d) given as an array; clipped to the box as SciPy does."""
    points = numbers("init", init).copy()
    if points.ndim != 2 or points.shape[1] != box.dim or not points.shape[0]:
        raise ValueError(
            f"init must be a name or an array of shape (n_particles, {box.dim}); "
            f"got shape {points.shape}."
        )
    if not np.isfinite(points).all():
        raise ValueError("init must hold finite numbers; it holds NaN or inf.")
    return np.clip(points, box.lower, box.upper)


def low_discrepancy(name: str, n: int, box: Box, key: Key) -> Array:
    """n points of a scrambled Sobol' or Halton sequence in a finite box."""
    from scipy.stats import qmc

    source = np.random.default_rng(key)
    if name == "halton":
        unit = qmc.Halton(box.dim, rng=source).random(n)
    else:  # whole powers of two keep the balance of the sequence; the first n of them are used
        unit = qmc.Sobol(box.dim, rng=source).random_base2(max(0, (n - 1).bit_length()))[:n]
    return np.asarray(box.lower + unit * (box.upper - box.lower), dtype=np.float64)


def cloud_around(x0: Array, n: int, box: Box, key: Key) -> Array:
    """n points for an unbounded box: uniform where bounded, x0 + max(1, |x0|) N(0, 1) elsewhere."""
    source = np.random.default_rng(key)
    unit, normal = source.random((n, box.dim)), source.standard_normal((n, box.dim))
    finite = np.isfinite(box.lower) & np.isfinite(box.upper)
    with np.errstate(invalid="ignore"):
        inside = box.lower + unit * (box.upper - box.lower)
    around = x0 + np.maximum(1.0, np.abs(x0)) * normal
    return np.clip(np.where(finite, inside, around), box.lower, box.upper)


def resampled(points: Array, n: int, key: Key) -> Array:
    """n >= len(points) starting points: the given ones, then some of them again."""
    source = np.random.default_rng(key)
    again = points[source.integers(len(points), size=n - len(points))]
    return np.concatenate([points, again])


_RESULT = 2000  # bytes of a result without its arrays


def check_memory(n: int, dim: int, itemsize: int, runs: int) -> None:
    """MemoryError now instead of a killed process later: two copies of the particles must fit, and
    what the results of all runs hold."""
    wanted = (1 + runs) * n * dim * itemsize + (runs - 1) * _RESULT
    try:
        present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        present = 2**62
    if wanted > present:
        in_runs = f" in {runs} runs" if runs > 1 else ""
        raise MemoryError(
            f"{n} particles of {dim} coordinates{in_runs} need {wanted / 2**30:.1f} GiB, more than "
            f"the {present / 2**30:.1f} GiB of this computer: lower n_particles (or popsize)"
            f"{' or runs' if runs > 1 else ''}."
        )


# ---- randomness ------------------------------------------------------------------------------


def draw_key(rng: RandomSource, seed: RandomSource) -> Key:
    """The Philox key, drawn from the user's generator (SPEC 7), which thereby advances."""
    if seed is not None and rng is not None:
        raise TypeError(
            "cbo() got multiple values for argument now known as `rng`: `seed` is its older name."
        )
    source = seed if rng is None else rng
    if isinstance(source, np.random.RandomState):
        words: Iterable[int] = source.randint(0, 2**32, size=2, dtype=np.uint32)
    else:
        try:
            # NumPy recurses for ever into a np.matrix, whose rows are matrices.
            if isinstance(source, (np.ndarray, list, tuple)):
                source = np.asarray(source)
            generator = np.random.default_rng(source)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "rng must be a non-negative int, a numpy.random.Generator, a RandomState or None;"
                f" got {short(source)} ({error})."
            ) from None
        words = generator.integers(0, 2**32, size=2, dtype=np.uint32)
    first, second = (int(word) for word in words)
    return first, second


def derived_key(key: Key, purpose: str, index: int) -> Key:
    """The key of run or restart `index`.

    Index 0 keeps the key, so that the first of many equals the only one; index m > 0 takes the
    first eight bytes (little-endian) of BLAKE2b over "key0 key1 purpose m".
    """
    if index == 0:
        return key
    text = f"{key[0]} {key[1]} {purpose} {index}".encode()
    first, second = struct.unpack("<II", hashlib.blake2b(text, digest_size=8).digest())
    return first, second
