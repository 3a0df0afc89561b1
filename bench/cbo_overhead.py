"""What the optimiser itself costs when the objective belongs to someone else.

Three tables. (1) A vectorised NumPy objective: time of one iteration without the time inside the
objective. (2) The default, 'hybrid', on native functions: time of one evaluation without the
function, apart for its two particle regimes, and a scalar Python objective. (3) Peak memory.

    python bench/cbo_overhead.py [--quick] [--repeats N] [--jsonl FILE]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from _common import Clock, Outcome, Record, Seconds, Subject
from numpy.typing import NDArray
from scipy.optimize import differential_evolution, dual_annealing

from fastopt import _backend, cbo, problems

Array = NDArray[np.float64]

# targets: an iteration with a vectorised objective, and evaluations of the hybrid
STEP_US, COORDINATE_NS = 15.0, 6.0
HOPPING_US, SWARM_US = 0.6, 0.2
MEMORY_RATIO = 2.2


class Metered:
    """A function that knows how many points it saw and how long it took."""

    def __init__(self, function: Callable[[Array], Any]) -> None:
        self.function = function
        self.points = 0
        self.spent = Seconds(0.0, 0.0)

    def __call__(self, x: Array) -> Any:
        clock = Clock()
        value = self.function(x)
        now = clock.read()
        self.spent = Seconds(self.spent.wall + now.wall, self.spent.cpu + now.cpu)
        self.points += x.shape[-1] if x.ndim == 2 else 1
        return value


def rastrigin_columns(x: Array) -> Array:
    total: Array = np.sum(x**2 - 10.0 * np.cos(2.0 * np.pi * x), axis=0)
    return 10.0 * len(x) + total


def rastrigin_point(x: Array) -> float:
    return float(10.0 * x.size + (x * x - 10.0 * np.cos(2.0 * np.pi * x)).sum())


BOX = (-5.12, 5.12)

# ---- 1: vectorised NumPy objective -------------------------------------------------------------


def vectorised_cbo(n: int, d: int, steps: int, dynamics: str) -> Callable[[], Outcome]:
    def timed(maxiter: int) -> tuple[Any, Seconds]:
        metered = Metered(rastrigin_columns)
        clock = Clock()
        result = cbo(
            metered,
            [BOX] * d,
            vectorized=True,
            n_particles=n,
            dynamics=dynamics,
            init="random",
            rng=1,
            maxiter=maxiter,
            alpha=30.0,
            diffusion=0.5,
            tol=0.0,
            polish=False,
            threads=1,
        )
        return result, clock.read() - metered.spent

    setup = min((timed(1)[1] for _ in range(5)), key=lambda spent: spent.cpu)

    def run() -> Outcome:
        result, spent = timed(steps + 1)
        return Outcome(steps, result.fun, result.nfev, spent - setup)

    return run


def vectorised_cbx(n: int, d: int, steps: int) -> Callable[[], Outcome]:
    from cbx.dynamics import CBO

    start = np.random.default_rng(1).uniform(*BOX, (1, n, d))

    def run() -> Outcome:
        metered = Metered(lambda x: 10.0 * d + (x**2 - 10.0 * np.cos(2.0 * np.pi * x)).sum(-1))
        dynamic = CBO(metered, x=start, noise="anisotropic", f_dim="3D", alpha=30.0, verbosity=0)
        schedule = dynamic.default_sched()
        before = metered.spent
        clock = Clock()
        for _ in range(steps):
            dynamic.step()
            schedule.update(dynamic)
        spent = clock.read() - (metered.spent - before)
        return Outcome(steps, float(dynamic.best_energy[0]), n * steps, spent)

    return run


def vectorised_de(n: int, d: int, steps: int) -> Callable[[], Outcome]:
    def run() -> Outcome:
        metered = Metered(rastrigin_columns)
        clock = Clock()
        result = differential_evolution(
            metered,
            [BOX] * d,
            popsize=max(1, n // d),
            maxiter=steps,
            vectorized=True,
            updating="deferred",
            polish=False,
            tol=0.0,
            rng=1,
        )
        return Outcome(result.nit, result.fun, metered.points, clock.read() - metered.spent)

    return run


def vectorised_table(options: Any, with_cbx: bool) -> list[Record]:
    sizes = [(100, 20, 500), (1000, 20, 200), (10000, 100, 10)]
    records: list[Record] = []
    lines, checks = [], []
    for n, d, steps in sizes:
        steps = max(5, steps // 4) if options.quick else steps
        subjects = [
            Subject("fastopt", vectorised_cbo(n, d, steps, "anisotropic")),
            Subject("fastopt, memory", vectorised_cbo(n, d, steps, "memory")),
        ]
        if with_cbx:
            subjects.append(Subject("CBXpy, defaults", vectorised_cbx(n, d, steps)))
        if n <= 1000:
            subjects.append(Subject("differential_evolution", vectorised_de(n, d, steps)))
        case = f"vectorised objective, N = {n}, d = {d}"
        found = common.alternate("cbo_overhead", case, subjects, options.repeats)
        records += found
        lines.append([case, "", "", "", ""])
        for record in found:
            lines.append(
                [
                    f"  {record.solver}",
                    common.spread(record, 1e6),
                    f"{record.median * 1e9 / (n * d):.2f}",
                    f"{record.fun:.3g}",
                    str(record.nfev),
                ]
            )
        bound = STEP_US + COORDINATE_NS * n * d * 1e-3
        label = f"{case}: us per step beside the objective"
        checks.append(common.verdict(label, found[0].median * 1e6, bound, at_least=False))
    header = ["case and solver", "us per step (min-max)", "ns/coord", "f reached", "nfev"]
    print(common.table(header, lines))
    print("\n".join(["targets", *checks]))
    return records


# ---- 2: time per evaluation --------------------------------------------------------------------


def regimes(batches: Array, d: int) -> tuple[float, float]:
    """Evaluations of hopping and of the swarm, from what each iteration of the hybrid evaluated.

    Hopping has N0 3^k points, N0 = 4 + floor(3 ln d), the swarm max(4, d) 2^j; without local
    searches there is nothing else.
    """
    first = 4 + int(3 * np.log(d))
    hops = np.isin(batches, first * 3 ** np.arange(20))
    return float(batches[hops].sum()), float(batches[~hops].sum())


def native_cost(problem: problems.NativeProblem, rows: int) -> float:
    """Seconds of one evaluation in a batch."""
    objective = _backend.module(None).native_objective(*problem._native_spec())
    points = np.random.default_rng(0).uniform(problem.lower, problem.upper, (rows, problem.dim))
    return common.seconds_of(lambda: objective.evaluate(points, threads=1), calls=200) / rows


def hybrid_table(options: Any) -> list[Record]:
    """Least squares of time = evaluations of each regime times its cost, over several runs."""
    d = 20
    evaluations = 20_000 if options.quick else 100_000
    names = ("sphere", "ellipsoid", "rosenbrock", "rastrigin", "levy", "ackley")
    counts, seconds = [], []
    for name in names:
        problem = problems.get(name, d).shifted(rng=1)
        cost = native_cost(problem, 100)
        for budget in (evaluations // 5, evaluations):
            call: dict[str, Any] = {"rng": 1, "polish": False, "maxfev": budget, "threads": 1}
            call |= {"tol": 0.0}
            history = cbo(problem, problem.bounds, record_history=True, **call).history
            batches = np.diff(np.asarray(history["nfev"], dtype=float), prepend=0.0)
            spent = []
            for _ in range(options.repeats):
                clock = Clock()
                result = cbo(problem, problem.bounds, **call)
                spent.append(clock.read().cpu)
            counts.append(regimes(batches, d))
            seconds.append(float(np.median(spent)) - result.nfev * cost)
    cost_of, *_ = np.linalg.lstsq(np.array(counts), np.array(seconds), rcond=None)
    fitted = np.array(counts) @ cost_of
    residual = float(np.linalg.norm(fitted - seconds) / np.linalg.norm(seconds))
    print(f"hybrid, native functions, d = {d}: {len(counts)} runs, fitted to {residual:.0%}")
    labels = (("H (hopping)", HOPPING_US), ("P (swarm)", SWARM_US))
    records = []
    for (label, bound), value in zip(labels, cost_of, strict=True):
        text = f"{label}: us per evaluation beside the function"
        print(common.verdict(text, value * 1e6, bound, at_least=False))
        records.append(
            Record(
                bench="cbo_overhead",
                case=f"hybrid {label}, d = {d}",
                solver="fastopt",
                median=float(value),
                least=float(value),
                greatest=float(value),
                least_wall=float("nan"),
                repeats=options.repeats,
                nfev=int(np.sum(counts)),
                per="evaluation",
                extra={"residual": residual},
            )
        )
    return records


def scalar(solver: Callable[..., Any]) -> Callable[[], Outcome]:
    """Time beside a scalar Python function, per evaluation: `steps` are evaluations."""

    def run() -> Outcome:
        metered = Metered(rastrigin_point)
        clock = Clock()
        result = solver(metered)
        spent = clock.read() - metered.spent
        return Outcome(metered.points, float(result.fun), metered.points, spent)

    return run


def scalar_table(options: Any) -> list[Record]:
    d = 10
    budget = 3000 if options.quick else 20000
    bounds = [BOX] * d

    def plain(function: Any) -> Any:
        return cbo(
            function,
            bounds,
            dynamics="anisotropic",
            n_particles=150,
            maxiter=budget // 150,
            tol=0.0,
            polish=False,
            rng=1,
        )

    subjects = [
        Subject(
            "fastopt, hybrid",
            scalar(lambda f: cbo(f, bounds, maxfev=budget, tol=0.0, rng=1)),
        ),
        Subject("fastopt, anisotropic", scalar(plain)),
        Subject(
            "differential_evolution",
            scalar(
                lambda f: differential_evolution(
                    f, bounds, maxiter=budget // (15 * d) - 1, polish=False, tol=0.0, rng=1
                )
            ),
        ),
        Subject(
            "dual_annealing",
            scalar(lambda f: dual_annealing(f, bounds, maxfun=budget, no_local_search=True, rng=1)),
        ),
    ]
    case = f"scalar Python objective, d = {d}"
    records = common.alternate("cbo_overhead", case, subjects, options.repeats)
    records = [Record(**{**vars(record), "per": "evaluation"}) for record in records]
    lines = [[f"  {r.solver}", common.spread(r, 1e6), f"{r.fun:.3g}", str(r.nfev)] for r in records]
    print(common.table([case, "us per evaluation (min-max)", "f reached", "nfev"], lines))
    return records


# ---- 3: memory ---------------------------------------------------------------------------------

CHILD = """
import json, sys
import numpy as np
side, n, d = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def kib(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))

def run(n):
    if side == "cbx":
        from cbx.dynamics import CBO
        from cbx.objectives import Rastrigin
        x = np.random.default_rng(1).uniform(-5.12, 5.12, (1, n, d))
        CBO(Rastrigin(), x=x, noise="anisotropic", f_dim="3D", max_it=3, verbosity=0).optimize()
    else:
        from fastopt import cbo, problems
        p = problems.rastrigin(d)
        cbo(p, p.bounds, dynamics=side, n_particles=n, maxiter=3, polish=False, rng=1)

run(16)
before = kib("VmRSS")
run(n)
print(json.dumps({"before": before, "peak": kib("VmHWM")}))
"""


def peak(side: str, n: int, d: int) -> float:
    """Bytes that a run needed beside what the interpreter held before."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, side, str(n), str(d)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    answer = json.loads(done.stdout)
    return float(answer["peak"] - answer["before"]) * 1024


def memory_table(options: Any, with_cbx: bool) -> list[Record]:
    if not Path("/proc/self/status").exists():
        print("peak memory: needs /proc, left out", file=sys.stderr)
        return []
    n, d = (2000, 1000) if options.quick else (10000, 1000)
    array = n * d * 8
    sides = ["anisotropic", "isotropic", "memory", *(["cbx"] if with_cbx else [])]
    case = f"peak memory, N = {n}, d = {d}, float64"
    records, lines = [], []
    for side in sides:
        bytes_used = peak(side, n, d)
        solver = "CBXpy, defaults" if side == "cbx" else f"fastopt, {side}"
        lines.append([f"  {solver}", f"{bytes_used / 2**20:.0f}", f"{bytes_used / array:.2f}"])
        records.append(
            Record(
                bench="cbo_overhead",
                case=case,
                solver=solver,
                median=bytes_used,
                least=bytes_used,
                greatest=bytes_used,
                least_wall=float("nan"),
                repeats=1,
                nit=3,
                nfev=3 * n,
                per="bytes",
            )
        )
    print(common.table([case, "MiB", "of the particles"], lines))
    label = "peak memory of anisotropic, in arrays of the particles"
    print(common.verdict(label, records[0].median / array, MEMORY_RATIO, at_least=False))
    return records


def main(argv: Sequence[str] | None = None) -> int:
    options = common.parse("What cbo costs beside the objective", argv)
    with_cbx = common.has("cbx", "CBXpy")
    print(common.machine())
    for records in (
        vectorised_table(options, with_cbx),
        hybrid_table(options),
        scalar_table(options),
        memory_table(options, with_cbx),
    ):
        common.write(records, options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())
