"""The figures of docs/.

    python bench/_figures.py docs/figures                    # one for each solver, as mkdocs does
    python bench/bbob.py --dims 3 5 --seeds 1 --methods cbo,cma,de,da --jsonl bbob.jsonl
    python bench/_figures.py FOLDER bbob.jsonl               # and the profiles of these runs

`bbob.svg` shows data profiles (evaluations to reach f - f_opt <= 1e-3 and 1e-8) and the performance
profile at 1e-8. A run that missed the target counts as not solved.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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


def evaluations(runs: Sequence[dict[str, Any]], target: float) -> dict[str, list[float]]:
    """Evaluations to the target of each method, in the order of the problems."""
    k = TARGETS.index(target)
    problems = sorted({problem(run) for run in runs})
    table: dict[str, list[float]] = {}
    for method in dict.fromkeys(run["method"] for run in runs):
        hits = {problem(run): run["hits"] for run in runs if run["method"] == method}
        missing = [one for one in problems if one not in hits]
        if missing:
            raise SystemExit(f"{method} has no run of {missing[0]}: give all methods to bbob.py")
        table[method] = [hits[one][k] if len(hits[one]) > k else math.inf for one in problems]
    return table


def problem(run: dict[str, Any]) -> tuple[int, ...]:
    return tuple(run[name] for name in ("dim", "function", "instance", "seed"))


def bbob(runs: Sequence[dict[str, Any]]) -> Figure:
    dims = [one[0] for one in sorted({problem(run) for run in runs})]
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


SOLVERS: tuple[Callable[[], Figure], ...] = (cbo, admm_relu, sketch_newton)


def draw(folder: Path, records: Path | None) -> list[Path]:
    """Write the figures as SVG; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {make.__name__: make() for make in SOLVERS}
    if records is not None:
        lines = records.read_text(encoding="utf-8").splitlines()
        figures["bbob"] = bbob([one for one in map(json.loads, lines) if one["bench"] == "bbob"])
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return [folder / f"{name}.svg" for name in figures]


def on_pre_build(config: Any) -> None:
    """mkdocs calls this before it makes the site (`hooks:` in mkdocs.yml)."""
    draw(Path(config["docs_dir"]) / "figures", None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("records", type=Path, nargs="?", help="records of bench/bbob.py")
    chosen = parser.parse_args()
    print(*draw(chosen.folder, chosen.records), sep="\n")
