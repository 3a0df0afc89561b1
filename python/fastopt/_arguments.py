"""Checks of plain arguments, each with a message that names the argument and says what to do."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import operator
from collections.abc import Callable, Collection
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_LARGEST_INTEGER = 2**62  # the core counts in 64 bits

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
        raise ValueError(f"{name} must be {wanted}, got {value!r}.")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name} must be {wanted}, got {value!r}.") from None
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
        raise ValueError(f"{name} must be {wanted}, got {value!r}.") from None
    at_least = number > above or above == -math.inf
    if math.isnan(number) or not at_least or not minimum <= number <= maximum:
        raise ValueError(f"{name} must be {wanted}, got {number!r}.")
    return number


def choice(name: str, value: object, allowed: Collection[str]) -> str:
    """`value` when it is one of the `allowed` names, else a ValueError with the nearest one."""
    if isinstance(value, str) and value in allowed:
        return value
    names = ", ".join(repr(one) for one in allowed)
    raise ValueError(f"{name} must be one of {names}; got {value!r}.{_nearest(value, allowed)}")


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
