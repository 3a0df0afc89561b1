"""What is told once per iteration: the user's callback, printed lines, checkpoints."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from scipy.optimize import OptimizeResult

from ._problem import Array
from .distributed import Alone, Ranks


class Record(Protocol):
    """The core's record of one iteration."""

    nit: int
    nfev: int
    fun: float
    violation: float
    spread: float
    alpha: float
    step_size: float

    @property
    def x(self) -> Array: ...
    @property
    def consensus(self) -> Array: ...
    def state(self) -> dict[str, Any]: ...


UserCallback: TypeAlias = Callable[..., Any]
Listener: TypeAlias = Callable[[OptimizeResult], Any]

RETURNED_TRUE = "`callback` returned True."
RAISED = "`callback` raised `StopIteration`."
_ANSWERS = (None, RETURNED_TRUE, RAISED)


def wrap_callback(callback: UserCallback, second: str = "convergence") -> Listener:
    """One form for all: callback(*, intermediate_result), callback(xk), callback(xk, second).

    The form is found from the parameter names, as SciPy does; a callable without a signature is
    called with xk. `second` is 'convergence' of differential_evolution or 'state' of trust-constr,
    the whole intermediate result.
    """
    if not callable(callback):
        raise TypeError(f"callback must be callable; got {type(callback).__name__}.")
    try:
        parameters = inspect.signature(callback).parameters
    except (TypeError, ValueError):
        return lambda result: callback(result.x)
    if set(parameters) == {"intermediate_result"}:
        return lambda result: callback(intermediate_result=result)
    required, accepted = _positional(parameters.values())
    if required > 2 or accepted == 0:
        raise ValueError(
            f"callback must take (intermediate_result), (xk) or (xk, {second}); its parameters "
            f"are ({', '.join(parameters)})."
        )
    if second == "state":  # *args may stand before a callback(xk), in a wrapper
        if required == 2 or 2 <= accepted < math.inf:
            return lambda result: callback(result.x, result)
    elif accepted >= 2:
        return lambda result: callback(result.x, result.convergence)
    return lambda result: callback(result.x)


def _positional(parameters: Any) -> tuple[int, float]:
    """How many positional arguments a signature needs, and how many it accepts."""
    required, accepted = 0, 0.0
    for one in parameters:
        if one.kind is one.VAR_POSITIONAL:
            accepted = math.inf
        elif one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD):
            accepted += 1
            required += one.default is one.empty
    return required, accepted


@dataclass
class Base:
    """What earlier restarts of the same call have done."""

    nit: int = 0
    nfev: int = 0
    x: Array = field(default_factory=lambda: np.empty(0))
    fun: float = math.inf
    violation: float = math.inf


class Monitor:
    """Called by the core once per iteration; a true answer ends the run.

    With several ranks, `listens` says whether a callback of one of them does, and may end them all.
    """

    def __init__(
        self,
        listener: Listener | None,
        printer: Printer | None,
        keeper: Callable[[Record, Base], None] | None,
        tolerance: Callable[[float], float],
        group: Ranks | Alone,
        listens: bool,
    ) -> None:
        self._listener, self._printer, self._keeper = listener, printer, keeper
        self._tolerance, self._group, self._listens = tolerance, group, listens
        self.base = Base()
        self.stopped: str | None = None  # the message of the status that the callback caused

    def __call__(self, record: Record) -> bool:
        if self._keeper is not None:
            self._keeper(record, self.base)
        answer = 0
        if self._printer is not None or self._listener is not None:
            result = self._intermediate(record)
            if self._printer is not None:
                self._printer(result)
            if self._listener is not None:
                answer = self._ask(self._listener, result)
        if self._listens:
            self.stopped = _ANSWERS[int(self._group.most(answer))]
        return self.stopped is not None

    def _ask(self, listener: Listener, result: OptimizeResult) -> int:
        try:
            return _ANSWERS.index(RETURNED_TRUE) if listener(result) else 0
        except StopIteration:
            return _ANSWERS.index(RAISED)

    def _intermediate(self, record: Record) -> OptimizeResult:
        base = self.base
        earlier = (base.violation, base.fun) < (record.violation, record.fun)
        fun = base.fun if earlier else record.fun
        spread = record.spread
        allowed = self._tolerance(fun)
        return OptimizeResult(
            x=np.array(base.x if earlier else record.x, dtype=np.float64),
            fun=fun,
            nit=base.nit + record.nit,
            nfev=base.nfev + record.nfev,
            maxcv=base.violation if earlier else record.violation,
            spread=spread,
            convergence=1.0 if spread <= allowed else allowed / spread,
        )


class Printer:
    """disp=True: a header, then one line for iterations 1-10, 20, ..., 100, 200, ..."""

    _HEADER = f"{'iteration':>9} {'evaluations':>12} {'best value':>24} {'spread':>12}"

    def __init__(self) -> None:
        self._began = False

    def __call__(self, result: OptimizeResult) -> None:
        if not self._began:
            print(f"cbo\n{self._HEADER}")
            self._began = True
        nit = int(result.nit)
        if nit % 10 ** max(0, len(str(nit)) - 1) == 0:
            print(f"{nit:9d} {result.nfev:12d} {result.fun:24.16g} {result.spread:12.4g}")

    def finish(self, result: OptimizeResult) -> None:
        print(f"{result.message}\n{result.nit:9d} {result.nfev:12d} {result.fun:24.16g}")
