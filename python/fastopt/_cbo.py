"""The public function `cbo`: reads its arguments and hands a plan to `_runs`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult

from . import _backend, _device
from ._arguments import choice, flag, integer, is_one_of, path, real, suggest_names
from ._callback import UserCallback, wrap_callback
from ._checkpoint import PathLike
from ._constraints import read_constraints
from ._evaluator import native_evaluator, python_evaluator, refuse_for_native
from ._native import is_native, native_dimension
from ._objective import device_function, python_gradient
from ._options import (
    DYNAMICS,
    MOVING,
    check_budget,
    check_combinations,
    check_width,
    core_dynamics,
    fingerprint,
    read_alpha,
    read_dtype,
    read_limits,
    read_own_parameters,
    read_particles,
)
from ._problem import BoundsLike, RandomSource, check_memory, draw_key, read_space
from ._runs import Plan, Storage, run
from ._workers import available_cpus
from .distributed import Alone, ranks


@suggest_names
def cbo(
    func: Any,
    bounds: BoundsLike | None,
    args: tuple[Any, ...] = (),
    maxiter: int | None = None,
    popsize: int | None = None,
    tol: float = 1e-8,
    *,
    n_particles: int | None = None,
    atol: float = 0.0,
    rng: RandomSource = None,
    seed: RandomSource = None,
    callback: UserCallback | None = None,
    disp: bool = False,
    polish: bool | Callable[..., Any] = True,
    init: str | ArrayLike = "latinhypercube",
    x0: ArrayLike | None = None,
    constraints: Any = (),
    integrality: ArrayLike | None = None,
    vectorized: bool = False,
    workers: int | Callable[..., Any] = 1,
    maxfev: int | None = None,
    maxtime: float | None = None,
    f_target: float | None = None,
    dynamics: str = "hybrid",
    noise: str | None = None,
    drift: float | None = None,
    diffusion: float | None = None,
    diffusion_factor: float | None = None,
    alpha: str | float | Sequence[float] = "ess",
    alpha_factor: float = 1.0,
    alpha_max: float = math.inf,
    ess: float | None = None,
    truncation: float = math.inf,
    memory_drift: float | None = None,
    memory_diffusion: float | None = None,
    batch_size: int | None = None,
    batch_mode: str = "partial",
    gradient: Callable[..., Any] | None = None,
    gradient_weight: float = 1.0,
    kernel_width: float = 0.1,
    n_minimizers: int | None = None,
    samples: bool = False,
    boundary: str = "reflect",
    constraint_tol: float | None = None,
    restarts: int = 0,
    runs: int = 1,
    checkpoint: PathLike | None = None,
    checkpoint_every: float = 60.0,
    resume: PathLike | None = None,
    device: str | None = None,
    dtype: Any = None,
    threads: int | None = None,
    record_history: bool = False,
    comm: Any = None,
) -> OptimizeResult:
    """Find the global minimum of a function by consensus-based optimisation.

    A swap for `scipy.optimize.differential_evolution` and `dual_annealing`: names, order and
    meaning of parameters are SciPy's wherever SciPy has the notion.

    Parameters
    ----------
    func : callable or compiled function
        The objective, ``func(x, *args) -> float`` with x of shape (d,); `vectorized=True` changes
        that. Also accepted, and then run in parallel without Python: a function of
        `fastopt.problems`, a `scipy.LowLevelCallable`, a numba cfunc, or a ctypes or cffi pointer
        with the signature ``double (int, double *)`` or ``double (int, double *, void *)``. Also
        `fastopt.torch.from_torch(fn)` and `fastopt.jax.from_jax(fn)`. A NaN counts as +inf.
    bounds : sequence of (min, max) or `scipy.optimize.Bounds`
        One pair for each variable; ``min == max`` fixes it. One pair of scalars stands for all
        variables when something else tells how many there are (`x0`, an `init` array, a problem of
        `fastopt.problems`). None, -inf and inf mean no bound: not with 'hybrid', and only with
        `x0` or an `init` array to start from.
    args : tuple
        Passed to `func` (and `gradient`) after x.
    maxiter : int, optional
        Most iterations (generations), of each restart. Default: no limit for 'hybrid'; 1000, as in
        SciPy, for the other dynamics unless `maxfev` or `maxtime` is given.
    popsize : int, optional
        Particles per free variable, as in SciPy. Not together with `n_particles`.
    tol, atol : float
        The particles have converged when the standard deviation of their values is at most
        ``atol + tol * |f|``. For 'hybrid': four searches, or four restarts of its particles, in a
        row that end within this of the best value end the run, so that a smooth bowl does not cost
        the whole budget. Defaults 1e-8 and 0: half the digits of a double, since f is quadratic at
        a smooth minimum.
    n_particles : int, optional
        Number of particles. Default: max(100, 10 d) for the plain dynamics. For 'hybrid' the
        number of the first restart, 4 + floor(3 ln d), which triples from restart to restart.
    rng : int, numpy.random.Generator, RandomState or None
        Source of the key of all random numbers (SPEC 7). An int reproduces the run; a Generator
        advances; None is fresh entropy.
    seed : as rng
        The older name of `rng`.
    callback : callable, optional
        Called after each iteration: ``callback(intermediate_result)`` if its only parameter has
        this name (an OptimizeResult with x, fun, nit, nfev, maxcv, spread, convergence), else
        ``callback(xk)`` or ``callback(xk, convergence)`` with a copy of the best point and
        ``min(1, (atol + tol |f|) / spread)``. A true
        return value or StopIteration ends the run without another evaluation; the result is that
        of a run with this `maxiter` (and, for the plain dynamics, ``polish=False``).
    disp : bool
        Print a header and a line for iterations 1-10, 20, ..., 100, 200, ...
    polish : bool or callable
        Local search by L-BFGS-B (SLSQP with constraints). 'hybrid' has it inside; the plain
        dynamics end with it. False suits noisy or discontinuous objectives. A callable is called
        as in SciPy, ``polish(func, x0, bounds=, constraints=)``, once at the end.
    init : {'latinhypercube', 'sobol', 'halton', 'random'} or array (n_particles, d)
        Where the particles start; points of an array are clipped to the bounds, as in SciPy.
        'hybrid' draws its own points.
    x0 : array_like (d,), optional
        First particle; 'hybrid' starts a local search there. Must lie inside the bounds.
    constraints : constraint or sequence of constraints
        `LinearConstraint`, `NonlinearConstraint`, `Bounds`, or dicts with 'type' and 'fun'. The
        violation of x, the sum of what each component lies outside its limits, ranks infeasible
        points behind feasible ones; func is evaluated there all the same. With `vectorized=True`
        constraint functions take (d, n) and return (m, n).
    integrality : array_like of bool, optional
        Variables that are whole numbers.
    vectorized : bool
        func takes x of shape (d, n), the transpose of the particle buffer, and returns (n,). It
        may overwrite x, and keep it. Where x0, bounds or init live on a CUDA device, so does x.
    workers : int or map-like
        Evaluate in this many processes (-1: all CPUs), or by ``workers(fn, iterable)``; the points
        are cut into chunks, one task each. Overrides `vectorized`, as in SciPy.
    maxfev : int, optional
        Most evaluations, those of finite differences included. Default: 5000 d for 'hybrid' unless
        `maxiter` or `maxtime` is given, else no limit.
    maxtime : float, optional
        Seconds after which no new iteration begins.
    f_target : float, optional
        End with success at a value that is not above this.
    dynamics : str
        'hybrid' (default): covariance hopping, consensus with memory, and multistart local search
        share one budget; the strongest choice measured over the BBOB functions. 'anisotropic' and
        'isotropic': the plain rule x <- x - drift (x - c) + diffusion |x - c| xi, component-wise
        or by length. 'memory': consensus of the personal bests. 'hopping': x = c + diffusion xi
        afresh each time. 'sampling': consensus-based sampling. 'polarized': several minimisers.
    noise : {'anisotropic', 'isotropic', 'covariance'}, optional
        Form of the noise. Default: what `dynamics` says, else 'anisotropic'.
    drift, diffusion : float, optional
        lambda dt and sigma sqrt(dt). Default: chosen for each dynamics.
    diffusion_factor : float, optional
        Multiplies the diffusion after each iteration. Default 1, constant; 0.98 for 'hopping'
        unless `diffusion` is given.
    alpha : 'ess', float or sequence of float
        Inverse temperature of the weights exp(-alpha (f - min f)); inf is the best particle. A
        sequence holds alpha of each iteration, the last one stays. 'ess' (default) chooses it so
        that the effective sample size is `ess` N, which makes it independent of the scale of f.
    alpha_factor, alpha_max : float
        A number alpha grows by this factor each iteration, up to this. Defaults 1 and inf.
    ess : float, optional
        Effective share of particles in (0, 1] for ``alpha='ess'``. Default 0.1; 0.2 for 'hopping'
        and covariance noise, 0.4 for 'sampling'.
    truncation : float
        Largest length (or component) of x - c in the noise. Makes the choice of the diffusion
        safe. Default inf: off.
    memory_drift, memory_diffusion : float, optional
        Drift and diffusion about the personal best. Default: chosen by 'memory'.
    batch_size : int, optional
        Particles per iteration, from a random permutation. Default: all.
    batch_mode : {'partial', 'full'}
        Move the batch, or all particles with the batch's consensus.
    gradient : callable, optional
        ``gradient(x, *args)``, (d,) -> (d,), or (d, n) -> (d, n) if vectorized: adds the drift
        ``-gradient_weight * gradient``. `fastopt.torch.from_torch(fn).jac` is one.
    gradient_weight : float
        Factor of the gradient drift, gamma dt. Default 1.
    kernel_width : float
        'polarized': width of the Gaussian kernel, in units of the box. Default 0.1.
    n_minimizers : int, optional
        'polarized': number of common consensus points. Default: one for each particle.
    samples : bool
        'sampling': draw from exp(-f) instead of minimising; the result's population is the
        sample, its members of equal weight (`weights` are all 1/N).
    boundary : {'reflect', 'clip'}
        What happens to a particle that leaves the box. Reflection (default) does not pile
        particles up on the faces.
    constraint_tol : float, optional
        Every constraint component may lie outside its limits by this. Default: 1e-8 for equalities;
        inequalities hold exactly, as in SciPy.
    restarts : int
        Plain dynamics: begin again this many times with twice the particles and a fresh key;
        the best result counts. 'hybrid' restarts by itself.
    runs : int
        Number of independent runs; for more than 1 the result holds arrays, x of shape (runs, d).
        Run m has its own key, run 0 that of a plain call. Native objectives run in parallel.
    checkpoint, checkpoint_every : path, float
        Save the state to this file every so many seconds (default 60; 0: every iteration). The
        file is replaced in one step.
    resume : path, optional
        Continue from such a file with the same bits; only limits and `threads` may differ.
    device : None, 'cpu' or 'cuda'
        Where to run. None: 'cuda' where x0, bounds or init live on a CUDA device (arrays of
        PyTorch, CuPy, JAX), else the CPU. Then func (`vectorized=True`) and gradient get arrays of
        that library, and the result holds such. On 'cuda' (a build of its own: docs/cuda.md)
        `dynamics='hybrid'` keeps its generations on the host.
    dtype : 'float64' (default) or 'float32'
        Type of the particles; values are float64 always.
    threads : int, optional
        Threads of the core; the result does not depend on it. Default: all CPUs.
    record_history : bool
        Keep value, spread, alpha, step size, evaluations and consensus of each iteration.
    comm : mpi4py communicator, torch.distributed group or `fastopt.distributed.Communicator`
        All its processes call cbo with the same arguments, share the evaluations and get the same
        result, bit for bit that of one process; of plain dynamics with many particles each holds
        its rows only (docs/distributed.md). Rank 0 draws the key of `rng`, prints, writes and reads
        checkpoints, and runs the last polish; a callback may be on any rank. Not with
        ``device='cuda'``. Default: this process alone.

    Returns
    -------
    OptimizeResult
        x (float64), fun, success, message, nit, nfev, population, population_energies, consensus;
        constr, constr_violation and maxcv with constraints; weights, minimizers, minimizer_values
        and history where asked for. status: 0 success; 1 maxiter, maxfev or maxtime; 2 stalled;
        3 no finite value, or -inf; 4 infeasible; 99 stopped by the callback. With `comm`,
        population, population_energies and weights hold the rows of this rank, those from
        ``population_rows[0]`` to ``population_rows[1] - 1`` of all.

    Raises
    ------
    ValueError
        For an argument that makes no sense, with what was expected; for a func that does not
        return a scalar.
    Exception
        Whatever func, constraints, gradient and callback raise comes back unchanged.
    fastopt.distributed.RankError
        With `comm`, where another rank raised, died or called something else.

    References
    ----------
    Pinnau, Totzeck, Tse, Martin, "A consensus-based model for global optimization and its
    mean-field limit", 2017. Carrillo, Jin, Li, Zhu, "A consensus-based global optimization method
    for high dimensional machine learning problems", 2021. Riedl, Klock, Geldhauser, Fornasier,
    "Gradient is All You Need?", 2023. Fornasier, Richtarik, Riedl, Sun, "Consensus-based
    optimisation with truncated noise", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import cbo
    >>> def rastrigin(x):
    ...     return 10 * x.size + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))
    >>> result = cbo(rastrigin, [(-5.12, 5.12)] * 5, rng=1)
    >>> bool(result.fun < 1e-9)
    True
    """
    with ExitStack() as stack:  # errors end the other ranks too, so all checks are inside
        joined = stack.enter_context(ranks(comm))
        group = Alone() if joined is None else joined
        where = _device.home(x0=x0, bounds=bounds, init=init)
        module = _backend.module(_device.device_of(device, where), "cbo")
        if joined is not None and module is not _backend.module():
            raise ValueError("comm does not go with device='cuda': leave one of them out.")
        choice("dynamics", dynamics, DYNAMICS)
        disp, vectorized = flag("disp", disp), flag("vectorized", vectorized)
        polish = polish if callable(polish) else flag("polish", polish)
        args = tuple(args) if isinstance(args, (tuple, list)) else (args,)
        hybrid, native = dynamics == "hybrid", is_native(func)
        dim = native_dimension(func)
        space = read_space(
            _device.on_host("bounds", bounds),
            integrality,
            _device.on_host("x0", x0),
            _device.on_host("init", init),
            dim,
            hybrid,
        )
        free = int(space.box.free.sum())
        own = {
            "noise": noise,
            "drift": drift,
            "diffusion": diffusion,
            "diffusion_factor": diffusion_factor,
            "alpha_factor": alpha_factor,
            "alpha_max": alpha_max,
            "ess": ess,
            "truncation": truncation,
            "memory_drift": memory_drift,
            "memory_diffusion": memory_diffusion,
            "batch_size": batch_size,
            "batch_mode": batch_mode,
            "gradient_weight": gradient_weight,
            "kernel_width": kernel_width,
            "n_minimizers": n_minimizers,
            "samples": samples,
            "boundary": boundary,
        }
        options = {
            **core_dynamics(dynamics),
            **read_own_parameters(dynamics, own, module.CboOptions()),
            **read_alpha(alpha, dynamics, alpha_factor != 1.0 or alpha_max != math.inf),
            "tol": real("tol", tol, minimum=0.0),
            "atol": real("atol", atol, minimum=0.0),
            "polish": polish is True,
            "dtype": read_dtype(dtype),
            "record_history": flag("record_history", record_history),
        }
        check_combinations(options, own, gradient)
        check_width(options, space.box)
        n = read_particles(n_particles, popsize, dynamics, free, space.init)
        restarts, runs = integer("restarts", restarts, 0), integer("runs", runs, 1)
        itemsize = np.dtype(options["dtype"]).itemsize
        check_memory(-(-n // group.size), space.box.dim, itemsize, runs)
        every = real("checkpoint_every", checkpoint_every, minimum=0.0)
        problem = fingerprint(func, space, n, restarts, options)
        storage = Storage(
            None if checkpoint is None else path("checkpoint", checkpoint),
            every,
            None if resume is None else path("resume", resume),
            problem,
        )
        _check_combinations(dynamics, gradient, restarts, runs, callback, storage)
        options.update(read_limits(maxiter, maxfev, maxtime, f_target, hybrid, free))
        check_budget(options, n)
        if threads is not None:
            options["threads"] = integer("threads", threads, 1, 4096)
        if native:
            refuse_for_native(func, args, vectorized, workers)
        elif vectorized and not is_one_of(workers, 1):
            message = "cbo: the 'workers' keyword overrides the 'vectorized' keyword"
            warnings.warn(message, UserWarning, stacklevel=3)
            vectorized = False
        limits = read_constraints(
            constraints,
            space.box.dim,
            vectorized,
            None if constraint_tol is None else real("constraint_tol", constraint_tol, minimum=0.0),
        )
        listener = None if callback is None else wrap_callback(callback)
        key = draw_key(rng, seed)
        group.same_each(
            {
                **problem,
                **{name: value for name, value in options.items() if name != "threads"},
                "polish": "callable" if callable(polish) else polish,
                "constraints": limits is not None,
                "gradient": gradient is not None,
                "runs": runs,
            }
        )
        if native:
            evaluator = native_evaluator(module, func, space.box.dim, limits)
        else:
            evaluator = python_evaluator(
                module, func, args, vectorized, workers, options["dtype"], limits, stack, where
            )
        slope = None
        if gradient is not None:
            there = device_function("gradient", gradient, args, vectorized, module, where)
            slope = python_gradient(gradient, args, vectorized, there)
        plan = Plan(
            module=module,
            space=space,
            evaluator=evaluator,
            options=options,
            n_particles=n,
            key=group.from_first(lambda: key),
            gradient=slope,
            listener=listener,
            disp=disp,
            polish=polish,
            constraints=constraints,
            restarts=restarts,
            storage=storage,
            ranks=group,
            listens=group.most(listener is not None) > 0,
        )
        return _device.placed(run(plan, runs, threads or available_cpus()), where)


def _check_combinations(
    dynamics: str, gradient: Any, restarts: int, runs: int, callback: Any, storage: Storage
) -> None:
    if gradient is not None and dynamics not in MOVING:
        raise ValueError(
            f"gradient is not a parameter of dynamics={dynamics!r}: choose one of "
            f"{', '.join(map(repr, sorted(MOVING)))}."
        )
    if restarts and dynamics == "hybrid":
        raise ValueError(
            "dynamics='hybrid' restarts by itself until maxfev, maxiter or maxtime: leave out "
            "restarts."
        )
    if runs > 1 and not (callback is None and storage.path is None and storage.resume is None):
        raise ValueError(
            "callback, checkpoint and resume belong to one run: leave them out, or call cbo once "
            "for each run."
        )
