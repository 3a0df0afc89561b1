"""CBO's own parameters: what each may be, and which dynamics it belongs to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arguments import choice, flag, integer, is_one_of, real
from ._native import NamedProblem
from ._problem import Box, Space

DYNAMICS = (
    "hybrid",
    "anisotropic",
    "isotropic",
    "memory",
    "hopping",
    "sampling",
    "polarized",
)
NOISES = ("anisotropic", "isotropic", "covariance")

_PLAIN = frozenset(DYNAMICS) - {"hybrid"}
MOVING = _PLAIN - {"hopping", "sampling"}


@dataclass(frozen=True)
class Parameter:
    """How a parameter is checked, and the dynamics that use it."""

    check: Callable[[str, Any], Any]
    used_by: frozenset[str] = _PLAIN


def _positive(name: str, value: Any) -> float:
    return real(name, value, above=0.0)


def _non_negative(name: str, value: Any) -> float:
    return real(name, value, minimum=0.0)


def _count(name: str, value: Any) -> int:
    return integer(name, value, minimum=1)


def _one_of(*allowed: str) -> Callable[[str, Any], str]:
    return lambda name, value: choice(name, value, allowed)


PARAMETERS: Mapping[str, Parameter] = {
    "noise": Parameter(_one_of(*NOISES), _PLAIN - {"sampling"}),
    "drift": Parameter(_non_negative, _PLAIN - {"hopping"}),
    "diffusion": Parameter(_non_negative, _PLAIN - {"sampling"}),
    "diffusion_factor": Parameter(_positive, _PLAIN - {"sampling"}),
    "alpha_factor": Parameter(_positive),
    "alpha_max": Parameter(_positive),
    "ess": Parameter(lambda name, value: real(name, value, above=0.0, maximum=1.0)),
    "truncation": Parameter(_positive, MOVING),
    "memory_drift": Parameter(_non_negative, frozenset({"memory"})),
    "memory_diffusion": Parameter(_non_negative, frozenset({"memory"})),
    "batch_size": Parameter(_count, _PLAIN - {"polarized", "sampling"}),
    "batch_mode": Parameter(_one_of("partial", "full"), _PLAIN - {"polarized", "sampling"}),
    "gradient_weight": Parameter(_non_negative, MOVING),
    "kernel_width": Parameter(_positive, frozenset({"polarized"})),
    "n_minimizers": Parameter(_count, frozenset({"polarized"})),
    "samples": Parameter(flag, frozenset({"sampling"})),
    "boundary": Parameter(_one_of("reflect", "clip")),
}


def core_dynamics(dynamics: str) -> dict[str, Any]:
    """The core's name for it: the plain rule with either noise is one."""
    if dynamics in ("anisotropic", "isotropic"):
        return {"dynamics": "standard", "noise": dynamics}
    return {"dynamics": dynamics}


def read_own_parameters(dynamics: str, own: Mapping[str, Any], defaults: Any) -> dict[str, Any]:
    """The parameters that the user set, checked; `defaults` is an unchanged native CboOptions.

    A parameter that the chosen dynamics does not use is an error unless it has its default.
    """
    given: dict[str, Any] = {}
    for name, value in own.items():
        if value is None:
            continue
        parameter = PARAMETERS[name]
        checked = parameter.check(name, value)
        if dynamics in parameter.used_by:
            given[name] = checked
        elif checked != getattr(defaults, name):
            users = ", ".join(repr(one) for one in DYNAMICS if one in parameter.used_by)
            raise ValueError(
                f"{name} is not a parameter of dynamics={dynamics!r}; it belongs to dynamics "
                f"{users}. Leave it out or choose one of these."
            )
    return given


def read_alpha(alpha: Any, dynamics: str, scheduled: bool) -> dict[str, Any]:
    """'ess', a number (perhaps inf), or a sequence: alpha of iteration k, the last one stays.

    `scheduled` says that alpha_factor or alpha_max was given, which only a number obeys.
    """
    given = _read_alpha(alpha, dynamics)
    if scheduled and "alpha" not in given:
        raise ValueError("alpha_factor and alpha_max need a number alpha to begin with.")
    return given


def _read_alpha(alpha: Any, dynamics: str) -> dict[str, Any]:
    if isinstance(alpha, str):
        choice("alpha", alpha, ("ess",))
        return {}
    if dynamics not in _PLAIN:
        raise ValueError(
            f"alpha is not a parameter of dynamics={dynamics!r}, which ranks its particles. Leave "
            "it out or choose another dynamics."
        )
    if isinstance(alpha, (Sequence, np.ndarray)) and np.ndim(alpha) == 1 and len(alpha):
        return {"alpha_schedule": [real("alpha", one, above=0.0) for one in alpha]}
    return {"alpha": real("alpha", alpha, above=0.0)}


def check_combinations(options: Mapping[str, Any], own: Mapping[str, Any], gradient: Any) -> None:
    """Parameters that mean nothing beside others are refused, not dropped."""
    if own["batch_mode"] == "full" and own["batch_size"] is None:
        raise ValueError("batch_mode='full' needs batch_size, the particles of a batch.")
    if options.get("noise") != "covariance":
        return
    idle = [name for name in ("memory_drift", "memory_diffusion") if own[name] is not None]
    idle += ["truncation"] if own["truncation"] != math.inf else []
    idle += ["gradient"] if gradient is not None else []
    if idle:
        raise ValueError(
            f"{idle[0]} does not go with noise='covariance': leave it out or choose another noise."
        )


def check_width(options: Mapping[str, Any], box: Box) -> None:
    """Noise of one length in all directions, or along covariances, squares distances in the box."""
    if options["dtype"] == "float32":
        least, most, why = 1e-30, 1e37, "dtype='float32' holds no larger or smaller steps"
    elif options["dynamics"] == "sampling" or options.get("noise", "anisotropic") != "anisotropic":
        least, most, why = 1e-130, 1e140, "this noise or dynamics squares distances"
    else:
        return
    width = (box.upper - box.lower)[box.free & np.isfinite(box.upper - box.lower)]
    if width.size and not (least <= width.max() and width.max() <= most):
        raise ValueError(
            f"the bounds are up to {width.max():.1e} apart, and {why}: scale the variables, or use "
            "dtype='float64', noise='anisotropic' and another dynamics."
        )
    rounding = np.finfo(options["dtype"]).eps * width.max(initial=0.0)
    if options.get("noise") == "isotropic" and width.size and width.min() <= rounding:
        raise ValueError(
            f"noise='isotropic' has one length for all variables, but bounds are {width.max():.1e} "
            f"and {width.min():.1e} apart: the rounding of the first is all of the second. Scale "
            "the variables, or use noise='anisotropic'."
        )


def read_limits(
    maxiter: Any, maxfev: Any, maxtime: Any, f_target: Any, hybrid: bool, dim: int
) -> dict[str, Any]:
    """The stopping rules that are in force; a limit that is absent is no limit."""
    limits: dict[str, Any] = {}
    if maxiter is not None:
        limits["maxiter"] = integer("maxiter", maxiter, minimum=1)
    if maxfev is not None and not is_one_of(maxfev, math.inf):
        limits["maxfev"] = integer("maxfev", maxfev, minimum=1)
    if maxtime is not None and not is_one_of(maxtime, math.inf):
        limits["maxtime"] = real("maxtime", maxtime, above=0.0)
    if not limits and maxfev is None and maxtime is None:
        limits = {"maxfev": 5000 * max(1, dim)} if hybrid else {"maxiter": 1000}
    if f_target is not None:
        limits["f_target"] = real("f_target", f_target)
    return limits


def check_budget(options: Mapping[str, Any], n_particles: int) -> None:
    """One iteration of the plain dynamics must fit into maxfev; the hybrid cuts its batches."""
    once = options.get("batch_size") or n_particles
    if options["dynamics"] != "hybrid" and options.get("maxfev", once) < once:
        raise ValueError(
            f"maxfev={options['maxfev']} does not allow one iteration of {once} evaluations: raise "
            "it, or lower n_particles."
        )


def read_particles(n_particles: Any, popsize: Any, dynamics: str, free: int, init: Any) -> int:
    """How many particles; 0 lets the hybrid choose."""
    if n_particles is not None and popsize is not None:
        raise ValueError(
            "n_particles and popsize both say how many particles there are (popsize times the "
            "dimension, or the number itself): give one of them."
        )
    rows = None if isinstance(init, str) else len(init)
    if n_particles is not None:
        n = integer("n_particles", n_particles, minimum=1, maximum=2**40)
    elif popsize is not None:
        n = integer("popsize", popsize, minimum=1, maximum=2**30) * max(1, free)
    elif rows is not None:
        n = rows
    else:
        n = 0 if dynamics == "hybrid" else max(100, 10 * free)
    if rows is not None and n != rows:
        raise ValueError(
            f"init is an array of {rows} particles, but {n} were asked for: leave out "
            "n_particles and popsize."
        )
    return n


def read_dtype(dtype: Any) -> str:
    """'float64' or 'float32'."""
    try:
        name = "float64" if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = repr(dtype)
    return choice("dtype", name, ("float64", "float32"))


def fingerprint(
    func: Any, space: Space, n_particles: int, restarts: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What must be the same for a run to be resumed; limits and threads are not in it."""
    box = space.box
    same: dict[str, Any] = {
        "dim": box.dim,
        "bounds": _digest(box.lower, box.upper),
        "integrality": None if box.integrality is None else _digest(box.integrality),
        "x0": None if space.x0 is None else _digest(space.x0),
        "init": space.init if isinstance(space.init, str) else _digest(space.init),
        "n_particles": n_particles,
        "restarts": restarts,
        **options,
    }
    if isinstance(func, NamedProblem):
        name, _, shift, rotation = func._native_spec()
        same["func"] = [name, _digest(*(one for one in (shift, rotation) if one is not None))]
    return same


def _digest(*arrays: Any) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
