"""The demo of cbo: the NIST regression sets from wide boxes, beside scipy's differential evolution.

Both solvers minimise the same residual sum of squares over the same box with the same budget and
seed, by their default settings, their own stopping rules included. A sum of squares is flat to
rounding within about 1e-8 of its minimum, so neither can show more than seven or eight digits of
the parameters; the finish (`scipy.optimize.least_squares` from where the solver ended, for both)
shows whether that was in the certified minimum's valley, and its remaining digits.

The box of every set is made by the same rules (`_nist.ROLES`), and all 27 sets are in the table.
Those in `HARD` are not claimed: cbo misses them, finish included, with one seed or more of ten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, differential_evolution, dual_annealing, least_squares

from fastopt import _nist
from fastopt._nist import Array, Problem

TITLE = "cbo: the NIST regression sets from wide boxes, beside scipy's differential_evolution"
REQUIRES: tuple[str, ...] = ()

EVALUATIONS_PER_DIMENSION = 20_000
QUICK = ("Misra1a", "BoxBOD", "MGH09", "Eckerle4", "Rat43", "Gauss1")
HARD = ("Lanczos3", "Gauss1", "Gauss2", "Bennett5")

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
_TITLES = {CBO: "fastopt.cbo", DE: "scipy differential_evolution"}
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
    cpu_seconds: float
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
    """Levenberg-Marquardt from z to rounding; z itself where that ends higher."""
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
    """One set by one solver; `budget` evaluations (20000 per parameter if None)."""
    if budget is None:
        budget = EVALUATIONS_PER_DIMENSION * problem.dim
    recorder = Recorder(problem.objective)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    with np.errstate(all="ignore"):  # infinite sums meet each other in peers' statistics
        result = {**SOLVERS, **PEERS}[solver](recorder, problem.bounds, budget, seed)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
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
        cpu_seconds=cpu_seconds,
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


Report = Callable[[Row], object]


def run(
    seed: int, quick: bool, names: Sequence[str] = (), report: Report | None = None
) -> list[Row]:
    """Fit the sets of these names (all 27, or six if quick) one after the other.

    `report` is called with a row as soon as it is known.
    """
    table: list[Row] = []
    for name in names or (QUICK if quick else _nist.NAMES):
        problem = _nist.load(name)
        row = Row(problem, {solver: fit(problem, solver, seed) for solver in SOLVERS})
        if report is not None:
            report(row)
        table.append(row)
    return table


_COLUMNS = f"{'RSS found':>10} {'dig.':>4} {'+LS':>4} {'evals':>6} {'s':>5}  "


def header() -> str:
    """The table's head."""
    titles = " | ".join(f"{_TITLES[solver]:<35}" for solver in SOLVERS).rstrip()
    columns = " | ".join(_COLUMNS for _ in SOLVERS).rstrip()
    return f"{'':<22} | {titles}\n{'set':<8}  p {'certified':>10} | {columns}"


def _mark(one: Fit) -> str:
    if one.reached:
        return " "
    return "~" if one.reached_finished else "*"


def line(row: Row) -> str:
    """One row of the table, at most 100 columns."""
    blocks = [
        f"{f.rss:10.4e} {f.digits:4.1f} {f.digits_finished:4.1f} {f.nfev:6d} {f.seconds:5.2f} "
        f"{_mark(f)}"
        for f in row.fits.values()
    ]
    problem = row.problem
    head = f"{problem.name:<8} {problem.dim:2d} {problem.data.certified_rss:10.4e}"
    return f"{head} | {' | '.join(blocks)}".rstrip()


def values(row: Row) -> str:
    """The parameters of one set: certified, and each solver's after the finish."""
    fits = list(row.fits.values())
    orders = [row.problem.aligned(f.b_finished) for f in fits]
    titles = " ".join(f"{f.solver + ' +LS':>28}" for f in fits)
    lines = [f"{'':>8} {'certified':>20} {titles}"]
    for k, certified in enumerate(row.problem.data.certified):
        found = " ".join(f"{b[k]:28.10e}" for b in orders)
        lines.append(f"{f'b{k + 1}':>8} {certified:20.10e} {found}")
    return "\n".join(lines)


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


_OUTCOMES: dict[tuple[bool, ...], str] = {  # by cbo, by differential_evolution
    (True, True): "reached by both",
    (True, False): "reached by cbo alone",
    (False, True): "reached by differential_evolution alone",
    (False, False): "missed by both",
}


def summary_text(table: Sequence[Row]) -> str:
    """The closing lines."""
    lines = [
        "p: parameters. certified, RSS found: residual sums of squares. dig.: digits agreed with",
        f"NIST's parameters by the worst of them, of {_nist.CERTIFIED_DIGITS}; +LS: the same after "
        "scipy's least_squares from there.",
        "~ certified minimum only after +LS; * missed: RSS more than 1e-6 above it even then.",
        f"Both may use {EVALUATIONS_PER_DIMENSION} p evaluations, and stop earlier by their own "
        "rules.",
        "",
        f"{f'sets reached, of {len(table)}':<29} directly  +LS  median digits  +LS  evaluations"
        "  seconds",
    ]
    for solver, t in summary(table).items():
        lines.append(
            f"{_TITLES[solver]:<29} {t['reached']:8.0f} {t['reached_finished']:4.0f}  "
            f"{t['median_digits']:13.1f} {t['median_digits_finished']:4.1f}  {t['nfev']:11,.0f}  "
            f"{t['seconds']:7.1f}"
        )
    groups: dict[str, list[str]] = {title: [] for title in _OUTCOMES.values()}
    for row in table:
        groups[_OUTCOMES[tuple(f.reached_finished for f in row.fits.values())]].append(
            row.problem.name
        )
    del groups["reached by both"]
    groups["not claimed by cbo"] = [r.problem.name for r in table if r.problem.name in HARD]
    lines += [f"{title}: {', '.join(names)}" for title, names in groups.items() if names]
    return "\n".join(lines)


def text(table: Sequence[Row]) -> str:
    """The whole table with its closing lines."""
    return "\n".join([header(), *map(line, table), summary_text(table)])


def failures(table: Sequence[Row]) -> list[str]:
    """Why the demo does not hold what is claimed of it; empty if it does.

    cbo has to reach, finish included, every set of the table that is not in `HARD`, and no fewer
    sets than differential_evolution.
    """
    missed = [
        row.problem.name
        for row in table
        if row.problem.name not in HARD and not row.fits[CBO].reached_finished
    ]
    reasons = [f"cbo missed {', '.join(missed)}, which it claims to reach"] if missed else []
    ours, theirs = (sum(row.fits[solver].reached_finished for row in table) for solver in (CBO, DE))
    if ours < theirs:
        reasons.append(f"cbo reached {ours} sets, differential_evolution {theirs}")
    return reasons


def as_dict(table: Sequence[Row]) -> dict[str, Any]:
    """The whole demo, ready for json."""
    sets = [
        {
            "set": row.problem.name,
            "dim": row.problem.dim,
            "observations": int(row.problem.data.y.size),
            "difficulty": row.problem.data.difficulty,
            "bounds": row.problem.bounds,
            "roles": row.problem.roles,
            "claimed": row.problem.name not in HARD,
            "certified": row.problem.data.certified.tolist(),
            "certified_rss": row.problem.data.certified_rss,
            "fits": {solver: f.as_dict() for solver, f in row.fits.items()},
        }
        for row in table
    ]
    return {
        "evaluations_per_dimension": EVALUATIONS_PER_DIMENSION,
        "sets": sets,
        "summary": summary(table),
        "failures": failures(table),
    }


_COLOURS = dict(zip(SOLVERS, ("tab:blue", "tab:orange"), strict=True))
_FLOOR = 1e-9  # of RSS/certified - 1 in the picture: below it is rounding


def _draw_fit(axes: Any, row: Row) -> None:
    data = row.problem.data
    widths = dict(zip(SOLVERS, (1.2, 3.0), strict=True))  # the peer beneath, so that both show
    if len(data.x) > 1:  # two predictors: fitted against observed
        for solver, f in reversed(row.fits.items()):
            fitted = row.problem.predict(f.b)
            axes.plot(data.y, fitted, ".", ms=2.5 * widths[solver] + 2, color=_COLOURS[solver])
        ends = [data.y.min(), data.y.max()]
        axes.plot(ends, ends, "k:", lw=0.8)
        axes.set(xlabel="observed log y", ylabel="fitted")
    else:
        x = np.linspace(data.x[0].min(), data.x[0].max(), 400)
        axes.plot(data.x[0], data.y, "ko", ms=2.4, mew=0, zorder=3)
        for solver, f in reversed(row.fits.items()):
            fitted = row.problem.curve(f.b, x[None])
            axes.plot(x, fitted, lw=widths[solver], color=_COLOURS[solver], alpha=0.85)
        margin = 0.1 * np.ptp(data.y)
        axes.set_ylim(data.y.min() - margin, data.y.max() + margin)
        axes.set(xlabel="x", ylabel="y")
    axes.set_title(f"{row.problem.name}: {row.problem.dim} parameters", fontsize=10)


def _draw_convergence(axes: Any, row: Row) -> None:
    certified = row.problem.data.certified_rss
    top = 1.0
    for place, solver in zip(("left", "right"), SOLVERS, strict=True):
        f, colour = row.fits[solver], _COLOURS[solver]
        count, best = np.array(f.trace).T
        excess = np.maximum(best / certified - 1, _FLOOR)
        top = max(top, excess[0])
        axes.step([*count, f.nfev], [*excess, excess[-1]], where="post", color=colour, lw=1.4)
        after = _FLOOR if f.reached_finished else max(f.rss_finished / certified - 1, _FLOOR)
        axes.plot([f.nfev, f.nfev], [excess[-1], after], ":", color=colour, lw=1.2)
        axes.plot(f.nfev, after, "o", ms=5, color=colour, clip_on=False, zorder=3)
        state = "reached" if f.reached else "+LS" if f.reached_finished else "missed"
        axes.set_title(state, loc=place, color=colour, fontsize=9)
    axes.axhspan(_FLOOR, 1e-6, color="tab:green", alpha=0.12, lw=0)
    axes.set(xscale="log", yscale="log", xlabel="evaluations", ylabel="RSS / certified - 1")
    axes.set_ylim(_FLOOR, 10 * top)


def figure(table: Sequence[Row]) -> Any:
    """Data with both fits, and convergence, of every set: a matplotlib Figure.

    The curves are the fits as the solvers left them; the dots at the end of the dotted lines show
    where the finish came to, and the green band what counts as the certified minimum.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    across = min(3, max(1, len(table)))
    down = -(-len(table) // across)
    fig = Figure(figsize=(6.6 * across, 2.7 * down + 0.9), layout="constrained")
    grid = fig.subplots(down, 2 * across, squeeze=False).ravel()
    for k, row in enumerate(table):
        _draw_fit(grid[2 * k], row)
        _draw_convergence(grid[2 * k + 1], row)
    for axes in grid:
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_size(8)
        axes.yaxis.label.set_size(8)
    for axes in grid[2 * len(table) :]:
        axes.set_axis_off()
    keys: list[Any] = [
        Line2D([], [], color=_COLOURS[solver], lw=2, label=_TITLES[solver]) for solver in SOLVERS
    ]
    keys += [
        Line2D([], [], color="k", marker="o", ms=3, lw=0, label="data"),
        Line2D([], [], color="grey", marker="o", ls=":", label="after least_squares (+LS)"),
        Patch(color="tab:green", alpha=0.12, lw=0, label="certified minimum"),
    ]
    fig.legend(handles=keys, loc="outside upper center", ncols=min(len(keys), 1 + 2 * across))
    return fig
