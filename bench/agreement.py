"""How often `success` is true, and how often that is wrong, on the BBOB functions.

A solver's success is wrong when its value lies more than 1e-6 max(1, |f_opt|) above the known
minimum. Beside cbo: scipy's differential_evolution by its defaults, with the same budget.

    python bench/agreement.py [--quick] [--repeats SEEDS] [--jsonl FILE]    # needs coco-experiment
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import _common as common
import _tables as tables
import numpy as np
from _common import Record
from _tables import Table
from numpy.typing import NDArray
from scipy.optimize import differential_evolution

from fastopt import cbo

BUDGET = 10_000  # evaluations per dimension
CLOSE = 1e-6
Point = NDArray[np.float64]
Function = Callable[[Point], float]


def solve_cbo(fun: Function, bounds: list[tuple[float, float]], seed: int) -> Any:
    return cbo(fun, bounds, maxfev=BUDGET * len(bounds), rng=seed, threads=1)


def solve_de(fun: Function, bounds: list[tuple[float, float]], seed: int) -> Any:
    return differential_evolution(fun, bounds, maxiter=BUDGET // 15 - 1, rng=seed)


SOLVERS = {"fastopt.cbo": (solve_cbo, ""), "differential_evolution": (solve_de, "scipy")}


def measure(dim: int, instances: int, seeds: int) -> list[Record]:
    """One record for each solver: all functions, instances and seeds of one dimension."""
    from cocoex import BareProblem

    counts = {
        name: dict.fromkeys(("runs", "right", "success", "wrong", "nfev"), 0) for name in SOLVERS
    }
    seconds = dict.fromkeys(SOLVERS, 0.0)
    wrong: dict[str, list[str]] = {name: [] for name in SOLVERS}
    for function in range(1, 25):
        for instance in range(1, instances + 1):
            problem = BareProblem("bbob", function, dim, instance)
            best = problem.best_value()
            for seed in range(seeds):
                for name, (solve, _) in SOLVERS.items():
                    box = [(-5.0, 5.0)] * dim
                    result, spent = common.timed(
                        lambda s=solve, p=problem, b=box, k=seed: s(lambda x: p(x), b, k)
                    )
                    seconds[name] += spent.cpu
                    right = bool(result.fun - best <= CLOSE * max(1.0, abs(best)))
                    t = counts[name]
                    t["runs"] += 1
                    t["right"] += right
                    t["success"] += bool(result.success)
                    t["nfev"] += int(result.nfev)
                    if result.success and not right:
                        t["wrong"] += 1
                        wrong[name].append(f"f{function} instance {instance}")
    return [
        Record(
            table="agreement",
            row=f"{dim}-D",
            column=name,
            peer=peer,
            problems="coco-experiment",
            times=[seconds[name] / counts[name]["nfev"]],
            per="evaluation",
            nfev=counts[name]["nfev"],
            costs={"wrong": counts[name]["wrong"]},
            scores={"found": counts[name]["right"]},
            extra={
                "runs": counts[name]["runs"],
                "success": counts[name]["success"],
                "instances": instances,
                "seeds": seeds,
                **({"where": wrong[name]} if len(wrong[name]) <= 10 else {}),
            },
        )
        for name, (_, peer) in SOLVERS.items()
    ]


def rows(records: Sequence[Record]) -> tables.Rows:
    """Sums over the dimensions, each solver."""
    dims = ", ".join(dict.fromkeys(one.row for one in records))
    header = [dims, "runs", "found the minimum", "success", "of these wrong", "evaluations"]
    body = []
    for name in dict.fromkeys(one.column for one in records):
        mine = [one for one in records if one.column == name]
        success, wrong = (sum(tables.of(k)(one, ()) for one in mine) for k in ("success", "wrong"))
        counted = [sum(tables.of(k)(one, ()) for one in mine) for k in ("runs", "found")]
        share = f"{wrong} ({wrong / max(1, success):.1%})"
        evaluations = sum(one.nfev or 0 for one in mine)
        body.append([name, *map(str, counted), str(success), share, f"{evaluations / 1e6:.1f} M"])
    return [header, *body]


TABLES = (
    Table("agreement", f"BBOB, at most {BUDGET} evaluations per dimension: who said success", rows),
)


def main(argv: Sequence[str] | None = None) -> int:
    options = common.parser(__doc__.splitlines()[0]).parse_args(argv)
    if not common.has("cocoex", "agreement, whose problems are COCO's"):
        return common.MISSING
    dims, instances = ((2, 3), 1) if options.quick else ((2, 3, 5), 15)
    seeds = 1 if options.quick else options.repeats
    records = []
    for dim in dims:
        found = measure(dim, instances, seeds)
        common.write(found, options.jsonl)
        records += found
    tables.publish(TABLES, records)
    for one in records:
        if one.column == "fastopt.cbo" and one.extra.get("where"):
            print(f"cbo was wrong in {one.row}: {', '.join(one.extra['where'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
