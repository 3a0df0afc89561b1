"""Figures of docs/benchmarks.md from the records of the scripts.

    python bench/bbob.py --dims 3 5 --seeds 1 --methods cbo,cma,de,da --jsonl bbob.jsonl
    python bench/_figures.py bbob.jsonl docs/figures

Draws `bbob.svg`: data profiles (evaluations to reach f - f_opt <= 1e-3 and 1e-8) and the
performance profile at 1e-8. A run that missed the target counts as not solved.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bbob import TARGETS

from fastopt import plot


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


def figure(runs: Sequence[dict[str, Any]]) -> Any:
    from matplotlib.figure import Figure

    dims = [one[0] for one in sorted({problem(run) for run in runs})]
    drawn = Figure(figsize=(12, 3.6), layout="constrained")
    axes = drawn.subplots(1, 3)
    for one, target in zip(axes, (1e-3, 1e-8), strict=False):
        plot.data_profile(evaluations(runs, target), dims, axes=one)
        one.set_xscale("symlog", linthresh=10)
        one.set_title(f"to f - f_opt <= {target:g}")
    plot.performance_profile(evaluations(runs, 1e-8), axes=axes[2])
    axes[2].set_title("to f - f_opt <= 1e-08")
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("records", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    lines = options.records.read_text(encoding="utf-8").splitlines()
    runs = [one for one in map(json.loads, lines) if one["bench"] == "bbob"]
    options.folder.mkdir(parents=True, exist_ok=True)
    figure(runs).savefig(options.folder / "bbob.svg", metadata={"Date": None})
    print(f"{len(runs)} runs: {options.folder / 'bbob.svg'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
