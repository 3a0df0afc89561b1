"""One run of the engine for given data and gates, and the result that it becomes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from . import _backend
from ._admm_data import ADMM_CONES, TrainingData, largest_system
from ._admm_network import gated_network, hidden_unit_network, relu_network
from ._admm_shares import Shares
from ._callback import RAISED, RETURNED_TRUE, Listener
from ._problem import Array

METHODS = ("auto", "conic", "admm", "gated", "scp")
MAXITER = {"conic": 5000, "admm": 1000, "gated": 5000, "scp": 5000}
ADMM_GAP = 1e-2  # gap_tol of 'admm' by default
CALLBACK_STATUS = 99
CONIC_LIMIT = 100  # auto: 'conic' up to this many columns
CERTIFY_LIMIT = 400  # auto: 'admm' and then 'conic' up to this many, 'admm' alone beyond
EARLY_ITERATIONS = 100  # of 'admm' in front of 'conic'


@dataclass(frozen=True)
class Settings:
    """Everything about a solve but the data and beta."""

    module: Any
    loss: str
    parameter: float
    method: str  # resolved: one of MAXITER
    dtype: str
    options: dict[str, Any]
    threads: int
    listener: Listener | None = None
    disp: bool = False


@dataclass(frozen=True)
class Strength:
    """The regularisation: beta, or a ratio to beta_max, known once the gates are."""

    value: float
    relative: bool

    def beta(self, engine: Engine) -> float:
        if not self.relative:
            return self.value
        top = engine.beta_max
        return self.value * top if top > 0 else self.value  # beta_max = 0: any beta gives 0


@dataclass
class Engine:
    """A program on given gates; the Gram matrix is kept from solve to solve."""

    data: TrainingData
    gates: Array  # (P, d)
    settings: Settings
    program: Any = field(init=False)
    units: Array = field(init=False)

    def __post_init__(self) -> None:
        s, data = self.settings, self.data
        n, d = data.X.shape
        outputs = data.n_outputs if data.radius is None else d  # slopes instead of values
        own = data.shares.own(self.gates)
        sizes = (n, d, len(own), outputs, s.method, np.dtype(s.dtype).itemsize)
        self._order = data.shares.least(largest_system(*sizes, _backend.device_memory(s.module)))
        X, Y, weights = data.X, data.Y, data.weights
        self.units = self.gates / np.linalg.norm(self.gates, axis=1, keepdims=True)
        if s.method == "scp":
            X = np.maximum(X @ self.units.T, 0.0)
            patterns = np.ones((1, n))
        else:
            patterns = s.module.gate_patterns(X, own, s.threads)
        if (
            s.loss == "squared" and weights is not None and data.radius is None
        ):  # sum s (f - y)^2: rows times sqrt(s)
            root = np.sqrt(weights)
            X, Y, weights = np.ascontiguousarray(X * root[:, None]), Y * root, None
        self.program = s.module.ReluProgram(
            X,
            patterns,
            Y,
            weights,
            s.loss,
            s.parameter,
            cone=s.method in ("conic", "admm"),
            signs=2 if s.method in ("conic", "admm") else 1,
            single_columns=s.method == "scp",
            radius=data.radius,
            threads=s.threads,
            ranks=data.shares.ranks,
            shard=data.shares.shard,
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the weights: (signs, outputs, gates, columns)."""
        d, c, p = self.data.X.shape[1], self.data.n_outputs, len(self.gates)
        if self.settings.method == "scp":
            return 1, c, 1, p
        return (2 if self.settings.method in ("conic", "admm") else 1), c, p, d

    @property
    def beta_max(self) -> float:
        """The least beta of the zero network; kept by the program, so a solve gets it for nothing.

        For 'admm' on many columns the bound from above without the cones, as in its result.
        """
        cones = self.settings.method != "admm" or self.data.X.shape[1] <= ADMM_CONES
        return float(self.program.beta_max(cones))

    def solve(
        self, beta: float, warm: Array | None = None, kind: str | None = None, **changed: Any
    ) -> dict[str, Any]:
        """The engine's raw answer; `kind` is 'splitting' or 'paper'."""
        s = self.settings
        options = s.module.AdmmOptions()
        options.max_dense = self._order
        for name, value in {**s.options, **changed}.items():
            setattr(options, name, value)
        if kind is None:
            kind = "paper" if s.method == "admm" else "splitting"
        shares, monitor = self.data.shares, None
        heard = shares.any(s.listener is not None)
        if heard or shares.any(s.disp):
            monitor = Monitor(self, beta, s.listener, s.disp, heard)
        if warm is not None:
            warm = shares.own(warm.reshape(self.shape), axis=2).ravel()
        raw: dict[str, Any] = self.program.solve(kind, beta, s.dtype, options, warm, monitor)
        raw["weights"] = shares.whole(raw["weights"], self.shape)
        raw["stopped"] = None if monitor is None else monitor.stopped
        return raw

    def network(self, weights: Array) -> Any:
        data, shaped = self.data, np.asarray(weights).reshape(self.shape)
        if self.settings.method == "scp":
            return hidden_unit_network(shaped, self.units, data.scaling, data.one_output)
        if self.settings.method == "gated":
            return gated_network(shaped, self.gates, data.scaling, data.one_output)
        return relu_network(shaped, data.scaling, data.one_output)

    def result(self, raw: dict[str, Any], beta: float, method: str) -> OptimizeResult:
        """SciPy's result with the network in it."""
        fun, dual = float(raw["fun"]), float(raw["dual_fun"])
        out = OptimizeResult(
            x=np.array(raw["weights"]),
            fun=fun,
            dual_fun=dual,
            gap=fun - dual,
            relative_gap=_relative(fun, dual),
            constr_violation=float(raw["violation"]),
            success=bool(raw["success"]),
            status=int(raw["status"]),
            message="",
            nit=int(raw["nit"]),
            method=method,
            beta=beta,
            beta_max=float(raw["beta_max"]),
            penalty=float(raw["penalty"]),
            rho=float(raw["rho"]),
            newton_steps=int(raw["newton_steps"]),
            factorisations=int(raw["factorisations"]),
            gates=self.gates,
            theta=np.array(raw["theta"]).reshape(-1, len(self.data.X))
            if raw["theta"].size
            else None,
        )
        out.message = _message(raw, out, self.settings)
        if raw["stopped"] is not None:
            out.update(success=False, status=CALLBACK_STATUS, message=raw["stopped"])
        if "history" in raw:
            out.history = raw["history"]
        add_network(out, self.network(raw["weights"]))
        return out


def add_network(out: OptimizeResult, network: Any) -> None:
    out.network = network
    if hasattr(network, "W1"):
        out.update(W1=network.W1, b1=network.b1, W2=network.W2, b2=network.b2)
        out.n_neurons = len(network.b1)
    else:
        out.n_neurons = int((np.abs(network.W).sum(axis=(0, 2)) > 0).sum())
    out.predict = out.decision_function = network.predict


def _relative(fun: float, dual: float) -> float:
    if fun == dual:
        return 0.0
    return (fun - dual) / abs(fun) if fun != 0 else math.inf


def _message(raw: dict[str, Any], out: OptimizeResult, settings: Settings) -> str:
    gap = f"{out.relative_gap:.1e}"
    if raw["reason"] == "converged" and out.nit == 0 and not out.x.any():
        return (
            f"Optimization terminated successfully: beta >= beta_max = {out.beta_max:.6g}, so the "
            "zero network is optimal. Lower beta to get another one."
        )
    if raw["reason"] == "converged" and settings.method == "admm":
        return (
            "Optimization terminated successfully: the residuals are at most tol; the relative "
            f"duality gap is {gap}."
        )
    if raw["reason"] == "converged":
        return f"Optimization terminated successfully: the relative duality gap is {gap}."
    if raw["reason"] == "maxiter":
        return (
            f"Maximum number of iterations has been exceeded; the relative duality gap is {gap}. "
            "Raise maxiter or gap_tol."
        )
    if raw["reason"] == "maxtime":
        return f"The time limit maxtime was reached; the relative duality gap is {gap}."
    if raw["reason"] == "callback":  # not this rank's, whose words come later
        return "`callback` ended the run on another rank."
    return (
        "The iterates are not finite. Scale X (standardize=True), raise beta, or use "
        "dtype='float64'."
    )


class Monitor:
    """Called by the engine once per iteration; a true answer ends the run."""

    _HEADER = f"{'iteration':>9} {'objective':>22} {'dual':>22} {'gap':>9}"

    def __init__(
        self, engine: Engine, beta: float, listener: Listener | None, disp: bool, heard: bool
    ) -> None:
        self._engine, self._beta, self._listener, self._disp = engine, beta, listener, disp
        self._heard = heard  # a listener on any rank
        self.stopped: str | None = None
        if disp:
            print(f"admm_relu: {engine.settings.method}\n{self._HEADER}")

    def __call__(self, record: Any) -> bool:
        if self._disp and record.nit % 10 ** max(1, len(str(record.nit)) - 1) == 0:
            gap = _relative(record.fun, record.dual_fun)
            print(f"{record.nit:9d} {record.fun:22.14g} {record.dual_fun:22.14g} {gap:9.1e}")
        if not self._heard:
            return False
        weights = self._engine.data.shares.whole(record.weights, self._engine.shape)
        if self._listener is None:
            return False
        partial = OptimizeResult(
            x=weights,
            fun=record.fun,
            dual_fun=record.dual_fun,
            gap=record.fun - record.dual_fun,
            relative_gap=_relative(record.fun, record.dual_fun),
            nit=record.nit,
            nfev=record.nit,
            primal_residual=record.primal_residual,
            dual_residual=record.dual_residual,
            convergence=0.0,
            beta=self._beta,
            gates=self._engine.gates,
        )
        add_network(partial, self._engine.network(weights))
        try:
            if self._listener(partial):
                self.stopped = RETURNED_TRUE
        except StopIteration:
            self.stopped = RAISED
        return self.stopped is not None


class Deadline:
    """What is left of a time limit, for one solve after another; each may begin one iteration."""

    def __init__(self, limit: float, shares: Shares) -> None:
        self._shares = shares  # the time is over for all when it is for one
        self.limited = limit < math.inf
        self._end = self.now() + limit

    @staticmethod
    def now() -> float:
        return time.monotonic()

    @property
    def left(self) -> float:
        return max(self._end - self.now(), 1e-3)

    @property
    def over(self) -> bool:
        return self.limited and self._shares.any(self.now() >= self._end)


def run_method(
    engine: Engine,
    beta: float,
    warm: Array | None,
    asked: str,
    deadline: Deadline,
    rho_start: float = -1.0,
) -> OptimizeResult:
    """'auto' on wide data begins with the published splitting, which is quick to good networks."""
    s, d = engine.settings, engine.data.X.shape[1]
    wide = d > CONIC_LIMIT and engine.data.radius is None
    if asked == "auto" and s.method == "conic" and wide and warm is None:
        early = engine.solve(beta, None, "paper", maxiter=EARLY_ITERATIONS, maxtime=deadline.left)
        if early["stopped"] is not None:
            return engine.result(early, beta, "admm")
        raw = engine.solve(beta, early["weights"], maxtime=deadline.left)
        raw["nit"] += early["nit"]
        return engine.result(raw, beta, "admm+conic")
    raw = engine.solve(beta, warm, maxtime=deadline.left, rho_start=rho_start)
    return engine.result(raw, beta, s.method)


def resolve_method(method: str, d: int, robust: bool, shares: Shares) -> str:
    """What 'auto' stands for with d columns."""
    if shares.ranks is not None:
        return _shared_method(method, d, robust, shares.shard)
    if robust and method not in ("auto", "conic"):
        raise ValueError(f"robust_eps needs method='conic' or 'auto'; got {method!r}.")
    if method != "auto":
        return method
    if robust:
        return "conic"
    return "conic" if d <= CERTIFY_LIMIT else "admm"


def _shared_method(method: str, d: int, robust: bool, shard: str) -> str:
    """The same for ranks that share a program."""
    if robust:
        raise ValueError("robust_eps does not go with comm: train on one process.")
    if method == "auto" and d > CONIC_LIMIT:
        raise ValueError(
            f"method='auto' begins with 'admm' on more than {CONIC_LIMIT} columns (X has {d}, the "
            "intercept included), which does not go with comm: ask for 'conic' or 'gated'."
        )
    if method == "admm" or (method == "scp" and shard == "gates"):
        raise ValueError(
            f"method={method!r} does not go with comm and shard={shard!r}: take 'conic' or 'gated'"
            + (", or 'scp' with shard='samples'." if method == "scp" else ".")
        )
    return "conic" if method == "auto" else method
