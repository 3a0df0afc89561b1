"""Logistic regression under equality constraints: sketch_newton beside trust-constr and SLSQP.

Two problems with equalities that somebody wants:

- scikit-learn's breast cancer data, standardised: the mean score is to be the same for the tumours
  of coarse and of fine texture, and the coefficients are to sum to zero.
- Synthetic data of the size and kind of LIBSVM's a9a, 14 categorical variables in 123 indicator
  columns: the coefficients of each variable are to sum to zero (which makes them unique), and the
  mean score is to be the same in the two groups of the variable with two levels.

All three solvers get the same functions: value and gradient from `fastopt.problems.GLM`, the
Hessian too where they take one (trust-constr as a dense array). KKT residuals are recomputed here
for all of them in the same way, from the gradient and the least-squares multipliers, at each
iterate that the solver showed its callback.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import LinearConstraint, OptimizeResult, minimize

from ._problem import Array
from ._sketch_newton import sketch_newton
from .problems import GLM

TITLE = "sketch_newton: fair and identifiable logistic regression beside trust-constr and SLSQP"
REQUIRES = ("sklearn",)

TOL = 1e-8  # the KKT residual asked of sketch_newton and trust-constr
LIMIT = 20.0  # seconds for one run: later iterates end it
A9A_ROWS = 32_561
A9A_LEVELS = (5, 8, 5, 16, 5, 7, 14, 6, 5, 2, 2, 2, 5, 41)  # of 14 variables: 123 columns
A9A_GROUPS = 9  # the variable whose two levels are the groups
OURS, TRUST, SLSQP = "sketch_newton", "trust-constr", "SLSQP"


# ---- problems ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """min f(x) subject to C x = 0, C (m, n)."""

    name: str
    wanted: str
    model: GLM
    C: Array

    def kkt(self, x: Array) -> tuple[float, float]:
        """|grad f + C'v|_inf with the least-squares v, and |C x|_inf."""
        gradient = self.model.jac(x)
        v = np.linalg.lstsq(self.C.T, -gradient, rcond=None)[0]
        dual = float(np.abs(gradient + self.C.T @ v).max())
        return dual, float(np.abs(self.C @ x).max())


def equal_mean_score(A: Any, group: npt.NDArray[np.bool_]) -> Array:
    """The row c with c'x = mean score in the group - mean score outside it."""
    inside, outside = A[np.flatnonzero(group)], A[np.flatnonzero(~group)]
    row: Array = np.asarray(inside.mean(axis=0)).ravel() - np.asarray(outside.mean(axis=0)).ravel()
    return row


def breast_cancer() -> Problem:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    A = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    texture = data.data[:, list(data.feature_names).index("mean texture")]
    C = np.vstack([equal_mean_score(A, texture > np.median(texture)), np.ones(A.shape[1])])
    wanted = "equal mean score for coarse and fine texture; coefficients sum to 0"
    return Problem("breast_cancer", wanted, GLM(A, data.target, "logistic", l2=1e-3), C)


def a9a_like(seed: int, rows: int = A9A_ROWS) -> Problem:
    rng = np.random.default_rng(seed)
    first = np.cumsum((0, *A9A_LEVELS))
    n = int(first[-1])
    columns = np.empty((rows, len(A9A_LEVELS)), dtype=np.int64)
    for k, levels in enumerate(A9A_LEVELS):
        share = rng.dirichlet(np.full(levels, 2.0))
        columns[:, k] = first[k] + rng.choice(levels, rows, p=share)
    pointers = np.arange(0, columns.size + 1, len(A9A_LEVELS))
    A = sp.csr_array((np.ones(columns.size), columns.ravel(), pointers), shape=(rows, n))
    score = A @ rng.standard_normal(n) + rng.logistic(size=rows)
    y = np.where(score > np.quantile(score, 0.76), 1.0, -1.0)  # a9a has 24 % of the one class
    C = np.zeros((len(A9A_LEVELS) + 1, n))
    for k in range(len(A9A_LEVELS)):
        C[k, first[k] : first[k + 1]] = 1.0
    group = columns[:, A9A_GROUPS] == first[A9A_GROUPS]
    C[-1] = equal_mean_score(A, group)
    wanted = "equal mean score in two groups; coefficients of each variable sum to 0"
    return Problem("a9a-sized", wanted, GLM(A, y, "logistic", l2=1e-6), C)


# ---- solvers -----------------------------------------------------------------------------------


def _constraint(problem: Problem) -> LinearConstraint:
    return LinearConstraint(problem.C, 0.0, 0.0)


def _solve_ours(problem: Problem, show: Callable[..., None]) -> Any:
    x0 = np.zeros(problem.model.n)
    constraint = _constraint(problem)
    return sketch_newton(problem.model, x0, constraints=constraint, tol=TOL, callback=show)


def _solve_trust(problem: Problem, show: Callable[..., None]) -> Any:
    model = problem.model
    return minimize(
        model.fun,
        np.zeros(model.n),
        jac=model.jac,
        hess=lambda x: model.hess(x).toarray(),
        method="trust-constr",
        constraints=_constraint(problem),
        callback=lambda xk, state: show(xk),
        options={"gtol": TOL, "xtol": 1e-14, "maxiter": 1000},
    )


def _solve_slsqp(problem: Problem, show: Callable[..., None]) -> Any:
    model = problem.model
    return minimize(
        model.fun,
        np.zeros(model.n),
        jac=model.jac,
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda x: problem.C @ x, "jac": lambda x: problem.C},
        callback=show,
        options={"ftol": 1e-15, "maxiter": 2000},
    )


SOLVERS: dict[str, Callable[[Problem, Callable[..., None]], Any]] = {
    OURS: _solve_ours,
    TRUST: _solve_trust,
    SLSQP: _solve_slsqp,
}


@dataclass(frozen=True)
class Run:
    """What one solver made of one problem."""

    solver: str
    seconds: float
    nit: int
    kkt: float
    violation: float
    fun: float
    success: bool
    linear_solver: str
    trace: list[tuple[float, float]] = field(repr=False)  # seconds, KKT residual

    @property
    def reached(self) -> bool:
        return max(self.kkt, self.violation) <= TOL


class _TimeUp(Exception):
    pass


@dataclass
class _Recorder:
    """The callback: when each iterate was shown, and the iterate."""

    begin: float = field(default_factory=time.perf_counter)
    shown: list[tuple[float, Array]] = field(default_factory=list)

    def __call__(self, xk: Array) -> None:
        self.shown.append((time.perf_counter() - self.begin, np.array(xk)))
        if self.shown[-1][0] > LIMIT:
            raise _TimeUp


def _timed(problem: Problem, solver: str) -> tuple[float, _Recorder, Any]:
    recorder = _Recorder()
    try:
        result = SOLVERS[solver](problem, recorder)
    except _TimeUp:
        x = recorder.shown[-1][1]
        nit = len(recorder.shown)
        result = OptimizeResult(x=x, fun=problem.model.fun(x), nit=nit, success=False)
    return time.perf_counter() - recorder.begin, recorder, result


def solve(problem: Problem, solver: str) -> Run:
    """The median of three runs, or one that is long; KKT residuals are computed after them."""
    runs = [_timed(problem, solver)]
    while len(runs) < 3 and runs[0][0] < 0.5:
        runs.append(_timed(problem, solver))
    seconds, recorder, result = sorted(runs, key=lambda one: one[0])[len(runs) // 2]
    kkt, violation = problem.kkt(result.x)
    points = [(0.0, np.zeros(problem.model.n)), *recorder.shown]
    return Run(
        solver=solver,
        seconds=seconds,
        nit=int(result.nit),
        kkt=kkt,
        violation=violation,
        fun=float(result.fun),
        success=bool(result.success),
        linear_solver=str(getattr(result, "linear_solver", "")),
        trace=[(when, max(problem.kkt(x))) for when, x in points],
    )


@dataclass(frozen=True)
class Row:
    """One problem, by every solver."""

    problem: Problem
    runs: dict[str, Run]


def run(seed: int = 0, quick: bool = False) -> list[Row]:
    """Both problems by all solvers; `quick` leaves out SLSQP on the large one."""
    table = []
    for problem in (breast_cancer(), a9a_like(seed)):
        small = problem.name == "breast_cancer"
        solvers = [s for s in SOLVERS if small or s != SLSQP or not quick]
        SOLVERS[OURS](problem, lambda xk: None)  # first calls load libraries
        table.append(Row(problem, {s: solve(problem, s) for s in solvers}))
    return table


# ---- what is shown -----------------------------------------------------------------------------


def text(table: Sequence[Row]) -> str:
    """The table, at most 100 columns."""
    lines = []
    for row in table:
        rows, n = row.problem.model.matrix.shape
        lines += [
            f"{row.problem.name}: {rows} x {n}, {len(row.problem.C)} equalities",
            f"  {row.problem.wanted}",
            f"  {'solver':<14} {'seconds':>9} {'iterations':>10} {'KKT':>9} {'violation':>9} "
            f"{'f':>20}",
        ]
        for one in row.runs.values():
            note = one.linear_solver if one.reached else f"above {TOL:g}"
            if one.seconds > LIMIT:
                note = f"stopped after {LIMIT:g} s"
            lines.append(
                f"  {one.solver:<14} {one.seconds:9.4f} {one.nit:10d} {one.kkt:9.1e} "
                f"{one.violation:9.1e} {one.fun:20.15f}  {note}".rstrip()
            )
        ours = row.runs[OURS].seconds
        factors = [f"{s} {one.seconds / ours:.0f}" for s, one in row.runs.items() if s != OURS]
        lines += [f"  times the time of sketch_newton: {', '.join(factors)}", ""]
    lines.append("KKT: |grad f + C'v|_inf with the least-squares multipliers v, for all solvers.")
    return "\n".join(lines)


def failures(table: Sequence[Row]) -> list[str]:
    """Why the claims do not hold; empty if they do."""
    reasons = []
    for row in table:
        name, ours = row.problem.name, row.runs[OURS]
        if not (ours.success and ours.reached):
            reasons.append(
                f"{name}: sketch_newton ended at KKT {ours.kkt:.1e}, violation {ours.violation:.1e}"
            )
        for one in row.runs.values():
            if one.solver == OURS:
                continue
            if one.seconds < ours.seconds:
                reasons.append(f"{name}: {one.solver} was faster than sketch_newton")
            if one.reached and one.fun < ours.fun - 1e-10:
                reasons.append(f"{name}: {one.solver} found a lower minimum")
    return reasons


def as_dict(table: Sequence[Row]) -> dict[str, Any]:
    """The whole demo, ready for json."""
    problems = [
        {
            "problem": row.problem.name,
            "rows": row.problem.model.matrix.shape[0],
            "n": row.problem.model.n,
            "equalities": len(row.problem.C),
            "wanted": row.problem.wanted,
            "runs": {
                solver: {
                    "seconds": one.seconds,
                    "nit": one.nit,
                    "kkt": one.kkt,
                    "violation": one.violation,
                    "fun": one.fun,
                    "success": one.success,
                    "reached": one.reached,
                    "linear_solver": one.linear_solver,
                    "trace": [list(point) for point in one.trace],
                }
                for solver, one in row.runs.items()
            },
        }
        for row in table
    ]
    return {"tol": TOL, "problems": problems, "failures": failures(table)}


_COLOURS = {OURS: "tab:blue", TRUST: "tab:orange", SLSQP: "tab:green"}
_FLOOR = 1e-17


def figure(table: Sequence[Row]) -> Any:
    """KKT residual against seconds, one panel for each problem: a matplotlib Figure.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(5.5 * max(1, len(table)), 4.2), layout="constrained")
    grid = fig.subplots(1, max(1, len(table)), squeeze=False).ravel()
    for axes, row in zip(grid, table, strict=True):
        for solver, one in row.runs.items():
            seconds, residuals = np.array(one.trace).T
            seconds = np.maximum(seconds, 1e-4)  # x0, on a logarithmic axis
            axes.plot(
                seconds,
                np.maximum(residuals, _FLOOR),
                marker="o",
                ms=3,
                lw=1.4,
                color=_COLOURS[solver],
                label=solver,
            )
        axes.axhline(TOL, color="grey", ls=":", lw=1)
        rows, n = row.problem.model.matrix.shape
        axes.set_title(f"{row.problem.name}: {rows} x {n}", fontsize=10)
        axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel="KKT residual")
    grid[0].legend(fontsize=8)
    return fig
