"""Checks of plain arguments, each with a message that names the argument and says what to do."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import operator
import os
from collections.abc import Callable, Collection
from numbers import Real
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._device import on_host
from .distributed import ranks

P = ParamSpec("P")
R = TypeVar("R")

_LARGEST_INTEGER = 2**62  # the core counts in 64 bits
_LARGEST_SQUARABLE = 1e140  # sums of squares of some 10^20 such numbers are finite

# Names that other optimisers use for what is here called something else.
_FOREIGN_NAMES = {
    "maxfun": "maxfev",
    "max_nfev": "maxfev",
    "max_iter": "maxiter",
    "n_iter": "maxiter",
    "n_jobs": "workers",
    "random_state": "rng",
    "sigma": "diffusion",
    "lam": "drift",
    "N": "n_particles",
    "M": "runs",
    "no_local_search": "polish",
}


def integer(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """`value` as an int, at least `minimum` (a float is not an integer; a NumPy integer is)."""
    wanted = f"an integer >= {minimum}" + ("" if maximum is None else f" and <= {maximum}")
    if isinstance(value, bool):
        raise ValueError(f"{name} must be {wanted}, got {short(value)}.")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name} must be {wanted}, got {short(value)}.") from None
    if number < minimum or (maximum is not None and number > maximum):
        raise ValueError(f"{name} must be {wanted}, got {number}.")
    if number > _LARGEST_INTEGER:
        raise ValueError(f"{name} must be {wanted} and at most 2^62, got {number}.")
    return number


def real(
    name: str,
    value: object,
    minimum: float = -math.inf,
    *,
    above: float = -math.inf,
    maximum: float = math.inf,
) -> float:
    """`value` as a float in [minimum, maximum], strictly greater than `above`; never NaN."""
    wanted = "a number"
    if above > -math.inf:
        wanted += f" > {above:g}"
    elif minimum > -math.inf:
        wanted += f" >= {minimum:g}"
    if maximum < math.inf:
        wanted += f" and <= {maximum:g}"
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be {wanted}, got {short(value)}.") from None
    at_least = number > above or above == -math.inf
    if math.isnan(number) or not at_least or not minimum <= number <= maximum:
        raise ValueError(f"{name} must be {wanted}, got {number!r}.")
    return number


def choice(name: str, value: object, allowed: Collection[str]) -> str:
    """`value` when it is one of the `allowed` names, else a ValueError with the nearest one."""
    if isinstance(value, str) and value in allowed:
        return value
    names = ", ".join(repr(one) for one in allowed)
    raise ValueError(
        f"{name} must be one of {names}; got {short(value)}.{_nearest(value, allowed)}"
    )


def flag(name: str, value: object) -> bool:
    """`value` as a bool: True, False, NumPy's own, or 0 and 1."""
    if isinstance(value, (bool, np.bool_, int, np.integer)) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{name} must be True or False, got {short(value)}.")


def numbers(name: str, value: Any) -> NDArray[np.float64]:
    """`value` as an array of float64, not copied if it is one; from a CUDA device too."""
    value = on_host(name, value)
    refuse_masked(name, value)
    if np.iscomplexobj(value):
        raise ValueError(f"{name} must be real, got complex numbers.")
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold real numbers, got {short(value)}.") from None


def without_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Python's own numbers, as symbolic packages return them, as float64 where they are real."""
    if values.dtype.kind == "O" and all(isinstance(one, Real) for one in values.flat):
        return values.astype(np.float64)
    return values


def refuse_masked(name: str, values: object) -> None:
    """NumPy would take the numbers under the mask in silence."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} has masked entries: fill them, or leave their rows out.")


def refuse_overflow(name: str, values: NDArray[np.float64]) -> None:
    """For data of which sums of squares are formed."""
    largest = np.abs(values).max(initial=0.0)
    if not largest <= _LARGEST_SQUARABLE:  # also where scaling has overflowed to NaN
        raise ValueError(
            f"{name} holds numbers up to {largest:.1e}, whose squares overflow: scale it below "
            f"{_LARGEST_SQUARABLE:g}."
        )


def path(name: str, value: Any) -> str | os.PathLike[str]:
    """`value` as a path of the file system."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be the path of a file, got {short(value)}.")
    return value


def is_one_of(value: object, *plain: object) -> bool:
    """Whether `value` is one of these scalars; arrays, whose == is an array, are not."""
    return any(type(value) is type(one) and value == one for one in plain)


def short(value: object) -> str:
    """The repr of a value on one line, cut."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(value: object, names: Collection[str]) -> str:
    near = difflib.get_close_matches(str(value), list(names), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def suggest_names(function: Callable[P, R]) -> Callable[P, R]:
    """Make an unknown keyword a TypeError that names the nearest parameter of `function`."""
    parameters = inspect.signature(function).parameters

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in parameters:
                with ranks(kwargs.get("comm")):  # which ends the others too
                    raise TypeError(_unknown_keyword(function.__name__, name, parameters))
        return function(*args, **kwargs)

    return checked


def _unknown_keyword(function: str, name: str, parameters: Collection[str]) -> str:
    message = f"{function}() got an unexpected keyword argument {name!r}."
    if name in _FOREIGN_NAMES:
        return f"{message} It is called {_FOREIGN_NAMES[name]!r} here."
    return message + _nearest(name, parameters)


def drop_none(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user set; the others keep the defaults of the native Options."""
    return {name: value for name, value in options.items() if value is not None}
