"""`fastopt demo`: the NIST regression sets from wide boxes, beside scipy's differential evolution.

Both solvers minimise the same residual sum of squares over the same box with the same budget and
seed, by their default settings. A sum of squares is flat to rounding within about 1e-8 of its
minimum, so neither can show more than seven or eight digits of the parameters; the finish
(`scipy.optimize.least_squares` from where the solver ended, for both) shows whether that was the
certified minimum, and its remaining digits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, differential_evolution, dual_annealing, least_squares

from fastopt import _nist
from fastopt._nist import Array, Problem

EVALUATIONS_PER_DIMENSION = 5000
QUICK = ("Misra1a", "BoxBOD", "MGH09", "Eckerle4", "Rat43", "Gauss1")

Bounds = list[tuple[float, float]]
Solver = Callable[[Callable[[Array], Any], Bounds, int, int], OptimizeResult]


def solve_cbo(fun: Callable[[Array], Any], bounds: Bounds, budget: int, seed: int) -> Any:
    from fastopt import cbo

    return cbo(fun, bounds, vectorized=True, maxfev=budget, rng=seed)


def solve_differential_evolution(
    fun: Callable[[Array], Any], bounds: Bounds, budget: int, seed: int, **settings: Any
) -> Any:
    generations = max(1, budget // (settings.get("popsize", 15) * len(bounds)) - 1)
    return differential_evolution(
        fun, bounds, vectorized=True, updating="deferred", maxiter=generations, rng=seed, **settings
    )


def solve_differential_evolution_to_budget(
    fun: Callable[[Array], Any], bounds: Bounds, budget: int, seed: int
) -> Any:
    """The better setting here: tol = 0, the whole budget is used before the polish."""
    return solve_differential_evolution(fun, bounds, budget, seed, tol=0.0)


def solve_dual_annealing(
    fun: Callable[[Array], Any], bounds: Bounds, budget: int, seed: int
) -> Any:
    return dual_annealing(fun, bounds, maxfun=budget, maxiter=budget, rng=seed)


CBO = "cbo"
DE = "differential_evolution"
SOLVERS: dict[str, Solver] = {CBO: solve_cbo, DE: solve_differential_evolution}
_TITLES = {CBO: "fastopt.cbo", DE: "scipy.optimize.differential_evolution"}
PEERS: dict[str, Solver] = {
    "differential_evolution tol=0": solve_differential_evolution_to_budget,
    "dual_annealing": solve_dual_annealing,
}


class Recorder:
    """Counts the points at which a vectorised objective is evaluated and keeps the best so far."""

    def __init__(self, fun: Callable[[Array], Any]) -> None:
        self.fun = fun
        self.nfev = 0
        self.best = np.inf
        self.trace: list[tuple[int, float]] = []

    def __call__(self, z: Array) -> Any:
        values = self.fun(z)
        self.nfev += int(np.size(values))
        lowest = float(np.min(values))
        if lowest < self.best:
            self.best = lowest
            self.trace.append((self.nfev, lowest))
        return values


@dataclass(frozen=True)
class Fit:
    """What one solver made of one set; `b` are NIST's parameters, `_finished` after the finish."""

    solver: str
    b: Array
    rss: float
    digits: float
    reached: bool
    nfev: int
    seconds: float
    message: str
    b_finished: Array
    rss_finished: float
    digits_finished: float
    reached_finished: bool
    trace: list[tuple[int, float]] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The numbers, ready for json (the trace is left out)."""
        record = {k: v for k, v in vars(self).items() if k not in ("solver", "trace")}
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in record.items()}


def finish(problem: Problem, z: Array) -> Array:
    """Levenberg-Marquardt from z to rounding; z itself where that finds nothing lower."""
    if not np.isfinite(problem.objective(z)):
        return z
    try:
        with np.errstate(all="ignore"):
            end: Array = least_squares(
                problem.residuals,
                z,
                jac=problem.jacobian,
                method="lm",
                x_scale="jac",
                ftol=1e-15,
                xtol=1e-15,
                gtol=1e-15,
                max_nfev=1000,
            ).x
    except ValueError:  # residuals that are not finite on the way
        return z
    return end if problem.objective(end) <= problem.objective(z) else z


def fit(problem: Problem, solver: str, seed: int, budget: int | None = None) -> Fit:
    """One set by one solver; `budget` evaluations (5000 per parameter if None)."""
    if budget is None:
        budget = EVALUATIONS_PER_DIMENSION * problem.dim
    recorder = Recorder(problem.objective)
    begin = time.perf_counter()
    with np.errstate(all="ignore"):  # infinite sums meet each other in peers' statistics
        result = {**SOLVERS, **PEERS}[solver](recorder, problem.bounds, budget, seed)
    seconds = time.perf_counter() - begin
    z = np.asarray(result.x, dtype=float)
    end = finish(problem, z)
    b, b_end = problem.decode(z), problem.decode(end)
    rss, rss_end = float(problem.rss(b)), float(problem.rss(b_end))
    return Fit(
        solver=solver,
        b=b,
        rss=rss,
        digits=problem.digits(b),
        reached=problem.reached(rss),
        nfev=recorder.nfev,
        seconds=seconds,
        message=" ".join(str(part) for part in np.atleast_1d(result.message)),
        b_finished=b_end,
        rss_finished=rss_end,
        digits_finished=problem.digits(b_end),
        reached_finished=problem.reached(rss_end),
        trace=recorder.trace,
    )


@dataclass(frozen=True)
class Row:
    """One set of the demo, by every solver."""

    problem: Problem
    fits: dict[str, Fit]


def rows(names: Sequence[str], seed: int) -> Iterable[Row]:
    """Fit the sets of these names one after the other."""
    for name in names:
        problem = _nist.load(name)
        yield Row(problem, {solver: fit(problem, solver, seed) for solver in SOLVERS})


_BLOCK = f"{'RSS found':>12} {'digits':>6} {'+LS':>5} {'evals':>6} {'s':>5}   "


def header() -> str:
    """The table's head."""
    left = " " * 27
    titles = " | ".join(f"{_TITLES[solver]:<40}" for solver in SOLVERS).rstrip()
    columns = " | ".join(_BLOCK for _ in SOLVERS).rstrip()
    return f"{left}| {titles}\n{'set':<9}  p {'certified RSS':>14} | {columns}"


def line(row: Row) -> str:
    """One row of the table; `*` marks a fit that is not the certified minimum."""
    blocks = [
        f"{f.rss:12.5e} {f.digits:6.1f} {f.digits_finished:5.1f} {f.nfev:6d} {f.seconds:5.2f} "
        f"{' ' if f.reached_finished else '*'} "
        for f in row.fits.values()
    ]
    problem = row.problem
    head = f"{problem.name:<9} {problem.dim:2d} {problem.data.certified_rss:14.5e}"
    return f"{head} | {' | '.join(blocks)}"


def summary(table: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Totals of every solver."""
    totals = {}
    for solver in SOLVERS:
        fits = [row.fits[solver] for row in table]
        totals[solver] = {
            "sets": len(fits),
            "reached": sum(f.reached for f in fits),
            "reached_finished": sum(f.reached_finished for f in fits),
            "median_digits": float(np.median([f.digits for f in fits])),
            "median_digits_finished": float(np.median([f.digits_finished for f in fits])),
            "nfev": sum(f.nfev for f in fits),
            "seconds": sum(f.seconds for f in fits),
        }
    return totals


def summary_text(table: Sequence[Row]) -> str:
    """The closing lines."""
    lines = [
        f"{_TITLES[solver]}: certified minimum of {t['reached_finished']} of {t['sets']} sets "
        f"({t['reached']} before the finish), median digits {t['median_digits']:.1f}, "
        f"finished {t['median_digits_finished']:.1f}; {t['nfev']} evaluations, {t['seconds']:.1f} s"
        for solver, t in summary(table).items()
    ]
    notes = (
        "p parameters; digits: agreed with the certified values by the worst parameter (at most "
        f"{_nist.CERTIFIED_DIGITS});\n+LS: the same after scipy's least_squares from there; "
        "* residual sum above the certified one by more than 1e-6 of it, even so."
    )
    return "\n".join([notes, "", *lines])


def as_dict(table: Sequence[Row], seed: int) -> dict[str, Any]:
    """The whole demo, ready for json."""
    sets = [
        {
            "set": row.problem.name,
            "dim": row.problem.dim,
            "observations": int(row.problem.data.y.size),
            "difficulty": row.problem.data.difficulty,
            "bounds": row.problem.bounds,
            "roles": row.problem.roles,
            "certified": row.problem.data.certified.tolist(),
            "certified_rss": row.problem.data.certified_rss,
            "fits": {solver: f.as_dict() for solver, f in row.fits.items()},
        }
        for row in table
    ]
    return {
        "seed": seed,
        "evaluations_per_dimension": EVALUATIONS_PER_DIMENSION,
        "sets": sets,
        "summary": summary(table),
    }


def all_reached(table: Sequence[Row]) -> bool:
    """Whether cbo came to the certified minimum of every set."""
    return all(row.fits[CBO].reached_finished for row in table)


_COLOURS = dict(zip(SOLVERS, ("tab:blue", "tab:orange"), strict=True))


def _draw_fit(axes: Any, row: Row) -> None:
    data = row.problem.data
    if len(data.x) > 1:  # two predictors: fitted against observed
        for solver, f in row.fits.items():
            axes.plot(data.y, row.problem.predict(f.b), ".", ms=3, color=_COLOURS[solver])
        axes.plot([data.y.min(), data.y.max()], [data.y.min(), data.y.max()], "k:", lw=0.8)
        axes.set(xlabel="observed", ylabel="fitted")
    else:
        x = np.linspace(data.x[0].min(), data.x[0].max(), 400)
        axes.plot(data.x[0], data.y, "k.", ms=3)
        for solver, f in reversed(row.fits.items()):
            axes.plot(x, row.problem.curve(f.b, x[None]), lw=1.2, color=_COLOURS[solver])
        margin = 0.1 * np.ptp(data.y)
        axes.set_ylim(data.y.min() - margin, data.y.max() + margin)
    axes.set_title(row.problem.name, fontsize=9)


def _draw_convergence(axes: Any, row: Row) -> None:
    certified = row.problem.data.certified_rss
    for solver, f in row.fits.items():
        count, best = np.array(f.trace).T
        excess = np.maximum(best / certified - 1, 1e-16)
        axes.step([*count, f.nfev], [*excess, excess[-1]], where="post", color=_COLOURS[solver])
    axes.axhline(1e-6, color="grey", lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlabel="evaluations", ylabel="RSS/certified - 1")


def figure(table: Sequence[Row]) -> Any:
    """Data with both fits, and convergence, of every set: a matplotlib Figure.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    across = 3
    down = -(-len(table) // across)
    fig = Figure(figsize=(6.4 * across, 2.6 * down + 0.6), layout="constrained")
    grid = fig.subplots(down, 2 * across, squeeze=False).ravel()
    for k, row in enumerate(table):
        _draw_fit(grid[2 * k], row)
        _draw_convergence(grid[2 * k + 1], row)
    for axes in grid:
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_size(7)
        axes.yaxis.label.set_size(7)
    for axes in grid[2 * len(table) :]:
        axes.set_axis_off()
    keys = [Line2D([], [], color=_COLOURS[solver], label=_TITLES[solver]) for solver in SOLVERS]
    fig.legend(handles=keys, loc="outside upper right", ncols=2, fontsize=9)
    return fig
