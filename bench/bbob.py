"""Global optimisers on the BBOB functions of COCO, side by side in one process.

    python bench/bbob.py --dims 5 20 --instances 1-3 --seeds 3 --methods cbo,cma,de
    python bench/bbob.py --quick            # 5-D, instance 1, one seed, 2000 d evaluations

Every method gets the box [-5, 5]^d and ``budget * d`` evaluations of each problem; methods that end
early are restarted from another seed until the budget is spent, as their authors would. ``cbo`` is
not: it runs once with its defaults, its own stopping rules included.

*Score* is the share of the seven targets f - f_opt <= 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-5, 1e-8 that
were reached. *AUC* is the same share averaged over evaluations on a log scale from d to budget * d:
it rewards reaching a target early. Both are means over functions, instances and seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import _common as common
import _tables as tables
import numpy as np
from _common import Record
from _tables import Table, Target

TARGETS = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-5, 1e-8)
BUDGET = 5000  # evaluations per dimension
PROFILED = (4, 6)  # the targets whose evaluations stand in the records, 1e-3 and 1e-8
GROUPS = {
    "separable f1-f5": range(1, 6),
    "moderate f6-f9": range(6, 10),
    "ill-conditioned f10-f14": range(10, 15),
    "multimodal f15-f19": range(15, 20),
    "weak structure f20-f24": range(20, 25),
}


class Spent(Exception):
    """The budget is used up, or the last target is reached."""


@dataclass
class Run:
    """What one method did on one problem with one seed."""

    dim: int
    budget: int
    nfev: int = 0
    gap: float = math.inf  # best f - f_opt
    hits: list[int] = field(default_factory=list)  # evaluations at which each target fell
    seconds: float = 0.0

    def score(self) -> float:
        return len(self.hits) / len(TARGETS)

    def auc(self) -> float:
        span = math.log(self.budget / self.dim)
        late = [math.log(max(h, self.dim) / self.dim) for h in self.hits]
        return sum(1 - t / span for t in late) / len(TARGETS)


class Recorder:
    """The objective that every method sees: counts, remembers targets, enforces the budget."""

    def __init__(self, problem: Callable[[np.ndarray], float], optimum: float, run: Run) -> None:
        self.problem, self.optimum, self.run = problem, optimum, run

    def __call__(self, x: np.ndarray) -> float:
        run = self.run
        if run.nfev >= run.budget:
            raise Spent
        value = float(self.problem(x))
        run.nfev += 1
        if value - self.optimum < run.gap:
            run.gap = value - self.optimum
            while len(run.hits) < len(TARGETS) and run.gap <= TARGETS[len(run.hits)]:
                run.hits.append(run.nfev)
            if len(run.hits) == len(TARGETS):
                raise Spent
        return value


Method = Callable[[Recorder, int, int, int], None]  # (f, dim, evaluations, seed)


def box(dim: int) -> list[tuple[float, float]]:
    return [(-5.0, 5.0)] * dim


def seeds(seed: int) -> Iterator[np.random.Generator]:
    """Independent generators for restarts; the recorder ends them."""
    return (np.random.default_rng([seed, k]) for k in itertools.count())


def cbo(f: Recorder, dim: int, evaluations: int, seed: int) -> None:
    import fastopt

    fastopt.cbo(f, box(dim), maxfev=evaluations, rng=seed, threads=1)


def de(f: Recorder, dim: int, evaluations: int, seed: int) -> None:
    from scipy.optimize import differential_evolution

    for rng in seeds(seed):
        differential_evolution(f, box(dim), rng=rng, maxiter=evaluations)


def da(f: Recorder, dim: int, evaluations: int, seed: int) -> None:
    from scipy.optimize import dual_annealing

    for rng in seeds(seed):
        dual_annealing(f, box(dim), rng=rng, maxfun=evaluations)


def basinhopping(f: Recorder, dim: int, evaluations: int, seed: int) -> None:
    from scipy.optimize import basinhopping as hop

    local = {"method": "L-BFGS-B", "bounds": box(dim)}
    for rng in seeds(seed):
        hop(f, rng.uniform(-5, 5, dim), minimizer_kwargs=local, rng=rng)


def lbfgs(f: Recorder, dim: int, evaluations: int, seed: int) -> None:
    from scipy.optimize import minimize

    for rng in seeds(seed):
        minimize(f, rng.uniform(-5, 5, dim), method="L-BFGS-B", bounds=box(dim))


def cma(f: Recorder, dim: int, evaluations: int, seed: int) -> None:
    """pycma with BIPOP restarts, its own handling of bounds, a fifth of the box as first step."""
    from cma import fmin2

    for rng in seeds(seed):
        options = {
            "bounds": [-5, 5],
            "maxfevals": evaluations,
            "verbose": -9,
            "seed": int(rng.integers(1, 2**31)),
        }

        def start(rng: np.random.Generator = rng) -> np.ndarray:
            return rng.uniform(-5, 5, dim)

        fmin2(f, start, 2.0, options, restarts=20, bipop=True)


def cbx(f: Recorder, dim: int, evaluations: int, seed: int) -> None:
    """CBXpy with the settings of its Rastrigin notebook."""
    from cbx.dynamics import CBO
    from cbx.scheduler import multiply

    for rng in seeds(seed):
        dynamic = CBO(
            f,
            x=rng.uniform(-5, 5, (1, 50, dim)),
            noise="anisotropic",
            sigma=8.1,
            lamda=1.0,
            dt=0.01,
            alpha=30.0,
            max_it=1000,
            verbosity=0,
            seed=int(rng.integers(2**31)),
        )
        dynamic.optimize(sched=multiply(factor=1.01, maximum=1e3))


METHODS: dict[str, tuple[Method, str]] = {  # and the package it comes from
    "cbo": (cbo, ""),
    "de": (de, "scipy"),
    "da": (da, "scipy"),
    "cma": (cma, "cma"),
    "cbx": (cbx, "cbx"),
    "basinhopping": (basinhopping, "scipy"),
    "lbfgs": (lbfgs, "scipy"),
}


def run_one(method: str, problem: Callable, dim: int, seed: int, budget: int) -> Run:
    run = Run(dim, budget * dim)
    clock = common.Clock()
    with contextlib.suppress(Spent):
        METHODS[method][0](Recorder(problem, problem.best_value(), run), dim, run.budget, seed)
    run.seconds = clock.read().cpu
    return run


def measure(options: argparse.Namespace, dim: int, group: str, methods: list[str]) -> list[Record]:
    """One record for each method: all runs on a group of functions, in a fixed order."""
    from cocoex import BareProblem

    functions = [f for f in options.functions if f in GROUPS[group]]
    runs: dict[str, list[Run]] = {method: [] for method in methods}
    for function, instance in itertools.product(functions, options.instances):
        problem = BareProblem("bbob", function, dim, instance)
        for seed in range(options.seeds):
            for method in methods:  # alternating, so that a busy machine slows all alike
                runs[method].append(run_one(method, problem, dim, seed, options.budget))
    about = {"functions": functions, "instances": options.instances, "seeds": options.seeds}
    return [record_of(f"{dim}-D, {group}", method, done, about) for method, done in runs.items()]


def record_of(row: str, method: str, runs: list[Run], about: dict) -> Record:
    nfev = sum(run.nfev for run in runs)
    hits = {
        f"evaluations to {TARGETS[k]:g}": [
            run.hits[k] if len(run.hits) > k else None for run in runs
        ]
        for k in PROFILED
    }
    return Record(
        table="bbob",
        row=row,
        column=method,
        peer=METHODS[method][1],
        problems="coco-experiment",
        times=[sum(run.seconds for run in runs) / max(1, nfev)],
        per="evaluation",
        nfev=nfev,
        scores={
            "score": [round(run.score(), 3) for run in runs],
            "auc": [round(run.auc(), 3) for run in runs],
        },
        extra={**about, "budget": runs[0].budget, **hits},
    )


# ---- tables ------------------------------------------------------------------------------------


def pooled(records: Sequence[Record], row: str, column: str) -> Record | None:
    """The records of a column in the rows that begin so, as one."""
    mine = [one for one in records if one.column == column and one.row.startswith(row)]
    if not mine:
        return None
    scores = {name: [k for one in mine for k in one.scores[name]] for name in ("score", "auc")}
    nfev = sum(one.nfev or 0 for one in mine)
    seconds = sum(one.median * (one.nfev or 0) for one in mine) / max(1, nfev)
    return Record("bbob", f"{row} all", column, nfev=nfev, times=[seconds], scores=scores)


def score_and_auc(record: Record | None) -> str:
    if record is None:
        return ""
    return "/".join(f"{np.mean(record.scores[name]):.3f}".lstrip("0") for name in ("score", "auc"))


def rows(records: Sequence[Record]) -> tables.Rows:
    """Score/AUC of all functions and by group, then the cost of an evaluation."""
    columns = list(dict.fromkeys(one.column for one in records))
    dims = list(dict.fromkeys(one.row.split(",")[0] for one in records))
    body = []
    for dim in dims:
        groups = [
            "",
            *(f", {g}" for g in GROUPS if any(one.row == f"{dim}, {g}" for one in records)),
        ]
        for group in groups:
            found = [pooled(records, f"{dim}{group}", column) for column in columns]
            body.append([f"{dim}{group or ', all'}", *map(score_and_auc, found)])
        found = [pooled(records, f"{dim},", column) for column in columns]
        spent = [f"{one.median * 1e6:.1f}" if one else "" for one in found]
        body.append([f"{dim}, us per evaluation, f included", *spent])
    return [["score/AUC", *columns], *body]


def solved(record: Record, function: int) -> str:
    """Runs of this function that reached the last target."""
    done = record.extra[f"evaluations to {TARGETS[-1]:g}"]
    each = len(record.extra["instances"]) * record.extra["seeds"]
    start = record.extra["functions"].index(function) * each
    return f"{sum(k is not None for k in done[start : start + each])}/{each}"


def solved_rows(records: Sequence[Record]) -> tables.Rows:
    columns = list(dict.fromkeys(one.column for one in records))
    body = []
    for row, group in tables.by_row(records).items():
        for function in group[0].extra["functions"]:
            found = {one.column: solved(one, function) for one in group}
            line = [f"{row.split(',')[0]} f{function}", *(found.get(c, "") for c in columns)]
            body.append(line)
    return [["runs that reached 1e-8", *columns], *body]


def targets(records: Sequence[Record]) -> list[Target]:
    """With the whole budget, on all functions."""
    wanted = {("5-D", "score"): 0.84, ("20-D", "score"): 0.74, ("5-D", "auc"): 0.345,
              ("20-D", "auc"): 0.26}  # fmt: skip
    found = []
    for (dim, name), bound in wanted.items():
        mine = [r for r in records if r.row.startswith(f"{dim},") and r.column == "cbo"]
        whole = all(r.extra["budget"] == BUDGET * int(dim[:-2]) for r in mine)
        if (one := pooled(mine, "", "cbo")) is not None and whole and len(mine) == len(GROUPS):
            value = float(np.mean(one.scores[name]))
            found.append(Target(f"{name} of cbo, {dim}", value, bound, at_least=True))
    return found


TABLES = (
    Table(
        "bbob",
        "BBOB: score is the share of seven targets from 10 to 1e-8 that were reached, AUC the same "
        "averaged over log evaluations",
        rows,
        targets,
    ),
)
SOLVED = Table("bbob", "function by function", solved_rows)


def whole_numbers(text: str) -> list[int]:
    """Read "1-3,7" as [1, 2, 3, 7]."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def available(names: list[str]) -> list[str]:
    """The methods that can run here; the others are announced and left out."""
    for name in names:
        if name not in METHODS:
            sys.exit(f"--methods: expected names among {', '.join(METHODS)}, got '{name}'")
    return [name for name in names if common.has(METHODS[name][1] or "fastopt", name)]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = common.parser(__doc__.split("\n")[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--functions", type=whole_numbers, default=list(range(1, 25)))
    parser.add_argument("--instances", type=whole_numbers, default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=BUDGET, help="evaluations per dimension")
    parser.add_argument("--methods", default=",".join(METHODS))
    options = parser.parse_args(argv)
    if options.quick:
        options.dims, options.instances, options.seeds, options.budget = [5], [1], 1, 2000
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    if not common.has("cocoex", "bbob, whose problems are COCO's"):
        return common.MISSING
    methods = available(options.methods.split(","))
    print(common.machine())
    warnings.filterwarnings("ignore", module="cma")
    warnings.filterwarnings("ignore", module="scipy")
    records: list[Record] = []
    for dim, group in itertools.product(options.dims, GROUPS):
        if any(function in GROUPS[group] for function in options.functions):
            found = measure(options, dim, group, methods)
            common.write(found, options.jsonl)
            records += found
    tables.publish((*TABLES, SOLVED), records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
