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
from dataclasses import replace
from pathlib import Path
from typing import Any

import _common as common
import _tables as tables
import numpy as np
from _common import Clock, Outcome, Record, Seconds, Subject
from _floor import median_seconds
from _tables import Table, Target
from numpy.typing import NDArray
from scipy.optimize import differential_evolution, dual_annealing

from fastopt import _backend, cbo, problems

Array = NDArray[np.float64]

# targets: an iteration with a vectorised objective, and evaluations of the hybrid
STEP_US, COORDINATE_NS = 15.0, 6.0
HOPPING_US, SWARM_US = 0.6, 0.2
MEMORY_RATIO = 2.2
HOPPING, SWARM = "H (hopping)", "P (swarm)"


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
        return Outcome(spent - setup, steps, result.fun, nit=result.nit, nfev=result.nfev)

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
        best = float(dynamic.best_energy[0])
        return Outcome(spent, steps, best, nit=steps, nfev=n * steps)

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
        spent = clock.read() - metered.spent
        best = float(np.min(result.fun))
        return Outcome(spent, result.nit, best, nit=result.nit, nfev=metered.points)

    return run


def vectorised(options: Any, with_cbx: bool) -> list[Record]:
    records: list[Record] = []
    for n, d, steps in [(100, 20, 500), (1000, 20, 200), (10000, 100, 10)]:
        steps = max(5, steps // 4) if options.quick else steps
        subjects = [
            Subject("fastopt", vectorised_cbo(n, d, steps, "anisotropic")),
            Subject("fastopt, memory", vectorised_cbo(n, d, steps, "memory")),
        ]
        if with_cbx:
            subjects.append(Subject("CBXpy, defaults", vectorised_cbx(n, d, steps), "cbx"))
        if n < 1000 or (n == 1000 and not options.quick):
            run = vectorised_de(n, d, steps)
            subjects.append(Subject("differential_evolution", run, "scipy"))
        subjects = [replace(one, extra={"coordinates": n * d}) for one in subjects]
        row = f"N = {n}, d = {d}"
        records += common.alternate("cbo_vectorized", row, subjects, options.repeats, "step")
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
    return median_seconds(lambda: objective.evaluate(points, threads=1), calls=200) / rows


def hybrid(options: Any) -> list[Record]:
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
    return [
        Record(
            table="cbo_hybrid",
            row=f"native functions, d = {d}",
            column=label,
            times=[float(value)],
            per="evaluation",
            violation=0.0,
            nfev=int(np.sum(counts)),
            extra={"runs": len(counts), "residual": residual},
        )
        for label, value in zip((HOPPING, SWARM), cost_of, strict=True)
    ]


def scalar(solver: Callable[..., Any]) -> Callable[[], Outcome]:
    """Time beside a scalar Python function, per evaluation: `steps` are evaluations."""

    def run() -> Outcome:
        metered = Metered(rastrigin_point)
        clock = Clock()
        result = solver(metered)
        spent = clock.read() - metered.spent
        return Outcome(spent, metered.points, float(result.fun), nfev=metered.points)

    return run


def scalars(options: Any) -> list[Record]:
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
            "scipy",
        ),
        Subject(
            "dual_annealing",
            scalar(lambda f: dual_annealing(f, bounds, maxfun=budget, no_local_search=True, rng=1)),
            "scipy",
        ),
    ]
    row = f"Rastrigin, d = {d}"
    return common.alternate("cbo_scalar", row, subjects, options.repeats, "evaluation")


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


def memory(options: Any, with_cbx: bool) -> list[Record]:
    if not Path("/proc/self/status").exists():
        print("peak memory: needs /proc, left out", file=sys.stderr)
        return []
    n, d = (2000, 1000) if options.quick else (10000, 1000)
    sides = {f"fastopt, {side}": side for side in ("anisotropic", "isotropic", "memory")}
    if with_cbx:
        sides["CBXpy, defaults"] = "cbx"
    records = []
    for column, side in sides.items():
        used = peak(side, n, d)
        records.append(
            Record(
                table="cbo_memory",
                row=f"N = {n}, d = {d}, float64",
                column=column,
                peer="cbx" if side == "cbx" else "",
                nit=3,
                nfev=3 * n,
                costs={"bytes": used},
                extra={"MiB": used / 2**20, "arrays": used / (n * d * 8)},
            )
        )
    return records


# ---- tables ------------------------------------------------------------------------------------


def vectorised_targets(records: Sequence[Record]) -> list[Target]:
    return [
        Target(
            f"us of an iteration beside the objective, {one.row}",
            one.median * 1e6,
            STEP_US + COORDINATE_NS * one.extra["coordinates"] * 1e-3,
        )
        for one in records
        if one.column == "fastopt"
    ]


def hybrid_targets(records: Sequence[Record]) -> list[Target]:
    bounds = {HOPPING: HOPPING_US, SWARM: SWARM_US}
    return [
        Target(f"us of an evaluation beside the function, {one.column}", one.median * 1e6, bound)
        for one in records
        if (bound := bounds.get(one.column))
    ]


def memory_targets(records: Sequence[Record]) -> list[Target]:
    used = [one.extra["arrays"] for one in records if one.column == "fastopt, anisotropic"]
    label = "peak memory of anisotropic, in arrays of the particles"
    return [Target(label, value, MEMORY_RATIO) for value in used]


TABLES = (
    Table(
        "cbo_vectorized",
        "a vectorised NumPy objective: us of one iteration beside it, median (least-greatest)",
        tables.listed(
            "case",
            us=tables.spread(1e6),
            to_fastopt=tables.against("fastopt"),
            f_reached=tables.of("fun"),
            nfev=tables.of("nfev"),
        ),
        vectorised_targets,
    ),
    Table(
        "cbo_hybrid",
        "the default on native functions: us of one evaluation beside the function",
        tables.listed(
            "case", us=tables.spread(1e6), runs=tables.of("runs"), misfit=tables.of("residual")
        ),
        hybrid_targets,
    ),
    Table(
        "cbo_scalar",
        "a scalar Python objective: us of one evaluation beside it, median (least-greatest)",
        tables.listed(
            "case",
            us=tables.spread(1e6),
            to_hybrid=tables.against("fastopt, hybrid"),
            f_reached=tables.of("fun"),
            nfev=tables.of("nfev"),
        ),
    ),
    Table(
        "cbo_memory",
        "peak memory beside what the interpreter held before",
        tables.listed("case", MiB=tables.of("MiB"), arrays_of_particles=tables.of("arrays")),
        memory_targets,
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    options = common.parser("What cbo costs beside the objective").parse_args(argv)
    with_cbx = common.has("cbx", "CBXpy")
    print(common.machine())
    records = [
        *vectorised(options, with_cbx),
        *hybrid(options),
        *scalars(options),
        *memory(options, with_cbx),
    ]
    tables.publish(TABLES, records, options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())
