"""`minimize` with SciPy's signature, and the solvers as callables for SciPy's own `minimize`."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult, OptimizeWarning

from ._arguments import choice, is_one_of, short
from ._cbo import cbo
from ._differences import METHODS as DIFFERENCES
from ._native import native_dimension
from ._objective import read_pair
from ._problem import Array, BoundsLike, Box, read_box, read_start
from ._sketch_newton import sketch_newton

_UNUSED = {
    "jac": "gradient information (jac)",
    "hess": "Hessian information (hess)",
    "hessp": "Hessian-vector product information (hessp)",
}
_CBO_OPTIONS = inspect.signature(cbo).parameters.keys() - {
    "func", "bounds", "args", "x0", "constraints", "callback"
}  # fmt: skip


class _ValueOnly:
    """The value of a function that returns (value, gradient)."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self._fun = fun

    def __call__(self, x: Array, *args: Any) -> Any:
        return read_pair(self._fun(x, *args))[0]


def _as_method_cbo(
    fun: Any,
    x0: ArrayLike,
    args: tuple[Any, ...] = (),
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: BoundsLike | None = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    **options: Any,
) -> OptimizeResult:
    """`cbo` as a method of `scipy.optimize.minimize`.

    `x0` is the first particle, clipped to the bounds. Without finite bounds on every variable the
    particles start around it, and the default of the option `dynamics` is 'memory' instead of
    'hybrid', which searches a finite box. The options are the parameters of `cbo`.
    """
    for name, value in (("jac", jac), ("hess", hess), ("hessp", hessp)):
        if not (callable(value) or is_one_of(value, None, True, False, *DIFFERENCES)):
            raise ValueError(
                f"{name} must be callable or None ('cbo' does not use it); got {short(value)}."
            )
        if callable(value) or value is True:
            message = (
                f"Method cbo does not use {_UNUSED[name]}: leave it out, or choose the method "
                "'sketch-newton' or one of SciPy's that does."
            )
            warnings.warn(message, RuntimeWarning, stacklevel=3)
    unknown = [str(name) for name in options if name not in _CBO_OPTIONS]
    if unknown:
        message = f"Unknown solver options: {', '.join(unknown)}"
        warnings.warn(message, OptimizeWarning, stacklevel=3)
    chosen = {name: value for name, value in options.items() if name in _CBO_OPTIONS}
    if tol is not None:
        chosen["tol"] = tol
    start = read_start(x0)
    box = _box(fun, bounds, start)
    if not box.is_finite:
        chosen.setdefault("dynamics", "memory")
    inside = np.clip(start, box.lower, box.upper)
    if not np.array_equal(inside, start):
        message = "Initial guess is not within the specified bounds; it is moved to their edge."
        warnings.warn(message, OptimizeWarning, stacklevel=3)
    return cbo(
        _ValueOnly(fun) if jac is True else fun,
        list(zip(box.lower, box.upper, strict=True)),
        args,
        x0=inside,
        constraints=() if constraints is None else constraints,
        callback=callback,
        **chosen,
    )


def _box(fun: Any, bounds: BoundsLike | None, start: Array) -> Box:
    """The bounds for the variables of x0; no bounds are infinite ones."""
    dim = native_dimension(fun)
    if dim is not None and dim != start.size:
        raise ValueError(f"fun has {dim} variables, but x0 has {start.size}.")
    return read_box(bounds, None, start.size)


METHODS: Mapping[str, Callable[..., OptimizeResult]] = {
    "cbo": _as_method_cbo,
    "sketch-newton": sketch_newton,
}


def scipy_method(name: str) -> Callable[..., OptimizeResult]:
    """A solver as a callable for `scipy.optimize.minimize`.

    For ``minimize(method=...)``, for the `minimizer_kwargs` of `basinhopping` and `dual_annealing`,
    and for ``polish=`` of `cbo` and `differential_evolution`, which pass their bounds on: 'cbo'
    takes these, 'sketch-newton' only infinite ones.

    Parameters
    ----------
    name : {'cbo', 'sketch-newton'}

    Returns
    -------
    callable
        ``method(fun, x0, args=, jac=, hess=, hessp=, bounds=, constraints=, tol=, callback=,
        **options)``. It can be pickled.

    Raises
    ------
    ValueError
        For any other name.

    Examples
    --------
    >>> import scipy.optimize
    >>> from fastopt import scipy_method
    >>> result = scipy.optimize.minimize(
    ...     scipy.optimize.rosen,
    ...     [0.0, 0.0],
    ...     method=scipy_method("cbo"),
    ...     bounds=[(-2, 2)] * 2,
    ...     options={"rng": 1},
    ... )
    >>> result.x.round(5)
    array([1., 1.])
    """
    return METHODS[choice("name", _own_name(name), METHODS)]


def _own_name(method: Any) -> Any:
    return method.lower().replace("_", "-") if isinstance(method, str) else method


def minimize(
    fun: Any,
    x0: ArrayLike,
    args: Any = (),
    method: str | Callable[..., Any] | None = None,
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> OptimizeResult:
    """`scipy.optimize.minimize` with the methods 'cbo' and 'sketch-newton' besides SciPy's.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``; with ``jac=True`` it returns (f, gradient). The two methods
        take what `cbo` and `sketch_newton` take too, such as a function of `fastopt.problems`.
    x0 : array_like (n,)
        Where to start.
    args : tuple
        Passed to `fun`, `jac`, `hess` and `hessp`.
    method : str or callable, optional
        'cbo': global search; 'sketch-newton': Newton's method under equality constraints. Anything
        else, None included, goes to `scipy.optimize.minimize` as it is.
    jac, hess, hessp
        Derivatives: see `sketch_newton`. 'cbo' warns that it does not use them.
    bounds : sequence of (min, max) or `scipy.optimize.Bounds`, optional
        'cbo' searches there; without them its particles start around x0. 'sketch-newton' refuses
        bounds.
    constraints : constraint or sequence of constraints
        'cbo': any of SciPy's. 'sketch-newton': equalities.
    tol : float, optional
        The method's `tol`. Default 1e-8 for both.
    callback : callable, optional
        ``callback(intermediate_result)`` if its parameter has this name, else ``callback(xk)``. A
        true return value or StopIteration ends the run.
    options : dict, optional
        Parameters of the method: those of `fastopt.cbo` (``maxiter``, ``maxfev``, ``rng``,
        ``dynamics``, ...) or of `fastopt.sketch_newton`. Unknown ones cause an `OptimizeWarning`.

    Returns
    -------
    OptimizeResult
        That of `cbo`, `sketch_newton` or SciPy.

    Raises
    ------
    ValueError
        For arguments that make no sense or that the method cannot handle, with the alternative.

    Warns
    -----
    OptimizeWarning, RuntimeWarning
        For unknown options, an x0 outside the bounds, and derivatives that are not used.

    Examples
    --------
    >>> from scipy.optimize import rosen
    >>> from fastopt import minimize
    >>> box = [(-5, 5)] * 3
    >>> result = minimize(rosen, [0, 0, 0], method="cbo", bounds=box, options={"rng": 1})
    >>> result.x.round(5)
    array([1., 1., 1.])
    >>> line = {"type": "eq", "fun": lambda x: x.sum() - 3}
    >>> result = minimize(lambda x: x @ x, [0, 0, 0], method="sketch-newton", constraints=line)
    >>> result.x.round(5)
    array([1., 1., 1.])
    """
    own = _own_name(method)
    if not (method is None or isinstance(own, str) or callable(method)):
        raise ValueError(
            f"method must be a name ('cbo', 'sketch-newton' or one of SciPy's), a callable or None;"
            f" got {short(method)}."
        )
    if not (isinstance(own, str) and own in METHODS):
        return scipy.optimize.minimize(
            fun,
            x0,
            args,
            method=method,
            jac=jac,
            hess=hess,
            hessp=hessp,
            bounds=bounds,
            constraints=constraints,
            tol=tol,
            callback=callback,
            options=None if options is None else dict(options),
        )
    chosen = _read_options(options)
    if tol is not None:
        chosen.setdefault("tol", tol)
    return METHODS[own](
        fun,
        x0,
        args=args if isinstance(args, tuple) else (args,),
        jac=jac,
        hess=hess,
        hessp=hessp,
        bounds=bounds,
        constraints=constraints,
        callback=callback,
        **chosen,
    )


def _read_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if options is None:
        return {}
    try:
        return dict(options)
    except (TypeError, ValueError):
        raise ValueError(
            f"options must be a dict of the method's parameters; got {short(options)}."
        ) from None
