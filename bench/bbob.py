"""Global optimisers on the BBOB functions of COCO, side by side in one process.

    python bench/bbob.py --dims 5 20 --instances 1-3 --seeds 3 --methods cbo,cma,de
    python bench/bbob.py --quick            # 5-D, instance 1, one seed

Every method gets the box [-5, 5]^d and ``budget * d`` evaluations of each problem; methods that end
early are restarted from another seed until the budget is spent, as their authors would. ``cbo`` is
not: it runs once with its defaults, its own stopping rules included.

*Score* is the share of the seven targets f - f_opt <= 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-5, 1e-8 that
were reached. *AUC* is the same share averaged over evaluations on a log scale from d to budget * d:
it rewards reaching a target early. Both are means over functions, instances and seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import _common as common
import numpy as np

TARGETS = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-5, 1e-8)
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

    method: str
    function: int
    dim: int
    instance: int
    seed: int
    budget: int
    nfev: int = 0
    gap: float = math.inf  # best f - f_opt
    hits: list[int] = field(default_factory=list)  # evaluations at which each target fell
    seconds: float = 0.0
    message: str = ""

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

    result = fastopt.cbo(f, box(dim), maxfev=evaluations, rng=seed)
    f.run.message = result.message


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


METHODS: dict[str, tuple[Method, str]] = {  # and the module it comes from
    "cbo": (cbo, "fastopt"),
    "de": (de, "scipy"),
    "da": (da, "scipy"),
    "cma": (cma, "cma"),
    "cbx": (cbx, "cbx"),
    "basinhopping": (basinhopping, "scipy"),
    "lbfgs": (lbfgs, "scipy"),
}


def measure(method: str, function: int, dim: int, instance: int, seed: int, budget: int) -> Run:
    from cocoex import BareProblem

    problem = BareProblem("bbob", function, dim, instance)
    run = Run(method, function, dim, instance, seed, budget * dim)
    started = time.perf_counter()
    try:
        METHODS[method][0](Recorder(problem, problem.best_value(), run), dim, run.budget, seed)
    except Spent:
        run.message = run.message or "budget spent or last target reached"
    run.seconds = time.perf_counter() - started
    return run


def mean(values: Iterable[float]) -> float:
    """Mean, or NaN of nothing."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else math.nan


def table(runs: list[Run]) -> str:
    """Score/AUC overall and by group, then solved runs function by function."""
    names = [m for m in METHODS if any(r.method == m for r in runs)]
    parts = []
    for dim in sorted({r.dim for r in runs}):
        here = {m: [r for r in runs if r.dim == dim and r.method == m] for m in names}
        tested = sorted({r.function for r in runs if r.dim == dim})
        rows = []
        for name, functions in {"all": range(1, 25), **GROUPS}.items():
            chosen = {m: [r for r in here[m] if r.function in functions] for m in names}
            if any(chosen.values()):
                rows.append([name, *(score_and_auc(chosen[m]) for m in names)])
        rows.append(["us per evaluation, f included", *(microseconds(here[m]) for m in names)])
        rows.append(["runs that reached 1e-8", *[""] * len(names)])
        for function in tested:
            chosen = {m: [r for r in here[m] if r.function == function] for m in names}
            rows.append([f"  f{function}", *(solved(chosen[m]) for m in names)])
        parts.append(common.table([f"{dim}-D, score/AUC", *names], rows))
    return "\n\n".join(parts)


def score_and_auc(runs: list[Run]) -> str:
    return f"{mean(r.score() for r in runs):.3f}/{mean(r.auc() for r in runs):.3f}"


def microseconds(runs: list[Run]) -> str:
    return f"{1e6 * sum(r.seconds for r in runs) / max(1, sum(r.nfev for r in runs)):.1f}"


def solved(runs: list[Run]) -> str:
    return f"{sum(len(r.hits) == len(TARGETS) for r in runs)}/{len(runs)}"


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
    return [name for name in names if common.has(METHODS[name][1], name)]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="5-D, instance 1, one seed")
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--functions", type=whole_numbers, default=list(range(1, 25)))
    parser.add_argument("--instances", type=whole_numbers, default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=5000, help="evaluations per dimension")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--jsonl", type=Path, metavar="FILE", help="append one record per run")
    options = parser.parse_args(argv)
    if options.quick:
        options.dims, options.instances, options.seeds = [5], [1], 1
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    if not common.has("cocoex", "any method"):
        return 1
    methods = available(options.methods.split(","))
    versions = {**common.versions(), "coco": version("coco-experiment")}
    about = {"machine": common.machine(), "versions": versions}
    print(common.machine(), *(f"{k} {v}" for k, v in versions.items()), sep=", ")
    warnings.filterwarnings("ignore", module="cma")
    warnings.filterwarnings("ignore", module="scipy")
    runs: list[Run] = []
    cases = itertools.product(
        options.dims, options.functions, options.instances, range(options.seeds)
    )
    for dim, function, instance, seed in cases:
        for method in methods:  # alternating, so that a busy machine slows all alike
            run = measure(method, function, dim, instance, seed, options.budget)
            runs.append(run)
            if options.jsonl:
                record = {**asdict(run), "score": run.score(), "auc": run.auc(), **about}
                with options.jsonl.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"bench": "bbob", **record}) + "\n")
    print(table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
