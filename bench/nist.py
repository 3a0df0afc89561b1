"""NIST StRD regression sets from wide boxes: success, accuracy, evaluations and time.

Every solver minimises the same residual sum of squares over the same box (fastopt._nist) with the
same budget, 20000 evaluations per parameter (--quick: six sets, 3000), for several seeds,
alternating. A run succeeds when its residual sum is within 1e-6 (relative) of the certified one;
"+LS" is the same after scipy's least_squares from where the solver ended. Times are CPU time of
the solver, all its threads together, without the finish. The floor is the model itself, evaluated
as often in batches of 100.

    python bench/nist.py [--quick] [--repeats SEEDS] [--budget N] [--sets NAME ...] [--jsonl FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import _common as common
import _tables as tables
import numpy as np
from _common import Record
from _floor import median_seconds
from _tables import Table

from fastopt import _backend, _demo_nist, _nist

SOLVERS = {**_demo_nist.SOLVERS, **_demo_nist.PEERS}


def seconds_per_point(problem: _nist.Problem) -> float:
    """Time of one point in a batch of 100: what no solver can go below."""
    z = np.random.default_rng(0).uniform(*np.array(problem.bounds).T, (100, problem.dim)).T
    with np.errstate(all="ignore"):
        return median_seconds(lambda: problem.objective(z)) / 100


def measure(names: Sequence[str], seeds: int, budget_per_dimension: int) -> Iterator[list[Record]]:
    """One record per set and solver, all its seeds in it."""
    for name in names:
        problem = _nist.load(name)
        floor = seconds_per_point(problem)
        budget = budget_per_dimension * problem.dim
        fits: dict[str, list[Any]] = {solver: [] for solver in SOLVERS}
        for seed in range(seeds):
            for solver, found in fits.items():
                found.append(_demo_nist.fit(problem, solver, seed, budget))
        yield [
            Record(
                table="nist",
                row=name,
                column=solver,
                peer="scipy" if solver in _demo_nist.PEERS else "",
                times=[fit.cpu_seconds for fit in found],
                fun=float(np.median([fit.rss for fit in found])),
                violation=0.0,
                nfev=float(np.median([fit.nfev for fit in found])),
                threads=1,
                scores={
                    "ok": [fit.reached for fit in found],
                    "ok_LS": [fit.reached_finished for fit in found],
                },
                extra={
                    "parameters": problem.dim,
                    "digits": float(np.median([fit.digits for fit in found])),
                    "digits_LS": float(np.median([fit.digits_finished for fit in found])),
                    "floor": floor * budget,
                    "threads of the solver": _backend.info()["threads"],
                },
            )
            for solver, found in fits.items()
        ]


def ok(name: str) -> tables.Cell:
    return lambda record, _: f"{sum(record.scores[name])}/{len(record.scores[name])}"


def summary(records: Sequence[Record]) -> tables.Rows:
    """All sets of each solver."""
    sets = len({one.row for one in records})
    header = [
        "",
        "runs within 1e-6",
        "after least_squares",
        f"of {sets} sets by every seed",
        "CPU s",
    ]
    body = []
    for solver in dict.fromkeys(one.column for one in records):
        mine = [one for one in records if one.column == solver]
        shares = [np.mean([k for one in mine for k in one.scores[n]]) for n in ("ok", "ok_LS")]
        always = sum(all(one.scores["ok_LS"]) for one in mine)
        spent = sum(sum(one.times) for one in mine)
        body.append([solver, *(f"{s:.1%}" for s in shares), str(always), tables.number(spent)])
    return [header, *body]


TABLES = (
    Table(
        "nist",
        "NIST StRD: runs within 1e-6 of the certified RSS, the same after least_squares (LS); "
        "medians of digits, evaluations and CPU s",
        tables.listed(
            "set",
            p=tables.of("parameters"),
            ok=ok("ok"),
            ok_LS=ok("ok_LS"),
            digits=tables.of("digits"),
            digits_LS=tables.of("digits_LS"),
            evaluations=tables.of("nfev"),
            CPU_s=tables.spread(1),
            floor=tables.of("floor"),
        ),
    ),
)
SUMMARY = Table("nist", "NIST StRD, all sets", summary)


def main(argv: Sequence[str] | None = None) -> int:
    parser = common.parser("NIST regression sets: cbo beside scipy")
    parser.add_argument("--budget", type=int, help="evaluations per parameter")
    parser.add_argument("--sets", nargs="+", choices=_nist.NAMES, metavar="NAME")
    options = parser.parse_args(argv)
    if options.budget is not None and options.budget < 100:
        parser.error(f"--budget must be at least 100, got {options.budget}")
    names = options.sets or (_demo_nist.QUICK if options.quick else _nist.NAMES)
    budget = options.budget or (3000 if options.quick else _demo_nist.EVALUATIONS_PER_DIMENSION)
    records = []
    for found in measure(names, 2 if options.quick else options.repeats, budget):
        common.write(found, options.jsonl)
        records += found
    print(common.machine())
    tables.publish((*TABLES, SUMMARY), records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
