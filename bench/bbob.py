"""Global optimisers on the BBOB functions of COCO, side by side in one process.

    python bench/bbob.py --dims 5 20 --instances 1-3 --seeds 3 --methods cbo,cma,de

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
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

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


METHODS: dict[str, tuple[Method, str]] = {  # and the distribution it comes from
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
    lines = []
    names = [m for m in METHODS if any(r.method == m for r in runs)]
    for dim in sorted({r.dim for r in runs}):
        here = [r for r in runs if r.dim == dim]
        lines.append(f"\n{dim}-D, score/AUC" + " " * 13 + "".join(f"{m:>15}" for m in names))
        rows: dict[str, Iterable[int]] = {"all": range(1, 25), **GROUPS}
        for name, functions in rows.items():
            cells = []
            for method in names:
                chosen = [r for r in here if r.method == method and r.function in functions]
                cells.append(
                    f"{mean(r.score() for r in chosen):8.3f}/{mean(r.auc() for r in chosen):.3f} "
                )
            lines.append(f"{name:<28}" + "".join(f"{c:>15}" for c in cells))
        cells = []
        for method in names:
            chosen = [r for r in here if r.method == method]
            cells.append(
                f"{1e6 * sum(r.seconds for r in chosen) / sum(r.nfev for r in chosen):.1f}"
            )
        lines.append(f"{'us per evaluation, f incl.':<28}" + "".join(f"{c:>14} " for c in cells))
        lines.append("runs that reached 1e-8, of all")
        for function in sorted({r.function for r in here}):
            counts: dict[str, list[bool]] = defaultdict(list)
            for r in here:
                if r.function == function:
                    counts[r.method].append(len(r.hits) == len(TARGETS))
            cells = [f"{sum(counts[m])}/{len(counts[m])}" for m in names]
            lines.append(f"  f{function:<25}" + "".join(f"{c:>14} " for c in cells))
    return "\n".join(lines)


def whole_numbers(text: str) -> list[int]:
    """Read "1-3,7" as [1, 2, 3, 7]."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def available(names: list[str]) -> tuple[list[str], dict[str, str]]:
    """The methods that can run here and their versions; the others are announced and skipped."""
    found, versions = [], {}
    for name in names:
        if name not in METHODS:
            sys.exit(f"--methods: expected names among {', '.join(METHODS)}, got '{name}'")
        distribution = METHODS[name][1]
        try:
            versions[name] = f"{distribution} {version(distribution)}"
            found.append(name)
        except PackageNotFoundError:
            print(f"skipping {name}: no package '{distribution}' here (pip install {distribution})")
    return found, versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--functions", type=whole_numbers, default=list(range(1, 25)))
    parser.add_argument("--instances", type=whole_numbers, default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=5000, help="evaluations per dimension")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--jsonl", help="append one JSON record per run to this file")
    args = parser.parse_args()
    try:
        coco = version("coco-experiment")
    except PackageNotFoundError:
        sys.exit("the BBOB functions are missing: pip install coco-experiment")

    methods, versions = available(args.methods.split(","))
    about: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "coco": coco,
        "threads": 1,
        "dtype": "float64",
    }
    print(", ".join(f"{k} {v}" for k, v in about.items()), *versions.values(), sep=", ")
    sink = open(args.jsonl, "a") if args.jsonl else None  # noqa: SIM115 (closed below)
    runs: list[Run] = []
    cases = itertools.product(args.dims, args.functions, args.instances, range(args.seeds))
    for dim, function, instance, seed in cases:
        for method in methods:  # alternating, so that a busy machine slows all alike
            run = measure(method, function, dim, instance, seed, args.budget)
            runs.append(run)
            if sink:
                record = {**asdict(run), "score": run.score(), "auc": run.auc()}
                sink.write(json.dumps({**record, "version": versions[method], **about}) + "\n")
                sink.flush()
    if sink:
        sink.close()
    print(table(runs))


if __name__ == "__main__":
    main()
