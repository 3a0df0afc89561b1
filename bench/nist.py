"""NIST StRD regression sets from wide boxes: success, accuracy, evaluations and time.

Every solver minimises the same residual sum of squares over the same box (fastopt._nist) with the
same budget, 20000 evaluations per parameter (--quick: six sets, 5000), for several seeds,
alternating. A run succeeds when its residual sum is within 1e-6 (relative) of the certified one;
"+LS" is the same after scipy's least_squares from where the solver ended. Times are CPU time of
the solver, all its threads together, without the finish. The floor is the model itself, evaluated
as often in batches of 100.

    python bench/nist.py [--quick] [--seeds N] [--budget N] [--sets NAME ...] [--jsonl FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import machine, versions

from fastopt import _backend, _demo_nist, _nist

SOLVERS = {**_demo_nist.SOLVERS, **_demo_nist.PEERS}


def seconds_per_point(problem: _nist.Problem) -> float:
    """Time of one point in a batch of 100: what no solver can go below."""
    z = np.random.default_rng(0).uniform(*np.array(problem.bounds).T, (100, problem.dim)).T
    times = []
    for _ in range(7):
        begin = time.process_time()
        with np.errstate(all="ignore"):
            problem.objective(z)
        times.append(time.process_time() - begin)
    return float(np.median(times)) / 100


def run(
    names: Sequence[str], seeds: Iterable[int], budget_per_dimension: int
) -> Iterable[dict[str, Any]]:
    """One record per set, seed and solver."""
    for name in names:
        problem = _nist.load(name)
        floor = seconds_per_point(problem)
        budget = budget_per_dimension * problem.dim
        for seed in seeds:
            for solver in SOLVERS:
                fit = _demo_nist.fit(problem, solver, seed, budget)
                yield {
                    "bench": "nist",
                    "set": name,
                    "dim": problem.dim,
                    "solver": solver,
                    "seed": seed,
                    "budget": budget,
                    "certified_rss": problem.data.certified_rss,
                    "seconds_per_point": floor,
                    "threads": _backend.info()["threads"],
                    "dtype": "float64",
                    "machine": machine(),
                    "versions": versions(),
                    **fit.as_dict(),
                }


def cell(records: Sequence[dict[str, Any]]) -> str:
    """Successes, successes after the finish, medians of digits, evaluations and seconds."""
    seconds = [r["cpu_seconds"] for r in records]
    return (
        f"{sum(r['reached'] for r in records):2d} {sum(r['reached_finished'] for r in records):2d} "
        f"{np.median([r['digits'] for r in records]):4.1f} "
        f"{np.median([r['digits_finished'] for r in records]):4.1f} "
        f"{np.median([r['nfev'] for r in records]):6.0f} "
        f"{np.median(seconds):5.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
    )


def table(records: Sequence[dict[str, Any]]) -> str:
    """Sets down, solvers in rows beneath each set; totals at the end."""
    runs = len({r["seed"] for r in records})
    lines = [
        f"NIST StRD, {runs} seeds: runs within 1e-6 of the certified RSS (ok), the same after",
        "least_squares (+LS); medians: digits, digits after it, evaluations, CPU s (min-max)",
        f"{machine()}",
        "",
        f"{'set':<9} {'p':>2} {'solver':<28} ok +L dig. +LS   evals CPU s",
    ]
    sets = list(dict.fromkeys(r["set"] for r in records))
    for name in sets:
        for k, solver in enumerate(SOLVERS):
            mine = [r for r in records if r["set"] == name and r["solver"] == solver]
            head = f"{name:<9} {mine[0]['dim']:2d}" if k == 0 else " " * 12
            lines.append(f"{head} {solver:<28} {cell(mine)}")
        budget = mine[0]["budget"]
        floor = mine[0]["seconds_per_point"] * budget
        lines.append(f"{'':<12} {'floor: the budget, evaluated':<28} {budget:22d} {floor:5.3f}")
    lines.append("")
    for solver in SOLVERS:
        mine = [r for r in records if r["solver"] == solver]
        always = sum(all(r["reached_finished"] for r in mine if r["set"] == name) for name in sets)
        lines.append(
            f"{solver:<28} {np.mean([r['reached'] for r in mine]):6.1%} of runs, "
            f"{np.mean([r['reached_finished'] for r in mine]):6.1%} after +LS; {always} of "
            f"{len(sets)} sets by every seed; {sum(r['cpu_seconds'] for r in mine):.1f} s"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="NIST regression sets: cbo beside scipy")
    parser.add_argument("--quick", action="store_true", help="six sets, a smaller budget")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each solver (default 5)")
    parser.add_argument("--budget", type=int, help="evaluations per parameter")
    parser.add_argument("--sets", nargs="+", choices=_nist.NAMES, metavar="NAME")
    parser.add_argument("--jsonl", type=Path, metavar="FILE", help="append the records")
    options = parser.parse_args(argv)
    names = options.sets or (_demo_nist.QUICK if options.quick else _nist.NAMES)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}")
    if options.budget is not None and options.budget < 100:
        parser.error(f"--budget must be at least 100, got {options.budget}")
    budget = options.budget or (5000 if options.quick else _demo_nist.EVALUATIONS_PER_DIMENSION)
    records = []
    for record in run(names, range(options.seeds), budget):
        records.append(record)
        if options.jsonl is not None:
            with options.jsonl.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
    print(table(records))
    return 0


if __name__ == "__main__":
    sys.exit(main())
