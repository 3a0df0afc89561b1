"""Pictures of results and of comparisons, by matplotlib.

The functions for one result need ``record_history=True``. Each draws into `axes`, or into new ones
of pyplot, and returns them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from ._problem import BoundsLike, read_box

__all__ = [
    "consensus_path",
    "convergence",
    "data_profile",
    "gap",
    "kkt",
    "performance_profile",
    "residuals",
    "spread",
    "summary",
]

_NEEDED = "fastopt.plot needs matplotlib: pip install matplotlib"
Results: TypeAlias = OptimizeResult | Mapping[str, OptimizeResult]


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise ImportError(_NEEDED) from error
    return pyplot


def _axes(axes: Any) -> Any:
    pyplot = _pyplot()
    return pyplot.subplots(layout="constrained")[1] if axes is None else axes


def _history(result: OptimizeResult, *wanted: str) -> dict[str, NDArray[Any]]:
    """The history, which must hold the wanted fields."""
    if not isinstance(result, OptimizeResult):
        raise TypeError(f"result must be an OptimizeResult; got {type(result).__name__}.")
    history = result.get("history")
    if history is None:
        raise ValueError("result has no history: call the solver with record_history=True.")
    if isinstance(history, list):
        raise ValueError("result holds several runs: draw them one by one.")
    missing = [name for name in wanted if name not in history]
    if missing:
        raise ValueError(
            f"this picture needs the history of {', '.join(missing)}, which the solver of this "
            f"result does not keep; it has {', '.join(history)}."
        )
    return dict(history)


def _named(results: Results) -> Mapping[str, OptimizeResult]:
    return {"": results} if isinstance(results, OptimizeResult) else results


def _positive(values: ArrayLike) -> NDArray[np.float64]:
    """For a logarithmic axis: what is not positive is not drawn."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(array > 0, array, np.nan)


def _legend(axes: Any, right: Any) -> None:
    """One legend for the lines of both vertical axes."""
    lines = [*axes.get_lines(), *(right.get_lines() if right is not None else ())]
    axes.legend(lines, [one.get_label() for one in lines])


# ---- one result ------------------------------------------------------------------------------


def convergence(results: Results, *, best: float | None = None, axes: Any = None) -> Any:
    """Best value against evaluations (iterations for admm_relu).

    Parameters
    ----------
    results : OptimizeResult or dict of name to OptimizeResult
        Of any solver.
    best : float, optional
        The known minimum: the difference to it is drawn, on a logarithmic axis.
    axes : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    axes = _axes(axes)
    for name, result in _named(results).items():
        history = _history(result, "fun")
        work = "nfev" if "nfev" in history else "nit"
        lowest = np.minimum.accumulate(np.asarray(history["fun"], dtype=np.float64))
        height = lowest if best is None else _positive(lowest - best)
        axes.plot(history[work], height, drawstyle="steps-post", label=name or None)
        axes.set_xlabel("evaluations" if work == "nfev" else "iterations")
    axes.set_ylabel("best value" if best is None else "best value - minimum")
    if best is not None:
        axes.set_yscale("log")
    if any(_named(results)):
        axes.legend()
    return axes


def spread(result: OptimizeResult, *, axes: Any = None) -> Any:
    """Spread of the particles of `cbo`, and the step size of the hybrid, against iterations.

    Parameters
    ----------
    result : OptimizeResult
    axes : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    axes = _axes(axes)
    history = _history(result, "spread", "step_size")
    nit = np.arange(1, len(history["spread"]) + 1)
    axes.semilogy(nit, _positive(history["spread"]), label="spread of the values")
    if np.ptp(history["step_size"]) > 0:  # the plain dynamics have none
        axes.semilogy(nit, _positive(history["step_size"]), label="step size")
    axes.set_xlabel("iterations")
    axes.legend()
    return axes


def consensus_path(
    result: OptimizeResult,
    func: Callable[[NDArray[np.float64]], float] | None = None,
    bounds: BoundsLike | None = None,
    *,
    variables: tuple[int, int] = (0, 1),
    points: int = 80,
    axes: Any = None,
) -> Any:
    """The way of the consensus point of `cbo`, over contours of the objective.

    Parameters
    ----------
    result : OptimizeResult
    func : callable, optional
        ``func(x) -> float``: contours are drawn in the plane of the two variables, the others being
        those of ``result.x``.
    bounds : bounds of all variables, optional
        The part of the plane to draw, needed for `func`.
    variables : pair of int
        Which two variables span the plane.
    points : int
        Values of func along each side.
    axes : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    history = _history(result, "consensus")
    first, second = variables
    path = np.asarray(history["consensus"], dtype=np.float64)
    if path.shape[1] < 2:
        raise ValueError("consensus_path needs at least two variables.")
    axes = _axes(axes)
    if func is not None:
        if bounds is None:
            raise ValueError("consensus_path needs bounds= to know where to draw func.")
        box = read_box(bounds, None, result.x.size)
        if not box.is_finite:
            raise ValueError("consensus_path needs finite bounds.")
        sides = [np.linspace(box.lower[k], box.upper[k], points) for k in variables]
        heights = np.empty((points, points))
        for row, b in enumerate(sides[1]):
            for column, a in enumerate(sides[0]):
                x = np.array(result.x, dtype=np.float64)
                x[first], x[second] = a, b
                heights[row, column] = func(x)
        levels = np.unique(np.quantile(heights[np.isfinite(heights)], np.linspace(0, 1, 16)))
        axes.contour(*sides, heights, levels=levels, colors="0.6", linewidths=0.7)
    axes.plot(path[:, first], path[:, second], ".-", lw=1, ms=4, label="consensus")
    axes.plot(path[0, first], path[0, second], "o", mfc="none", label="start")
    axes.plot(result.x[first], result.x[second], "*", ms=12, label="result")
    axes.set_xlabel(f"x[{first}]")
    axes.set_ylabel(f"x[{second}]")
    axes.legend()
    return axes


def gap(result: OptimizeResult, *, axes: Any = None) -> Any:
    """Objective and dual bound of `admm_relu`, and the gap between them.

    Parameters
    ----------
    result : OptimizeResult
    axes : matplotlib Axes, optional
        Of the values; the gap has a logarithmic axis at the right.

    Returns
    -------
    matplotlib Axes
    """
    history = _history(result, "fun", "dual_fun", "nit")
    axes = _axes(axes)
    upper = np.minimum.accumulate(history["fun"])
    lower = np.maximum.accumulate(history["dual_fun"])
    axes.plot(history["nit"], upper, label="objective")
    axes.plot(history["nit"], lower, label="dual bound")
    axes.set_xlabel("iterations")
    axes.set_ylabel("value")
    right = axes.twinx()
    right.semilogy(history["nit"], _positive(upper - lower), "k:", label="gap")
    right.set_ylabel("gap")
    _legend(axes, right)
    return axes


def residuals(result: OptimizeResult, *, axes: Any = None) -> Any:
    """Primal and dual residual of `admm_relu` against iterations.

    Parameters
    ----------
    result : OptimizeResult
    axes : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    history = _history(result, "primal_residual", "dual_residual", "nit")
    axes = _axes(axes)
    for name in ("primal_residual", "dual_residual"):
        axes.semilogy(history["nit"], _positive(history[name]), label=name.replace("_", " "))
    axes.set_xlabel("iterations")
    axes.legend()
    return axes


def kkt(result: OptimizeResult, *, axes: Any = None) -> Any:
    """KKT residual, constraint violation, step and sketch size of `sketch_newton`.

    Parameters
    ----------
    result : OptimizeResult
    axes : matplotlib Axes, optional
        The rows of the sketch have an axis at the right; the title names the linear solver.

    Returns
    -------
    matplotlib Axes
    """
    history = _history(result, "optimality", "constr_violation", "step", "nit")
    axes = _axes(axes)
    for name, label in (
        ("optimality", "gradient of the Lagrangian"),
        ("constr_violation", "constraint violation"),
        ("step", "step length"),
    ):
        axes.semilogy(history["nit"], _positive(history[name]), ".-", label=label)
    axes.set_xlabel("iterations")
    axes.set_title(f"linear solver: {result.linear_solver}")
    right = None
    if np.any(history["sketch_rows"] > 0):
        right = axes.twinx()
        right.step(history["nit"], history["sketch_rows"], "k:", label="rows of the sketch")
        right.set_ylabel("rows of the sketch")
    _legend(axes, right)
    return axes


def summary(result: OptimizeResult) -> Any:
    """All pictures of a result side by side: those of its solver.

    Parameters
    ----------
    result : OptimizeResult
        Of `cbo`, `admm_relu` or `sketch_newton`, with ``record_history=True``.

    Returns
    -------
    matplotlib Figure
    """
    history = _history(result)
    if "spread" in history:
        pictures: list[Callable[..., Any]] = [convergence, spread]
        if history["consensus"].shape[1] >= 2:
            pictures.append(consensus_path)
    elif "dual_fun" in history:
        pictures = [gap, residuals]
    else:
        pictures = [convergence, kkt]
    figure, grid = _pyplot().subplots(
        1, len(pictures), figsize=(4.6 * len(pictures), 3.6), layout="constrained", squeeze=False
    )
    for picture, axes in zip(pictures, grid[0], strict=True):
        picture(result, axes=axes)
    return figure


# ---- comparisons -----------------------------------------------------------------------------


def _table(costs: Mapping[str, ArrayLike]) -> tuple[list[str], NDArray[np.float64]]:
    """(names, (solvers, problems)); NaN means unsolved, as inf does."""
    if not isinstance(costs, Mapping) or not costs:
        raise TypeError("costs must be a dict of solver name to one cost for each problem.")
    rows = [np.asarray(row, dtype=np.float64) for row in costs.values()]
    if any(row.ndim != 1 or row.size != rows[0].size or not row.size for row in rows):
        shapes = ", ".join(str(row.shape) for row in rows)
        raise ValueError(f"every solver needs a cost for each problem; the shapes are {shapes}.")
    table = np.stack(rows)
    table = np.where(np.isnan(table), np.inf, table)
    if np.any(table <= 0):
        raise ValueError("costs must be positive (inf or NaN: not solved).")
    return list(costs), table


def _draw_profiles(
    axes: Any, names: Sequence[str], ratios: NDArray[np.float64], start: float, end: float
) -> None:
    for name, row in zip(names, ratios, strict=True):
        solved = np.sort(row[np.isfinite(row)])
        x = np.concatenate([[start], solved, [max(end, start)]])
        y = np.concatenate([[0.0], np.arange(1, solved.size + 1), [solved.size]]) / row.size
        axes.step(x, y, where="post", label=name)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right")


def performance_profile(costs: Mapping[str, ArrayLike], *, axes: Any = None) -> Any:
    """Share of problems that each solver solves within a multiple of the best solver's cost.

    Parameters
    ----------
    costs : dict of name to array_like (n_problems,)
        Evaluations or seconds; inf or NaN where a problem was not solved.
    axes : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Dolan, More, "Benchmarking optimization software with performance profiles", 2002.
    """
    names, table = _table(costs)
    best = table.min(axis=0)
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isfinite(table), table / best, np.inf)
    largest = np.max(ratios[np.isfinite(ratios)], initial=1.0)
    axes = _axes(axes)
    _draw_profiles(axes, names, ratios, 1.0, 1.1 * largest)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("cost, as a multiple of the best")
    axes.set_ylabel("share of the problems solved")
    return axes


def data_profile(evaluations: Mapping[str, ArrayLike], dims: ArrayLike, *, axes: Any = None) -> Any:
    """Share of problems that each solver solves within a number of simplex gradients.

    Parameters
    ----------
    evaluations : dict of name to array_like (n_problems,)
        inf or NaN where a problem was not solved.
    dims : array_like (n_problems,)
        Variables of each problem: the axis shows evaluations / (dimension + 1).
    axes : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    References
    ----------
    More, Wild, "Benchmarking derivative-free optimization algorithms", 2009.
    """
    names, table = _table(evaluations)
    dim = np.asarray(dims, dtype=np.float64)
    if dim.shape != (table.shape[1],) or np.any(dim < 1):
        raise ValueError(
            f"dims must hold the dimension of each of the {table.shape[1]} problems; got shape "
            f"{dim.shape}."
        )
    scaled = table / (dim + 1)
    largest = np.max(scaled[np.isfinite(scaled)], initial=1.0)
    axes = _axes(axes)
    _draw_profiles(axes, names, scaled, 0.0, 1.05 * largest)
    axes.set_xlabel("evaluations / (dimension + 1)")
    axes.set_ylabel("share of the problems solved")
    return axes
