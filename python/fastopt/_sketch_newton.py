"""The public function `sketch_newton`."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult, OptimizeWarning

from . import _backend, _device, distributed
from ._arguments import choice, flag, integer, numbers, real, short
from ._callback import RAISED, RETURNED_TRUE, wrap_callback
from ._glm import GLM
from ._memory import refuse_beyond_memory
from ._newton_problem import Functions, Objective, Place, read_equalities, refuse_bounds
from ._problem import Array, RandomSource, draw_key, read_start

LINEAR_SOLVERS = (
    "auto",
    "ldl",
    "sketch-pcg",
    "nystrom-pcg",
    "minres",
    "kaczmarz",
    "gaussian",
    "countsketch",
    "block",
    "adasketch",
)
SKETCHES = ("sjlt", "countsketch", "srht", "gaussian", "uniform", "leverage", "less")
_NO_LIMIT = 2**62
_OPTIONS = {"globalisation": "merit"}  # the user's names

_MESSAGES = {
    0: "Optimization terminated successfully: the KKT residual is below tol.",
    1: "Maximum number of iterations has been exceeded. Raise maxiter.",
    2: "No step improves the point any more: the KKT residual {kkt:.3g} is above tol. Loosen tol, "
    "check the derivatives, or start elsewhere.",
    3: "A function returned no finite number at a point where one was needed. Check fun, jac, hess "
    "and constraints there, or start elsewhere.",
    4: "The constraints seem inconsistent: x is a stationary point of their violation, which is "
    "{violation:.3g} there. This is a local statement; another x0 may do.",
    99: "`callback` ended the run on another rank.",
}
_AT_THE_START = (
    "Optimization terminated successfully: x0 meets tol already, with the KKT residual {kkt:.3g}. "
    "Lower tol if the derivatives are that small elsewhere too."
)
_HIDDEN_SLOPE = (
    "All differences of fun at x are zero, but a step of 1e-3 in x[{k}] changes it: the values are "
    "rounded more coarsely than the differences. Give jac, or raise finite_diff_rel_step."
)
_SINGULAR = (
    "The KKT matrix stays singular whatever multiple of the identity is added: the KKT residual "
    "{kkt:.3g} is above tol. Check the constraints' Jacobian, or scale the problem."
)
_UNBOUNDED = "The objective is unbounded below on the constraints, or x runs to infinity."
_MAXFEV = "Maximum number of function evaluations has been exceeded. Raise maxfev."
_MAXTIME = "The time limit maxtime was reached. Raise it."


class _Monitor:
    """Called by the core once per iteration; a true answer ends the run."""

    _HEADER = f"{'nit':>5} {'nfev':>6} {'fun':>24} {'violation':>11} {'optimality':>11} {'step':>9}"

    def __init__(self, callback: Any, disp: bool) -> None:
        self._listener = None if callback is None else wrap_callback(callback, "state")
        self._disp = disp
        self.stopped: str | None = None
        if disp:
            print(f"sketch_newton\n{self._HEADER}")

    def __call__(self, record: dict[str, Any]) -> bool:
        if self._disp:
            print(
                f"{record['nit']:5d} {record['nfev']:6d} {record['fun']:24.16g} "
                f"{record['constr_violation']:11.3e} {record['optimality']:11.3e} "
                f"{record['step']:9.2e}"
            )
        if self._listener is None:
            return False
        result = OptimizeResult(record)
        result.niter = result.nit
        try:
            if self._listener(result):
                self.stopped = RETURNED_TRUE
        except StopIteration:
            self.stopped = RAISED
        return self.stopped is not None


def sketch_newton(
    fun: Any,
    x0: ArrayLike,
    args: tuple[Any, ...] = (),
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Any = None,
    *,
    linear_solver: str = "auto",
    sketch: str = "sjlt",
    sketch_size: int | None = None,
    merit: str = "augmented-lagrangian",
    scale: bool = True,
    maxiter: int | None = None,
    maxfev: int | None = None,
    maxtime: float | None = None,
    rng: RandomSource = None,
    disp: bool = False,
    threads: int | None = None,
    record_history: bool = False,
    finite_diff_rel_step: ArrayLike | None = None,
    device: str | None = None,
    **unknown: Any,
) -> OptimizeResult:
    """Minimise f(x) subject to equality constraints c(x) = 0 by Newton's method.

    The KKT system of each step is solved exactly or by randomised sketching, whichever a cost model
    finds faster, and the step is judged by an exact augmented Lagrangian or a filter. A swap for
    ``scipy.optimize.minimize(method='trust-constr')`` on such problems, and valid as
    ``minimize(method=sketch_newton)``.

    Parameters
    ----------
    fun : callable or `fastopt.problems.GLM`
        ``fun(x, *args) -> float``; with ``jac=True`` it returns (f, gradient). A GLM brings its own
        derivatives.
    x0 : array_like (n,)
        Where to start; need not be feasible.
    args : tuple
        Passed to `fun`, `jac`, `hess` and `hessp`.
    jac : callable, True, '2-point', '3-point', 'cs' or None
        The gradient, ``jac(x, *args) -> (n,)``. None is '2-point'.
    hess : callable, '2-point', '3-point', 'cs', HessianUpdateStrategy or None
        The Hessian, ``hess(x, *args)``: an array, a sparse matrix, a LinearOperator, or a
        `fastopt.problems.WeightedGram`. None: differences of `jac` where that is a function, else
        `scipy.optimize.SR1`.
    hessp : callable, optional
        ``hessp(x, p, *args)``, the Hessian times p.
    bounds : None
        Refused unless infinite; trust-constr takes bounds.
    constraints : constraint or sequence of constraints
        `LinearConstraint` and `NonlinearConstraint` with ``lb == ub``, dicts of type 'eq' (a 'hess'
        entry ``hess(x, v)`` is read). None: unconstrained Newton.
    tol : float
        Wanted KKT residual of the problem as stated, the larger of |grad f + J'v|_inf, relative to
        |grad f|_inf where that exceeds 1 and rounding forbids more, and |c|_inf. Default 1e-8.
    callback : callable, optional
        ``callback(intermediate_result)`` if its parameter has this name, ``callback(xk, state)``,
        or ``callback(xk)``. A true return value or StopIteration ends the run.
    linear_solver : str
        'auto' (default): by estimated cost. 'ldl': dense Bunch-Kaufman. 'sketch-pcg': conjugate
        gradients preconditioned by a sketch of A, for a WeightedGram. 'nystrom-pcg', 'minres': only
        products with the Hessian. 'kaczmarz', 'gaussian', 'countsketch', 'block': sketch-and-
        project on the KKT matrix. 'adasketch': the method of Hong, Na, Mahoney and Kolar to the
        letter, for comparisons.
    sketch : {'sjlt', 'countsketch', 'srht', 'gaussian', 'uniform', 'leverage', 'less'}
        Kind of the sketch of 'sketch-pcg'.
    sketch_size : int, optional
        Its rows (for sketch-and-project: columns of S). Default: the cheapest for the run.
    merit : {'augmented-lagrangian', 'filter'}
        What judges a step. The filter needs fewer evaluations on hard problems; it is taken in any
        case with quasi-Newton Hessians, and where the augmented Lagrangian fails.
    scale : bool
        Scale f and each c so that no gradient exceeds 100 at x0. Default True.
    maxiter, maxfev, maxtime : int, int, float, optional
        Most iterations (1000), calls of `fun` and seconds.
    rng : int, numpy.random.Generator or None
        Source of the sketches. The default is a fixed key: equal calls give equal results.
    disp : bool
        Print a line for each iteration.
    threads : int, optional
        Threads of the core; the result does not depend on it. Default: all CPUs.
    record_history : bool
        Keep the records of all iterations in ``result.history``.
    finite_diff_rel_step : array_like, optional
        Relative step of the finite differences of `fun` and `jac`.
    device : None, 'cpu' or 'cuda'
        None: 'cuda' where x0 or the data of a `GLM` live on a CUDA device (arrays of PyTorch, CuPy,
        JAX), whose arrays the result then holds, else the CPU.
        On a GPU run the linear solver and the passes over the data of a `GLM` (which go there once)
        or a `WeightedGram` (once for each Hessian). Other functions are called on the CPU as ever.
        Results agree with the CPU's within rounding.

    Returns
    -------
    OptimizeResult
        With trust-constr's names: x, fun, grad, v (multipliers, one array for each constraint),
        constr and jac (values and Jacobians, one for each constraint), constr_violation,
        lagrangian_grad, optimality (its largest entry), nit, nfev, njev, nhev, success, status,
        message, execution_time; and kkt_residual (what `tol` is held against), linear_solver,
        reason (why that one), sketch (kind, rows, how many were made), inner_iterations, merit
        (name, eta1, eta2, shift), n_restorations, history. status: 0 success; 1 maxiter, maxfev or
        maxtime; 2 stalled or singular; 3 not finite, or unbounded; 4 infeasible; 99 callback.

    Notes
    -----
    A KKT point is not enough: where the Hessian shows that x0, or the point reached, is a saddle
    point or a maximum, the run goes on along negative curvature. With exact or differenced Hessians
    only. Without success, x is the iterate with the least KKT residual.

    Raises
    ------
    ValueError
        For bounds and inequalities, wrong shapes, and options that make no sense.
    Exception
        Whatever the user's functions raise comes back unchanged.

    References
    ----------
    Hong, Na, Mahoney, Kolar, "Constrained Optimization via Exact Augmented Lagrangian and
    Randomized Iterative Sketching", 2023. Pilanci, Wainwright, "Newton Sketch", 2017. Waechter,
    Biegler, "On the implementation of an interior-point filter line-search algorithm", 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import sketch_newton
    >>> circle = {"type": "eq", "fun": lambda x: x @ x - 2, "jac": lambda x: 2 * x}
    >>> result = sketch_newton(np.sum, [1.0, -0.5], jac=np.ones_like, constraints=circle)
    >>> result.x.round(6)
    array([-1., -1.])
    """
    started = time.perf_counter()
    if unknown:
        names = ", ".join(str(name) for name in unknown)
        warnings.warn(f"Unknown solver options: {names}", OptimizeWarning, stacklevel=2)
    model = fun if isinstance(fun, GLM) else getattr(fun, "__self__", None)  # of a bound method
    where = _device.home(x0=x0) or (model.home if isinstance(model, GLM) else None)
    module = _backend.module(_device.device_of(device, where), "sketch_newton")
    with distributed.ranks(model.ranks if isinstance(model, GLM) else None) as ranks:
        choice("linear_solver", linear_solver, LINEAR_SOLVERS)
        choice("sketch", sketch, SKETCHES)
        choice("merit", merit, ("augmented-lagrangian", "filter"))
        place = None
        if module is not _backend.module():
            if ranks is not None:
                raise ValueError("comm does not go with device='cuda': leave one of them out.")
            place = Place(module)
            fun, jac, hess = (place.function(function) for function in (fun, jac, hess))
        start = read_start(x0)
        args = args if isinstance(args, tuple) else (args,)
        refuse_bounds(bounds, start.size)
        if finite_diff_rel_step is not None:
            finite_diff_rel_step = _read_rel_step(finite_diff_rel_step, start.size)
        objective = Objective(fun, start.size, args, jac, hess, hessp, finite_diff_rel_step)
        functions = Functions(objective, read_equalities(constraints, start), start.size, place)
        key = (0, 0) if rng is None else draw_key(rng, None)
        paper = linear_solver == "adasketch"
        filter_first = merit == "filter" or functions.approximate
        options = {
            "linear_solver": "auto" if paper else linear_solver,
            "sketch": sketch,
            "sketch_size": 0 if sketch_size is None else integer("sketch_size", sketch_size, 1),
            "globalisation": "adasketch" if paper else "filter" if filter_first else "merit",
            "tol": real("tol", 1e-8 if tol is None else tol, above=0.0),
            "maxiter": 1000 if maxiter is None else integer("maxiter", maxiter, 0),
            "maxfev": _NO_LIMIT if maxfev is None else integer("maxfev", maxfev, 1),
            "maxtime": math.inf if maxtime is None else real("maxtime", maxtime, minimum=0.0),
            "scale": flag("scale", scale) and not paper,
            "key0": key[0],
            "key1": key[1],
            "threads": 0 if threads is None else integer("threads", threads, 1),
            "record_history": flag("record_history", record_history),
            "second_order": not functions.approximate,
            "ranks": ranks,
        }
        if linear_solver != "auto" or isinstance(fun, GLM):
            _check_memory(linear_solver, start.size, functions.m)
        if ranks is not None:
            _check_alike(ranks, start, functions, options)
        disp = flag("disp", disp)
        monitor = _Monitor(callback, disp) if callback is not None or disp else None
        queue = None if place is None else place.queue
        raw = module.sketch_newton(functions, start, functions.m, options, monitor, queue)
    result = _result(raw, functions, monitor)
    if raw["linear_solver"] == "sketch-pcg":
        result.sketch["kind"] = sketch
    result.execution_time = time.perf_counter() - started
    if disp:
        print(result.message)
    return _device.placed(result, where)


def _check_alike(
    ranks: distributed.Ranks, start: Array, functions: Functions, options: dict[str, Any]
) -> None:
    """All ranks must solve the same problem in the same way, each with its own rows."""
    if options["sketch"] in ("leverage", "less"):
        raise ValueError(
            f"sketch={options['sketch']!r} draws by scores of all rows, which no rank has: with "
            "comm take 'sjlt', 'countsketch', 'gaussian', 'srht' or 'uniform'."
        )
    own = ("threads", "ranks", "record_history", "key0", "key1")
    alike = {_OPTIONS.get(name, name): value for name, value in options.items() if name not in own}
    alike.update(x0=start.tolist(), constraints=functions.m, rng=(options["key0"], options["key1"]))
    ranks.same_each(alike)
    if functions.m:
        mine = np.concatenate([functions.cons(start), functions.jac(start).ravel()])
        every = ranks.allgather(mine)
        if not np.allclose(every, every[0], rtol=1e-9, atol=1e-9, equal_nan=True):
            raise ValueError(
                "constraints must be the same on all ranks: at x0 their values or Jacobians differ."
            )


def _check_memory(linear_solver: str, n: int, m: int) -> None:
    """What each step forms: the KKT matrix and the Hessian, or a sketch of no fewer rows than n."""
    if linear_solver in ("nystrom-pcg", "minres"):
        return
    order = n + m if linear_solver not in ("auto", "sketch-pcg") else n
    refuse_beyond_memory(
        f"a dense system of {order} rows, which linear_solver={linear_solver!r} forms,",
        8 * (order * order + n * n) if linear_solver != "auto" else 8 * n * n,
        "choose 'nystrom-pcg' or 'minres', which need products with the Hessian only",
    )


def _read_rel_step(value: ArrayLike, n: int) -> Array:
    steps = numbers("finite_diff_rel_step", value)
    if steps.shape not in ((), (1,), (n,)) or not np.all(steps > 0) or not np.isfinite(steps).all():
        raise ValueError(
            f"finite_diff_rel_step must be a positive number, or {n} of them; got {short(value)}."
        )
    return steps


def _message(raw: dict[str, Any]) -> str:
    if raw["unbounded"]:
        return _UNBOUNDED
    if raw["code"] == 1 and not raw["maxiter"]:
        return _MAXTIME if raw["maxtime"] else _MAXFEV
    if raw["code"] == 0 and raw["nit"] == 0 and raw["kkt_residual"] > 0:
        return _AT_THE_START.format(kkt=raw["kkt_residual"])
    text = _SINGULAR if raw["singular"] else _MESSAGES.get(raw["code"], "")
    return text.format(kkt=raw["kkt_residual"], violation=raw["constr_violation"])


def _result(raw: dict[str, Any], functions: Functions, monitor: _Monitor | None) -> OptimizeResult:
    n, m = functions.n, functions.m
    full_jacobian = np.asarray(raw["jacobian"]).reshape(m, n)
    gradient, multipliers = raw["gradient"], raw["l"]
    values = functions.split(raw["c"])
    constraints = functions.constraints
    with np.errstate(invalid="ignore"):  # what is not finite at x0 stays so
        lagrangian_gradient = gradient + full_jacobian.T @ multipliers
    result = OptimizeResult(
        x=raw["x"],
        fun=raw["fun"],
        success=raw["success"],
        status=raw["code"],
        message=_message(raw),
        nit=raw["nit"],
        niter=raw["nit"],
        nfev=functions.objective.nfev,
        njev=functions.objective.njev,
        nhev=functions.objective.nhev,
        grad=gradient,
        v=functions.split(multipliers),
        jac=functions.split(full_jacobian),
        constr=[c + one.target for c, one in zip(values, constraints, strict=True)],
        constr_violation=raw["constr_violation"],
        constr_nfev=[c.nfev for c in constraints],
        constr_njev=[c.njev for c in constraints],
        constr_nhev=[c.nhev for c in constraints],
        lagrangian_grad=lagrangian_gradient,
        optimality=raw["optimality"],
        kkt_residual=raw["kkt_residual"],
        linear_solver=raw["linear_solver"],
        reason=raw["reason"],
        inner_iterations=raw["inner_iterations"],
        sketch={"kind": None, "rows": raw["sketch_rows"], "made": raw["n_sketches"]},
        merit={
            "name": "filter" if raw["filter"] else "augmented-lagrangian",
            "eta1": raw["eta1"],
            "eta2": raw["eta2"],
            "shift": raw["shift"],
        },
        n_restorations=raw["n_restorations"],
        method="sketch_newton",
    )
    if raw["history"]:
        names = [name for name in raw["history"][0]]
        result.history = {name: np.array([r[name] for r in raw["history"]]) for name in names}
    if result.success:
        slopes = functions.objective.hidden_slope(result.x)
        rows = full_jacobian.T
        along = slopes - rows @ np.linalg.lstsq(rows, slopes, rcond=None)[0] if m else slopes
        if np.linalg.norm(along) > 1e-3 * np.linalg.norm(slopes):
            message = _HIDDEN_SLOPE.format(k=np.argmax(np.abs(along)))
            result.update(success=False, status=2, message=message)
        result.nfev = functions.objective.nfev
    if monitor is not None and monitor.stopped is not None:
        result.update(success=False, status=99, message=monitor.stopped)
    return result
