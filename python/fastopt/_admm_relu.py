"""The public functions `admm_relu` and `admm_relu_path`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult

from . import _admm_gates, _backend, _device, distributed
from ._admm_data import TrainingData, read_data
from ._admm_run import (
    ADMM_GAP,
    CALLBACK_STATUS,
    MAXITER,
    METHODS,
    Deadline,
    Engine,
    Settings,
    Strength,
    resolve_method,
    run_method,
)
from ._admm_shares import Shares
from ._arguments import choice, flag, integer, numbers, real, short, suggest_names
from ._callback import wrap_callback
from ._options import read_dtype
from ._problem import Array, Key, RandomSource


@suggest_names
def admm_relu(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str = "squared",
    beta: float | None = None,
    beta_ratio: float | None = None,
    gates: int | ArrayLike | str = 64,
    method: str = "auto",
    fit_intercept: bool = True,
    standardize: bool = False,
    sample_weight: ArrayLike | None = None,
    robust_eps: ArrayLike = 0.0,
    rho: float | None = None,
    tol: float = 1e-4,
    gap_tol: float | None = None,
    maxiter: int | None = None,
    maxtime: float | None = None,
    warm_start: OptimizeResult | ArrayLike | None = None,
    rng: RandomSource = None,
    callback: Callable[..., Any] | None = None,
    disp: bool = False,
    dtype: Any = "float64",
    device: str | None = None,
    threads: int | None = None,
    record_history: bool = False,
    polish: bool = True,
    huber_delta: float = 1.35,
    quantile: float = 0.5,
    comm: Any = None,
    shard: str = "gates",
) -> OptimizeResult:
    """Train a two-layer ReLU network to global optimality over sampled activation patterns.

    With gates D_i = diag(1[X h_i >= 0]), E_i = 2 D_i - I, the training problem

        min  L(sum_j (X u_j)_+ a_j, y) + beta/2 sum_j (||u_j||^2 + a_j^2)

    over networks whose neurons have these patterns is the convex program

        min  L(sum_i D_i X (v_i - w_i), y) + beta sum_i (||v_i|| + ||w_i||)
        s.t. E_i X v_i >= 0,  E_i X w_i >= 0,

    which is solved with a duality gap as its certificate. The network is read off (v, w), and its
    training objective equals the program's.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Samples. Sparse matrices are converted.
    y : array_like, shape (n,) or (n, c)
        Targets. Numbers for 'squared', 'huber', 'quantile'; -1 and 1 for 'logistic' and the
        hinges; class numbers or rows of probabilities for 'softmax'. Each of the c outputs gets
        neurons of its own.
    loss : str
        'squared' (default, 1/2 (f - y)^2), 'logistic', 'softmax', 'hinge', 'squared_hinge',
        'huber', 'quantile'. A sum over the samples.
    beta : float
        Regularisation, above 0. Has no default: it has the units of the loss's slope times X, so
        that no number suits all data. Give it or `beta_ratio`.
    beta_ratio : float
        beta as a fraction of `beta_max`, the least beta whose network is zero (glmnet's
        lambda / lambda_max): 1 gives the zero network, 1e-3 a close fit. beta_max is that of the
        gates in use (with gates='generate' of the first), and for robust_eps and for 'admm' on
        more than 128 columns a bound from above.
    gates : int, array_like of shape (P, d) or 'generate'
        How many gates to draw from N(0, I), duplicates left out (default 64); or their
        directions, with the intercept last; or: begin with 32 and add gates that the dual point
        violates until a search finds none ('conic' only).
    method : {'auto', 'conic', 'admm', 'gated', 'scp'}
        'conic': two-block ADMM with the cones in the prox; exactly feasible, certified. 'admm': the
        published splitting; good networks after a few iterations, low accuracy. 'gated': no cones;
        the network predicts with the fixed gates. 'scp': gates as fixed hidden units, a lasso on
        the output weights. 'auto' (default): 'conic' up to 100 columns, where cone projections are
        cheap; up to 400 columns 100 iterations of 'admm' before it, which find a good network
        first; 'admm' beyond, where projections would take longer than the training. The result's
        `method` says which.
    fit_intercept : bool
        Add a column of ones (penalised like the others). Default True: without it every neuron's
        edge passes through the origin.
    standardize : bool
        Train on centred columns of unit variance; the network takes unscaled X all the same.
        Default False: it changes the problem, for the penalty is on the scaled weights.
    sample_weight : array_like, shape (n,), optional
        Factors of the samples' losses.
    robust_eps : float or array_like, shape (d,)
        Adversarial training: the loss of each sample is its largest over the box of this half-width
        around it (in the units of X), and no neuron changes its side inside a box. For one output
        and the losses 'squared', 'logistic', 'hinge' and 'squared_hinge'. Default 0: no adversary.
    rho : float, optional
        Penalty parameter. Default: by rule from the data's scales, corrected a few times, which
        takes at most 1.7 times the iterations of the best of five on the benchmark's problems.
    tol : float
        Relative accuracy: of the residuals for 'admm', else of the gap. Default 1e-4, which Newton
        steps make about as cheap as 1e-3.
    gap_tol : float, optional
        Relative duality gap (fun - dual_fun) / fun to reach. Default: `tol`; 1e-2 for 'admm',
        which asks for it beside the residuals on up to 128 columns.
    maxiter : int, optional
        Default 5000, 1000 for 'admm'; squared losses mostly need a few hundred, hinge and quantile
        losses at a small beta thousands.
    maxtime : float, optional
        Seconds, gates and Gram matrix included, after which no new iteration begins. Default: none.
    warm_start : OptimizeResult or array_like, optional
        An earlier result with the same X and method, whose gates are used too; or weights.
    rng : int, Generator, optional
        Source of the gates.
    callback : callable, optional
        ``callback(intermediate_result)`` or ``callback(xk)``, once per iteration; the intermediate
        result holds the best network so far. A true answer or StopIteration ends the run.
    disp : bool
        Print progress.
    dtype : 'float64' (default) or 'float32'
        Type of the iterates; float32 takes half the memory, but a gap below 1e-4 then needs Newton
        steps. Objective and certificate are computed in float64.
    device : None, 'cpu' or 'cuda'
        Where to run. None: 'cuda' where X, y or sample_weight live on a CUDA device (arrays of
        PyTorch, CuPy, JAX), whose arrays the result then holds, else the CPU. See docs/cuda.md for
        what 'cuda' needs and does.
    threads : int, optional
        Threads of the core; the result does not depend on it. Default: all CPUs.
    record_history : bool
        Keep objective, dual value, residuals and time of each check.
    polish : bool
        Newton steps on the active blocks when they have settled. Default True.
    huber_delta : float
        Where 'huber' turns linear. Default 1.35: 95 % efficiency on normal errors of variance 1.
    quantile : float
        Level of 'quantile' in (0, 1). Default 0.5.
    comm : mpi4py communicator, torch.distributed group or `fastopt.distributed.Communicator`
        Processes (ranks) that solve one program together, with the iterates of one process to
        rounding. All call with the same arguments but for what `shard` says; the result is the same
        on all. For 'conic', 'gated' and, with ``shard='samples'``, 'scp' on the CPU; not with
        robust_eps or gates='generate'. Default None: this process alone.
    shard : {'gates', 'samples'}
        What each rank has its part of. 'gates' (default): X, y and sample_weight are the same on
        all ranks, which share the gates and the cone projections; needs the n x n system in memory.
        'samples': each rank passes rows of its own, X may be a part of a file that is mapped into
        memory; weights and the system of the columns, 'gates' times d, are on all ranks. Samples
        for n far above the number of weights, else gates.

    Returns
    -------
    OptimizeResult
        x (the program's weights), fun, dual_fun, gap = fun - dual_fun, relative_gap,
        constr_violation (largest -E_i x_j'v / (||x_j|| ||v||)), nit, status, success, message;
        W1, b1, W2, b2, n_neurons, network, predict, decision_function (both: the network's
        output); gates, theta (dual point, of the rank's samples), beta_max, method; history if
        asked for; generation for gates='generate'. status: 0 success; 1 maxiter or maxtime; 3 not
        finite; 99 callback.

    Raises
    ------
    ValueError
        For an argument that makes no sense, with what was expected.
    MemoryError
        When the arrays would not fit, before they are made.
    RuntimeError
        When a linear system cannot be factored in the precision of the iterates, as where X holds
        numbers of very different sizes; the error says what to change.

    Notes
    -----
    The certificate speaks of the gates in use. 'admm' on more than 128 columns returns weights that
    obey the cones only nearly; `fun` is then the value of the network itself, `dual_fun` a weaker
    bound (that of the program without cones), and success says that the residuals are small.

    References
    ----------
    Pilanci, Ergen, "Neural networks are convex regularizers", 2020. Bai, Gautam, Sojoudi,
    "Efficient global optimization of two-layer ReLU networks: quadratic-time algorithms and
    adversarial training", 2022. Mishkin, Sahiner, Pilanci, "Fast convex optimization for two-layer
    ReLU networks", 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import admm_relu
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> result = admm_relu(X, np.abs(X[:, 0]), beta=1e-3, gates=20, rng=1)
    >>> result.success, bool(result.relative_gap < 1e-4)
    (True, True)
    >>> bool(abs(result.predict([[0.5]])[0] - 0.5) < 0.01)
    True
    >>> zero = admm_relu(X, np.abs(X[:, 0]), beta_ratio=1, gates=20, rng=1)
    >>> zero.n_neurons, zero.beta == zero.beta_max, zero.nit
    (0, True, 0)
    """
    arguments = dict(locals())
    where = _device.home(X=X, y=y, sample_weight=sample_weight)
    module = _backend.module(_device.device_of(device, where), "admm_relu")
    with distributed.ranks(comm) as ranks:
        shares = Shares(ranks, shard)
        choice("method", method, METHODS)
        strength = _strength(beta, beta_ratio)
        key, data, settings = _read(module, arguments, shares)
        deadline = Deadline(settings.options["maxtime"], shares)
        if isinstance(gates, str):
            choice("gates", gates, ("generate",))
            if settings.method != "conic":
                raise ValueError(f"gates='generate' needs method='conic'; got method={method!r}.")
            if warm_start is not None:
                raise ValueError("gates='generate' makes its own warm starts; give no warm_start.")
            if data.radius is not None:
                raise ValueError("gates='generate' does not go with robust_eps: give a number.")
            if ranks is not None:
                raise ValueError("gates='generate' does not go with comm: give a number.")
            generated = _admm_gates.generate(data, settings, strength, key, deadline)
            return _device.placed(generated, where)
        warm, own = _read_warm_start(warm_start)
        chosen = own
        if chosen is None:
            chosen = _admm_gates.read_gates(module, gates, data, key, settings.threads)
        if own is not None and own.shape[1] != data.X.shape[1]:
            raise ValueError(
                f"warm_start comes from {own.shape[1]} columns; X has {data.X.shape[1]}, the "
                "intercept included."
            )
        engine = Engine(data, chosen, settings)
        wanted = int(np.prod(engine.shape))
        if warm is not None and warm.size != wanted:
            raise ValueError(f"warm_start must have {wanted} weights; got {warm.size}.")
        # The rule for rho judges the first iterations, which after a warm start are not typical.
        rho_start = -1.0
        if isinstance(warm_start, OptimizeResult) and warm_start.get("rho", 0.0) > 0:
            rho_start = float(warm_start["rho"])
        result = run_method(engine, strength.beta(engine), warm, method, deadline, rho_start)
        return _device.placed(result, where)


@suggest_names
def admm_relu_path(
    X: ArrayLike,
    y: ArrayLike,
    betas: ArrayLike | None = None,
    *,
    beta_ratios: ArrayLike | None = None,
    loss: str = "squared",
    gates: int | ArrayLike = 64,
    method: str = "auto",
    fit_intercept: bool = True,
    standardize: bool = False,
    sample_weight: ArrayLike | None = None,
    robust_eps: ArrayLike = 0.0,
    tol: float = 1e-4,
    gap_tol: float | None = None,
    maxiter: int | None = None,
    maxtime: float | None = None,
    rng: RandomSource = None,
    callback: Callable[..., Any] | None = None,
    dtype: Any = "float64",
    device: str | None = None,
    threads: int | None = None,
    huber_delta: float = 1.35,
    quantile: float = 0.5,
    comm: Any = None,
    shard: str = "gates",
) -> OptimizeResult:
    """Train networks for many values of beta with common gates, each from the one before.

    Parameters
    ----------
    X, y, loss, gates, method, fit_intercept, standardize, sample_weight, robust_eps, tol, \
gap_tol, maxiter, maxtime, rng, callback, dtype, device, threads, huber_delta, quantile, comm, shard
        As for `admm_relu`; `maxiter` holds for each beta, `maxtime` for all.
    betas : array_like
        Positive values; solved from the largest to the smallest.
    beta_ratios : array_like
        Instead of `betas`: fractions of `beta_max`, as `beta_ratio` of `admm_relu`.

    Returns
    -------
    OptimizeResult
        betas (in the order given, without those that a limit or the callback left unsolved), and
        for each of them fun, dual_fun, gap, n_neurons, nit, status (arrays) and results (a list of
        what `admm_relu` returns); success, message, gates.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import admm_relu_path
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> path = admm_relu_path(X, np.abs(X[:, 0]), [1e-3, 1e-1, 1e2], gates=20, rng=1)
    >>> [int(k) for k in path.n_neurons][-1], path.success
    (0, True)
    """
    arguments = dict(locals())
    where = _device.home(X=X, y=y, sample_weight=sample_weight)
    module = _backend.module(_device.device_of(device, where), "admm_relu")
    with distributed.ranks(comm) as ranks:
        shares = Shares(ranks, shard)
        choice("method", method, METHODS)
        if (betas is None) == (beta_ratios is None):
            raise ValueError("give betas or beta_ratios, one of the two.")
        name = "betas" if beta_ratios is None else "beta_ratios"
        given = numbers(name, betas if beta_ratios is None else beta_ratios)
        if given.ndim != 1 or given.size == 0:
            raise ValueError(f"{name} must be a non-empty vector; its shape is {given.shape}.")
        for value in given:
            real(name, value, above=0.0)
        key, data, settings = _read(module, {**_OF_A_PATH, **arguments}, shares)
        if isinstance(gates, str):
            raise ValueError(f"gates must be a number or an array for a path; got {gates!r}.")
        deadline = Deadline(settings.options["maxtime"], shares)
        chosen = _admm_gates.read_gates(module, gates, data, key, settings.threads)
        engine = Engine(data, chosen, settings)
        values = np.array([Strength(one, beta_ratios is not None).beta(engine) for one in given])
        results: dict[int, OptimizeResult] = {}
        solved: list[OptimizeResult] = []
        for index in np.argsort(-values, kind="stable"):
            beta = float(values[index])
            one = run_method(engine, beta, _ahead(solved[-2:], beta), method, deadline)
            results[int(index)] = one
            solved.append(one)
            if one.status == CALLBACK_STATUS or deadline.over:
                break
        done = [results[i] for i in sorted(results)]
        names = ("fun", "dual_fun", "gap", "relative_gap", "n_neurons", "nit", "status")
        path = OptimizeResult({name: np.array([one[name] for one in done]) for name in names})
        worst = next((one for one in done if not one.success), done[0])
        path.update(
            betas=values[sorted(results)],
            results=done,
            gates=chosen,
            success=len(done) == len(values) and all(one.success for one in done),
            message=worst.message
            if len(done) == len(values)
            else f"Stopped after {len(done)} of {len(values)} values: {worst.message}",
        )
        return _device.placed(path, where)


def _ahead(last: list[OptimizeResult], beta: float) -> Array | None:
    """Where to start: on the line through the last two solutions, for they bend little in beta."""
    if not last or not last[-1].x.any():
        return None
    near: Array = last[-1].x
    if len(last) < 2 or last[0].beta == last[1].beta:
        return near
    ahead: Array = near - last[0].x
    ahead *= (last[1].beta - beta) / (last[0].beta - last[1].beta)
    ahead += near
    return ahead


def _strength(beta: float | None, beta_ratio: float | None) -> Strength:
    """beta or beta_ratio, checked."""
    if (beta is None) == (beta_ratio is None):
        raise ValueError(
            f"give beta or beta_ratio, one of the two; got beta={short(beta)}, "
            f"beta_ratio={short(beta_ratio)}. "
            "beta_ratio=1e-3 is a close fit, beta_ratio=1 the zero network."
        )
    if beta is not None:
        return Strength(real("beta", beta, above=0.0), relative=False)
    return Strength(real("beta_ratio", beta_ratio, above=0.0), relative=True)


# What `admm_relu` may be told and `admm_relu_path` not.
_OF_A_PATH = {"rho": None, "disp": False, "record_history": False, "polish": True}


def _read(module: Any, given: dict[str, Any], shares: Shares) -> tuple[Key, TrainingData, Settings]:
    """The random key, the data and the settings of a call with these arguments, checked."""
    key = shares.key(given["rng"])
    shares.agree(**{**given, "rng": str(key)})
    data = read_data(
        given["X"],
        given["y"],
        given["loss"],
        given["sample_weight"],
        flag("fit_intercept", given["fit_intercept"]),
        flag("standardize", given["standardize"]),
        given["robust_eps"],
        shares,
    )
    return key, data, _settings(module, data, given)


def _settings(module: Any, data: TrainingData, given: dict[str, Any]) -> Settings:
    """The checked settings of one call."""
    method = resolve_method(given["method"], data.X.shape[1], data.radius is not None, data.shares)
    tol = real("tol", given["tol"], above=0.0)
    default = ADMM_GAP if method == "admm" else tol
    gap_tol = default if given["gap_tol"] is None else real("gap_tol", given["gap_tol"], above=0.0)
    options: dict[str, Any] = {
        "tol": tol,
        "gap_tol": gap_tol,
        "maxiter": MAXITER[method]
        if given["maxiter"] is None
        else integer("maxiter", given["maxiter"], 1),
        "maxtime": math.inf
        if given["maxtime"] is None
        else real("maxtime", given["maxtime"], above=0.0),
        "polish": flag("polish", given["polish"]),
        "record_history": flag("record_history", given["record_history"]),
    }
    if given["rho"] is not None:
        options["rho"] = real("rho", given["rho"], above=0.0)
    loss, parameter = given["loss"], 1.0
    delta = real("huber_delta", given["huber_delta"], above=0.0)
    level = real("quantile", given["quantile"], above=0.0, maximum=1.0)
    if level == 1.0:
        raise ValueError("quantile must lie between 0 and 1, got 1.")
    if loss == "huber":
        parameter = delta
    elif loss == "quantile":
        parameter = level
    threads = given["threads"]
    return Settings(
        module=module,
        loss=loss,
        parameter=parameter,
        method=method,
        dtype=read_dtype(given["dtype"]),
        options=options,
        threads=0 if threads is None else integer("threads", threads, 1, 4096),
        listener=None if given["callback"] is None else wrap_callback(given["callback"]),
        disp=flag("disp", given["disp"]),
    )


def _read_warm_start(warm: Any) -> tuple[Array | None, Array | None]:
    """(weights, gates) to start from."""
    if warm is None:
        return None, None
    if isinstance(warm, OptimizeResult):
        if "x" not in warm or "gates" not in warm:
            raise ValueError("warm_start must be a result of admm_relu, or an array of weights.")
        return numbers("warm_start.x", warm.x).copy(), numbers("warm_start.gates", warm.gates)
    array = numbers("warm_start", warm).copy().ravel()
    if not np.isfinite(array).all():
        raise ValueError("warm_start must be finite.")
    return array, None
