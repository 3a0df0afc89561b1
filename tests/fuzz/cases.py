"""Calls of every public function with arguments chosen by a fuzzer, and what their results must be.

A case ends well, in a documented error, or in a Finding.
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import LinearConstraint, NonlinearConstraint
from values import Bytes, imported, weird

import fastopt
from fastopt import _checkpoint

DOCUMENTED = (ValueError, TypeError, MemoryError, OSError)


class Enough(Exception):
    """Raised by an objective that was asked too often; it must come back unchanged."""


class Finding(AssertionError):
    """Something that must not happen."""


def require(holds: Any, what: str) -> None:
    if not bool(holds):
        raise Finding(what)


def limited(function: Callable[..., Any], calls: int = 300) -> Callable[..., Any]:
    counter = itertools.count()

    def counted(*args: Any) -> Any:
        if next(counter) >= calls:
            raise Enough
        return function(*args)

    return counted


# ---- what a result must stand --------------------------------------------------------------------


def honest_minimum(result: Any, fun: Callable[..., Any], box: Any = None) -> None:
    require(result.success == (result.status == 0), "success and status disagree")
    require(isinstance(result.message, str) and result.message, "no message")
    x = np.asarray(result.x)
    require(not (result.success and np.isnan(result.fun)), "fun is NaN, but success")
    if box is not None:
        require(((x >= box[:, 0]) & (x <= box[:, 1])).all(), "x lies outside the bounds")
    if result.success:
        value = fun(x)
        near = abs(result.fun - value) <= 1e-6 * max(1.0, abs(value)) or result.fun == value
        require(near, f"fun is {result.fun}, but {value} at x")


def honest_network(result: Any, X: np.ndarray, y: np.ndarray, plain: bool) -> None:
    require(result.success == (result.status == 0), "success and status disagree")
    require(np.isfinite(result.x).all() or not result.success, "x is not finite, but success")
    if not result.success:
        return
    require(result.dual_fun <= result.fun * (1 + 1e-12) + 1e-300, "the dual exceeds the primal")
    require(np.isfinite(result.fun), "fun is not finite, but success")
    # Squared loss, no weights, no adversary: what the network itself costs. Where a column is below
    # the rounding of another, its predictions cannot say.
    if plain and np.abs(X).max() <= 1e12:
        value = 0.5 * ((result.predict(X).reshape(y.shape) - y) ** 2).sum()
        value += result.beta * result.penalty
        require(abs(value - result.fun) <= 1e-6 * abs(value) + 1e-12 * (1 + (y**2).sum()),
                f"fun is {result.fun}, but the network costs {value}")  # fmt: skip


# ---- cases ---------------------------------------------------------------------------------------

BASE = np.round(np.random.default_rng(0).standard_normal((12, 3)) * 4) / 4
SIGNS = np.where(BASE[:, 0] + BASE[:, 1] > 0, 1.0, -1.0)
BOX = np.array([(-2.0, 2.0)] * 3)


def bowl(x: Any) -> float:
    return float(((x - 0.25) ** 2).sum() + x[0] * x[-1] / 4)


def bowl_jac(x: Any) -> Any:
    gradient = 2 * (x - 0.25)
    gradient[0] += x[-1] / 4
    gradient[-1] += x[0] / 4
    return gradient


def mutated(source: Bytes, function: Any, given: dict[str, Any], fixed: Any = ()) -> dict[str, Any]:
    """`given` with up to three arguments replaced by anything, or by a plausible value."""
    names = [
        one.name for one in inspect.signature(function).parameters.values()
        if one.kind is not one.VAR_KEYWORD and one.name not in fixed
    ]  # fmt: skip
    changed = {source.pick(names): weird(source) for _ in range(1 + source.below(3))}
    return {**given, **changed}


def options_of_cbo(source: Bytes) -> None:
    function = limited(bowl)
    given = {"func": function, "bounds": BOX.tolist(), "rng": 1}
    dynamics = source.pick(("hybrid", "anisotropic", "memory", "hopping", "sampling", "polarized"))
    if dynamics != "hybrid":
        given |= {"dynamics": dynamics, "n_particles": 6, "maxiter": 4}
    given = mutated(source, fastopt.cbo, given, ("checkpoint", "resume"))
    result = fastopt.cbo(**given)
    known = given["func"] is function and {"args", "vectorized", "workers"}.isdisjoint(given)
    if known and given["bounds"] == BOX.tolist() and np.ndim(result.fun) == 0:
        honest_minimum(result, bowl, BOX)


def options_of_native_cbo(source: Bytes) -> None:
    given = {"func": fastopt.problems.rastrigin(3), "bounds": BOX.tolist(), "rng": 1}
    given = mutated(source, fastopt.cbo, given, ("maxtime", "func", "runs", "checkpoint", "resume"))
    if given.get("restarts"):
        given["restarts"] = source.pick((1, 2, -1, 1.5))
    result = fastopt.cbo(**given, maxtime=0.05)
    if given["bounds"] == BOX.tolist():
        honest_minimum(result, lambda x: float(fastopt.problems.rastrigin(3)(x)), BOX)


def answers_of_objectives(source: Bytes) -> None:
    """What user code returns, each time something else."""
    answers = [weird(source, 1) if source.chance(3) else source.real() for _ in range(6)]
    cycle = itertools.cycle(answers)
    fun = limited(lambda x: next(cycle))
    if source.chance(2):
        dynamics = source.pick(("hybrid", "anisotropic", "hopping", "polarized"))
        given = {} if dynamics == "hybrid" else {"n_particles": 5, "maxiter": 5}
        result = fastopt.cbo(fun, BOX, dynamics=dynamics, rng=1, **given)
        honest = ((result.x >= -2) & (result.x <= 2)).all() and not np.isnan(result.fun)
        require(honest or not result.success, "success, but no point of the box or no value")
        return
    jac = limited(lambda x: next(cycle) if source.chance(2) else bowl_jac(x))
    given = {"jac": jac, "maxiter": 20}
    if source.chance(2):
        given["hess"] = lambda x: next(cycle)
    result = fastopt.sketch_newton(fun, [0.5, -0.5, 1.0], **given)
    require(np.isfinite(result.x).all(), "x is not finite")


def options_of_newton(source: Bytes) -> None:
    function = limited(bowl)
    given = {"fun": function, "x0": [0.5, -0.5, 1.0], "jac": bowl_jac, "maxiter": 30}
    if source.chance(2):
        given["constraints"] = LinearConstraint(np.ones((1, 3)), 1.0, 1.0)
    names = ("fun", "jac", "x0", "constraints")
    given = mutated(source, fastopt.sketch_newton, given, () if source.chance(4) else names)
    result = fastopt.sketch_newton(**given)
    if not result.success or given["fun"] is not function or given["jac"] is not bowl_jac:
        return
    if result.x.size == 3 and "args" not in given:
        honest_minimum(result, bowl)
        gradient, c = bowl_jac(result.x), np.zeros(1)
        if isinstance(given.get("constraints"), LinearConstraint):
            gradient, c = gradient + result.v[0][0], np.array([result.x.sum() - 1])
        tol = given.get("tol") or 1e-8
        require(np.abs(gradient).max() <= tol * 1.001 * max(1.0, np.abs(bowl_jac(result.x)).max())
                and np.abs(c).max() <= tol * 1.001, "success, but no KKT point")  # fmt: skip


def linear_equalities(source: Bytes) -> None:
    """Rows of any numbers: feasible, redundant, inconsistent, tiny, huge."""
    n, m = 3, 1 + source.below(4)
    A = np.array([[source.real() for _ in range(n)] for _ in range(m)])
    b = np.array([source.real() for _ in range(m)]) if source.chance(2) else A @ np.ones(n)
    if source.chance(3) and m > 1:
        A[1], b[1] = A[0], b[0]
    if source.chance(4):
        flat = np.zeros((3, 3))
        limits = NonlinearConstraint(lambda x: A @ x, b, b, lambda x: A, lambda x, v: flat)
    else:
        limits = LinearConstraint(A, b, b)
    solver = source.pick(("auto", "ldl", "minres", "nystrom-pcg"))
    if source.chance(64):
        solver = source.pick(("kaczmarz", "block"))  # which take seconds where they fail
    result = fastopt.sketch_newton(limited(bowl), np.zeros(3), jac=bowl_jac, constraints=limits,
                                   linear_solver=solver, maxiter=50)  # fmt: skip
    require(np.isfinite(result.x).all(), "x is not finite")
    if result.success:
        gradient = bowl_jac(result.x)
        dual = np.abs(gradient + A.T @ result.v[0]).max()
        wide = 1e-8 * max(1.0, np.abs(gradient).max())
        wide += 1e-13 * (np.abs(A.T) @ np.abs(result.v[0])).max()
        require(dual <= wide, f"success, but the gradient of the Lagrangian is {dual}")
        gap = np.abs(A @ result.x - b).max()
        require(gap <= 1.001e-8 + 1e-13 * (np.abs(A) @ np.abs(result.x)).max(),
                f"success, but the constraints are off by {gap}")  # fmt: skip


def options_of_networks(source: Bytes) -> None:
    y = SIGNS if source.chance(2) else BASE[:, 2]
    given = {"X": BASE, "y": y, "beta": 0.1, "gates": 4, "rng": 1, "maxiter": 50}
    given = mutated(source, fastopt.admm_relu, given, ("maxtime",))
    result = fastopt.admm_relu(**given, maxtime=1.0)
    plain = given["X"] is BASE and given["y"] is y and given.get("loss", "squared") == "squared"
    fixed = {"sample_weight", "robust_eps", "method", "dtype"}.isdisjoint(given)
    honest_network(result, BASE, y, plain and fixed)


def data_of_networks(source: Bytes) -> None:
    n, d = 1 + source.below(9), 1 + source.below(4)
    X = np.array([source.real() for _ in range(n * d)]).reshape(n, d)
    if source.chance(2):
        X = source.tame((n, d)) * 10.0 ** (source.below(13) - 6)
    y = np.array([source.real() for _ in range(n)]) if source.chance(2) else source.tame(n)
    X = np.where(np.isfinite(X), np.clip(X, -1e130, 1e130), 1.0)
    y = np.where(np.isfinite(y), np.clip(y, -1e130, 1e130), 1.0)
    beta = 10.0 ** (source.below(40) - 20)
    method = source.pick(("auto", "conic", "admm", "gated", "scp"))
    result = fastopt.admm_relu(X, y, beta=beta, gates=1 + source.below(6), method=method, rng=1,
                               maxiter=60, fit_intercept=source.chance(2),
                               standardize=source.chance(4))  # fmt: skip
    honest_network(result, X, y, method in ("auto", "conic"))


def options_of_paths(source: Bytes) -> None:
    given = {"X": BASE, "y": BASE[:, 2], "betas": [1.0, 0.1], "gates": 4, "rng": 1, "maxiter": 30}
    result = fastopt.admm_relu_path(**mutated(source, fastopt.admm_relu_path, given, ("maxtime",)),
                                    maxtime=1.0)  # fmt: skip
    require(len(result.results) == len(result.betas), "as many results as betas")


def least_squares(source: Bytes) -> None:
    rows, n = 4 + source.below(12), 1 + source.below(4)
    A = np.array([source.real() for _ in range(rows * n)]).reshape(rows, n)
    if source.chance(2):
        A = source.tame((rows, n)) * 10.0 ** np.linspace(0, -source.below(16), n)
    b = source.tame(rows) * 10.0 ** (source.below(200) - 100)
    given = {"A": A, "b": b}
    if source.chance(2):
        given = mutated(source, fastopt.lstsq, given)
    result = fastopt.lstsq(**given)
    if not result.success or given["A"] is not A or given["b"] is not b or "rcond" in given:
        return
    with np.errstate(all="ignore"):
        residual = A @ result.x - b
        worst = np.abs(A.T @ residual).max()
        size = np.linalg.norm(A)
        size *= size * np.linalg.norm(result.x) + np.linalg.norm(b)
    require(np.isfinite(result.x).all(), "x is not finite, but success")
    require(worst <= 1e-8 * size + 1e-290, f"success, but A'r is {worst} beside {size}")


def train(X: Any, y: Any, gates: Any = 3, **options: Any) -> Any:
    given = {"beta": 0.5, "gates": gates, "rng": 0, "fit_intercept": False}
    return fastopt.admm_relu(X, y, **{**given, **options})


def search(bounds: Any, **options: Any) -> Any:
    return fastopt.cbo(bowl, bounds, **{"rng": 0, "maxiter": 2, **options}).x


def newton_from(x0: Any) -> Any:
    return fastopt.sketch_newton(bowl, x0, jac=bowl_jac, maxiter=3).x


NETWORK = train(BASE, SIGNS, beta=0.1)
ONES, START = np.ones(12), np.full(3, 1.5)
GLM, Gram = fastopt.problems.GLM, fastopt.problems.WeightedGram
IMPORTS: dict[str, tuple[np.ndarray, Callable[[Any], Any]]] = {
    "A of sketch": (BASE, lambda v: fastopt.sketch(v, 6, rng=0)),
    "scale of sketch": (SIGNS, lambda v: fastopt.sketch(BASE, 5, scale=v, rng=0)),
    "x of SketchOperator": (SIGNS, lambda v: fastopt.SketchOperator(5, 12, rng=0) @ v),
    "x of its adjoint": (SIGNS, lambda v: fastopt.SketchOperator(12, 5, rng=0).rmatvec(v)),
    "A of lstsq": (BASE, lambda v: fastopt.lstsq(v, SIGNS).x),
    "b of lstsq": (SIGNS, lambda v: fastopt.lstsq(BASE, v).x),
    "A of GLM": (BASE, lambda v: GLM(v, SIGNS).jac(START)),
    "y of GLM": (SIGNS, lambda v: GLM(BASE, v).jac(START)),
    "weights of GLM": (ONES, lambda v: GLM(BASE, SIGNS, sample_weight=v).fun(START)),
    "A of WeightedGram": (BASE, lambda v: Gram(v, ONES).toarray()),
    "w of WeightedGram": (SIGNS, lambda v: Gram(BASE, v).toarray()),
    "R of WeightedGram": (BASE[:3], lambda v: Gram(BASE, SIGNS, v).toarray()),
    "X of admm_relu": (BASE, lambda v: train(v, SIGNS).x),
    "y of admm_relu": (SIGNS, lambda v: train(BASE, v).x),
    "gates": (BASE[:4], lambda v: train(BASE, SIGNS, v).x),
    "warm_start": (np.zeros(24), lambda v: train(BASE, SIGNS, BASE[:4], warm_start=v).x),
    "sample_weight": (ONES, lambda v: train(BASE, SIGNS, sample_weight=v).x),
    "robust_eps": (START / 9, lambda v: train(BASE, SIGNS, robust_eps=v).x),
    "bounds": (BOX, lambda v: search(v, maxfev=40)),
    "x0 of cbo": (START, lambda v: search(BOX, x0=v)),
    "init": (BASE, lambda v: search(BOX, init=v, dynamics="memory")),
    "x0 of sketch_newton": (START, newton_from),
    "x of predict": (BASE, lambda v: NETWORK.predict(v)),
    "x of a problem": (START, lambda v: fastopt.problems.ackley(3)(v)),
}


def array_import(source: Bytes) -> None:
    """The same numbers in any form give the same answer; other shapes and numbers an error."""
    values, call = IMPORTS[source.pick(list(IMPORTS))]
    if source.chance(4):
        shape = tuple(source.below(14) for _ in range(source.below(4)))
        values = source.tame(shape)
    if values.size and source.chance(3):
        values = values.copy()
        values.flat[source.below(values.size)] = source.real()
    try:
        expected = np.asarray(call(values.copy())).tobytes()
    except DOCUMENTED:
        expected = None
    with np.errstate(all="ignore"):
        given = imported(source, values.copy())
    answer = call(given)
    if expected is None or type(given) not in (np.ndarray, list):
        return
    array = np.asarray(given)
    same = array.dtype.kind in "fiu" and array.dtype.itemsize != 4 and array.shape == values.shape
    if same and (array == values).all():
        require(np.asarray(answer).tobytes() == expected, "another form, another answer")


# ---- checkpoints ---------------------------------------------------------------------------------

KINDS: tuple[tuple[dict[str, Any], int], ...] = (
    ({"dynamics": "hybrid"}, 2),
    ({"dynamics": "hybrid"}, 40),
    ({"dynamics": "anisotropic", "n_particles": 8, "batch_size": 3}, 3),
    ({"dynamics": "memory", "n_particles": 6, "record_history": True}, 3),
    ({"dynamics": "polarized", "n_particles": 6}, 3),
    ({"dynamics": "hopping", "n_particles": 6, "restarts": 1, "maxiter": 5}, 7),
    ({"dynamics": "sampling", "n_particles": 6, "samples": True, "alpha": 1.0}, 3),
)
FOLDER = tempfile.TemporaryDirectory(prefix="fastopt-fuzz-")
os.fsync = lambda file: None  # these files are thrown away, and disks are slow


def checkpoint_of(kind: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], bytes]:
    """Options, arrays, fingerprint and bytes of a good file."""
    if kind not in _GOOD:
        given, nit = KINDS[kind]
        given = {"rng": 3, "maxiter": nit + 6, "polish": False, **given}
        path = Path(FOLDER.name) / f"good{kind}"
        fastopt.cbo(bowl, BOX, checkpoint=path, checkpoint_every=0,
                    callback=lambda intermediate_result: intermediate_result.nit >= nit,
                    **given)  # fmt: skip
        with np.load(path) as file:
            problem = json.loads(str(file["problem"]))
        _GOOD[kind] = given, _checkpoint.load(path, None), problem, path.read_bytes()
    return _GOOD[kind]


_GOOD: dict[int, Any] = {}


def checkpoints(source: Bytes) -> None:
    given, good, problem, whole = checkpoint_of(source.below(len(KINDS)))
    path = Path(FOLDER.name) / "mutated"
    if source.chance(4):  # a damaged archive
        content = bytearray(whole)
        for _ in range(1 + source.below(4)):
            content[source.below(len(content))] = source.below(256)
        if source.chance(3):
            content = content[: source.below(len(content))]
        path.write_bytes(bytes(content))
    else:  # a whole one, of damaged numbers
        arrays = dict(good)
        for _ in range(1 + source.below(3)):
            name = source.pick(sorted(arrays))
            arrays[name] = damaged(source, arrays[name])
            if arrays[name] is None:
                del arrays[name]
        try:
            _checkpoint.save(path, arrays, problem)
        except (ValueError, TypeError):  # what npz does not hold
            return
    result = fastopt.cbo(limited(bowl, 3000), BOX, resume=path, maxtime=2.0, **given)
    x = np.asarray(result.x)
    inside = x.shape == (3,) and ((x >= -2) & (x <= 2)).all()
    require(inside or not result.success, f"success at {x}, outside the bounds")


def damaged(source: Bytes, value: np.ndarray) -> Any:
    how = source.below(10)
    flat = np.array(value).ravel()
    if how == 0:
        return None
    if how == 1:
        return flat[: source.below(flat.size + 1)]
    if how == 2:
        return np.concatenate([flat, flat])
    if how == 3 or not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        return weird(source, 1)
    if how == 4:
        return value.reshape((1, *value.shape))
    if how == 5:
        return value.astype(source.pick(("f4", ">f8", "i8", "u1", "c16", "S8")))
    changed = np.array(value)
    with np.errstate(all="ignore"):
        for _ in range(1 + source.below(3)):
            if changed.size:
                at = source.below(changed.size)
                number = source.real()
                if value.dtype.kind != "f":
                    number = source.pick((0, 1, -1, 2, 7, 2**31 - 1, 2**31, 2**53, 2**62, -(2**62)))
                changed.flat[at] = np.array(number).astype(value.dtype)
    return changed


CASES = (
    array_import, array_import, checkpoints, options_of_cbo, options_of_native_cbo,
    answers_of_objectives, options_of_newton, linear_equalities, options_of_networks,
    data_of_networks, options_of_paths, least_squares,
)  # fmt: skip
