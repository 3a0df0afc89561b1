"""The figures of docs/.

    python bench/_figures.py docs/figures                     # as mkdocs does
    python bench/_figures.py FOLDER bench/records/*.jsonl     # of other records

One for each solver, and one for each kind of records that has a figure. `bbob.svg` shows data
profiles (evaluations to reach f - f_opt <= 1e-3 and 1e-8) and the performance profile at 1e-8; a
run that missed the target counts as not solved. `speed.svg` shows one iteration beside CBXpy's.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import Record, read
from _tables import by_row, find
from bbob import TARGETS
from matplotlib.figure import Figure
from scipy.optimize import LinearConstraint

import fastopt
from fastopt import plot

# ---- one for each solver -----------------------------------------------------------------------


def panels() -> tuple[Figure, Sequence[Any]]:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    return figure, figure.subplots(1, 2)


def cbo() -> Figure:
    """The swarm's consensus on Rastrigin's function, and how the values draw together."""
    box = [(-1.5, 2.5)] * 2
    problem = fastopt.problems.rastrigin(2)
    options = {"dynamics": "anisotropic", "n_particles": 30, "maxiter": 150, "polish": False}
    result = fastopt.cbo(problem, box, rng=3, record_history=True, **options)
    figure, (left, right) = panels()
    plot.consensus_path(result, problem, box, points=50, axes=left)
    plot.spread(result, axes=right)
    return figure


def admm_relu() -> Figure:
    """Certificate and residuals of a network for a curve with noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 1))
    y = np.abs(x[:, 0]) + 0.1 * rng.standard_normal(200)
    result = fastopt.admm_relu(x, y, beta=0.1, gates=30, gap_tol=1e-8, rng=1, record_history=True)
    figure, (left, right) = panels()
    plot.gap(result, axes=left)
    plot.residuals(result, axes=right)
    return figure


def sketch_newton() -> Figure:
    """A logistic regression under a linear equality, by a sketch and by a factorisation."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20000, 60)) * np.logspace(0, 3, 60)
    y = (rng.random(20000) < 1 / (1 + np.exp(-A[:, 0]))).astype(float)
    model = fastopt.problems.GLM(A, y, "logistic", l2=1e-6)
    plane = LinearConstraint(np.ones((1, 60)), 0, 0)
    figure, axes = panels()
    for one, solver in zip(axes, ("sketch-pcg", "ldl"), strict=True):
        result = fastopt.sketch_newton(
            model, np.zeros(60), constraints=plane, linear_solver=solver, record_history=True
        )
        plot.kkt(result, axes=one)
    return figure


# ---- comparisons -------------------------------------------------------------------------------


def evaluations(records: Sequence[Record], target: float) -> dict[str, list[float]]:
    """Evaluations to the target of each method, in the order of the problems."""
    rows = list(dict.fromkeys(one.row for one in records))
    found: dict[str, list[float]] = {}
    for method in dict.fromkeys(one.column for one in records):
        found[method] = []
        for row in rows:
            one = find(records, row, method)
            if one is None:
                raise SystemExit(f"{method} has no run of {row}: give all methods to bbob.py")
            runs = one.extra[f"evaluations to {target:g}"]
            found[method] += [math.inf if k is None else k for k in runs]
    return found


def dimensions(records: Sequence[Record]) -> list[int]:
    """Of the problems, in the order of `evaluations`."""
    found = []
    for row, group in by_row(records).items():
        runs = group[0].extra[f"evaluations to {TARGETS[-1]:g}"]
        found += [int(row.split("-D")[0])] * len(runs)
    return found


def bbob(runs: Sequence[Record]) -> Figure:
    dims = dimensions(runs)
    drawn = Figure(figsize=(12, 3.6), layout="constrained")
    axes = drawn.subplots(1, 3)
    for one, target in zip(axes, (1e-3, 1e-8), strict=False):
        plot.data_profile(evaluations(runs, target), dims, axes=one)
        one.set_xscale("log")
        one.set_xlim(left=1)
        one.legend(loc="upper left")
        one.set_title(f"to f - f_opt <= {target:g}")
    plot.performance_profile(evaluations(runs, 1e-8), axes=axes[2])
    axes[2].set_title("to f - f_opt <= 1e-08")
    return drawn


def speed(records: Sequence[Record]) -> Figure:
    """Nanoseconds of a coordinate and iteration, least to greatest, on a log scale."""
    cases = by_row(records)
    columns = list(dict.fromkeys(one.column for one in records))
    drawn = Figure(figsize=(10, 0.7 * len(cases) + 1.5), layout="constrained")
    axes = drawn.subplots()
    height = 0.8 / len(columns)
    for k, column in enumerate(columns):
        shown = [(i, find(group, row, column)) for i, (row, group) in enumerate(cases.items())]
        present = [(i + (k + 0.5) * height - 0.4, one) for i, one in shown if one is not None]
        scale = [1e9 / one.extra["moved"] for _, one in present]
        medians = [s * one.median for s, (_, one) in zip(scale, present, strict=True)]
        least = [s * min(one.times) for s, (_, one) in zip(scale, present, strict=True)]
        most = [s * max(one.times) for s, (_, one) in zip(scale, present, strict=True)]
        error = [np.subtract(medians, least), np.subtract(most, medians)]
        axes.barh([y for y, _ in present], medians, height, xerr=error, label=column)
    axes.set_yticks(range(len(cases)), list(cases))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("ns of a coordinate and iteration")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return drawn


SOLVERS: tuple[Callable[[], Figure], ...] = (cbo, admm_relu, sketch_newton)
COMPARISONS = {"bbob": bbob, "cbo_speed": speed}  # table -> figure of its records
RECORDS = Path(__file__).resolve().parent / "records"


def draw(folder: Path, records: Sequence[Record]) -> list[Path]:
    """Write the figures as SVG; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {make.__name__: make() for make in SOLVERS}
    for table, make in COMPARISONS.items():
        if mine := [one for one in records if one.table == table]:
            figures[make.__name__] = make(mine)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return [folder / f"{name}.svg" for name in figures]


def on_pre_build(config: Any) -> None:
    """mkdocs calls this before it makes the site (`hooks:` in mkdocs.yml)."""
    draw(Path(config["docs_dir"]) / "figures", read(sorted(RECORDS.glob("*.jsonl"))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("records", type=Path, nargs="*", help="default: those of bench/records")
    chosen = parser.parse_args()
    files = chosen.records or sorted(RECORDS.glob("*.jsonl"))
    print(*draw(chosen.folder, read(files)), sep="\n")
