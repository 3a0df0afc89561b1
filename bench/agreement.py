"""How often `success` is true, and how often that is wrong, on the BBOB functions.

A solver's success is wrong when its value lies more than 1e-6 max(1, |f_opt|) above the known
minimum. Beside cbo: scipy's differential_evolution by its defaults, with the same budget.

    python bench/agreement.py [--quick] [--jsonl FILE]        # needs coco-experiment
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import _common as common
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import differential_evolution

from fastopt import cbo

BUDGET = 10_000  # evaluations per dimension
CLOSE = 1e-6
Point = NDArray[np.float64]
Function = Callable[[Point], float]


def solve_cbo(fun: Function, bounds: list[tuple[float, float]], seed: int) -> Any:
    return cbo(fun, bounds, maxfev=BUDGET * len(bounds), rng=seed)


def solve_de(fun: Function, bounds: list[tuple[float, float]], seed: int) -> Any:
    return differential_evolution(fun, bounds, maxiter=BUDGET // 15 - 1, rng=seed)


SOLVERS = {"fastopt.cbo": solve_cbo, "differential_evolution": solve_de}


def main(argv: Sequence[str] | None = None) -> int:
    options = common.parse(__doc__.splitlines()[0], argv)
    if not common.has("cocoex", "BBOB"):
        return 2
    from cocoex import BareProblem

    dims, instances, seeds = ((2, 3), 2, 1) if options.quick else ((2, 3, 5), 15, 2)
    tally = {name: dict.fromkeys(("runs", "right", "success", "wrong", "nfev"), 0)
             for name in SOLVERS}  # fmt: skip
    errors: list[dict[str, Any]] = []
    for dim in dims:
        for function in range(1, 25):
            for instance in range(1, instances + 1):
                problem = BareProblem("bbob", function, dim, instance)
                best = problem.best_value()
                for seed in range(seeds):
                    for name, solve in SOLVERS.items():
                        result = solve(lambda x: problem(x), [(-5.0, 5.0)] * dim, seed)  # noqa: B023
                        right = result.fun - best <= CLOSE * max(1.0, abs(best))
                        t = tally[name]
                        t["runs"] += 1
                        t["right"] += right
                        t["success"] += result.success
                        t["wrong"] += result.success and not right
                        t["nfev"] += result.nfev
                        if result.success and not right:
                            errors.append({"solver": name, "function": function, "dim": dim,
                                           "instance": instance, "seed": seed,
                                           "gap": result.fun - best})  # fmt: skip
    print(f"BBOB in {dims} dimensions, instances 1-{instances}, {seeds} seed(s), "
          f"{BUDGET} evaluations per dimension at most")  # fmt: skip
    print(f"{'':<24}{'runs':>6}{'right':>7}{'success':>9}{'wrong':>7}{'of successes':>14}"
          f"{'evaluations':>14}")  # fmt: skip
    for name, t in tally.items():
        share = t["wrong"] / max(1, t["success"])
        print(f"{name:<24}{t['runs']:>6}{t['right']:>7}{t['success']:>9}{t['wrong']:>7}"
              f"{share:>13.1%} {t['nfev']:>13,}")  # fmt: skip
    ours = [e for e in errors if e["solver"] == "fastopt.cbo"]
    print(
        "cbo's wrong successes:",
        ", ".join(f"f{e['function']} {e['dim']}-D instance {e['instance']}" for e in ours)
        or "none",
    )
    if options.jsonl:
        with options.jsonl.open("a", encoding="utf-8") as file:
            for name, t in tally.items():
                record = {"bench": "agreement", "solver": name, **t, "versions": common.versions(),
                          "machine": common.machine()}  # fmt: skip
                file.write(json.dumps(record) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
