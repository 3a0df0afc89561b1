"""Speed of one iteration of the plain dynamics of cbo, beside CBXpy.

Both sides do the same number of iterations of the same rule on Rastrigin's function, fastopt on
its native one, CBXpy 1.0 on its own NumPy one. Set-up counts for neither. The floor of a row is
what its random normals, objective terms and memory traffic cost at the rates measured just before.
One thread: CPU time; two: wall-clock time.

    python bench/cbo_speed.py [--quick] [--repeats N] [--jsonl FILE]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import _common as common
import _tables as tables
import numpy as np
from _common import Clock, Outcome, Record, Seconds, Subject
from _floor import Floor, measure_floor
from _tables import Table, Target, find, ratio

from fastopt import cbo, problems

DT, SIGMA, ALPHA = 0.01, 5.1, 30.0  # CBXpy's defaults, except for alpha: its default is 1
ALPHA_FACTOR, ALPHA_MAX = 1.05, 1e5
MEMORY = 0.4  # lambda_memory and sigma_memory, as shares

OURS, OURS_32, PLAIN = "fastopt f64", "fastopt f32", "CBXpy, defaults"
BY_HAND = {"float64": "CBXpy, best found", "float32": "CBXpy, best found, f32"}


@dataclass(frozen=True)
class Case:
    """A variant of the dynamics at one size."""

    variant: str  # 'anisotropic', 'isotropic', 'memory' or 'batch'
    n: int
    d: int
    steps: int

    @property
    def title(self) -> str:
        return f"{self.variant}, N = {self.n}, d = {self.d}"

    @property
    def moved(self) -> int:
        """Coordinates that one iteration evaluates and moves."""
        return (self.n // 2 if self.variant == "batch" else self.n) * self.d

    @property
    def noise(self) -> str:
        return "isotropic" if self.variant == "isotropic" else "anisotropic"

    @property
    def sigma(self) -> float:
        """Isotropic noise of CBXpy's strength diverges for d > 1; this one contracts."""
        return 1.0 / math.sqrt(self.d) if self.variant == "isotropic" else SIGMA

    def floor(self, rates: Floor, itemsize: int) -> float:
        """Seconds for one step; memory has one more array to read, the personal bests."""
        memory = self.variant == "memory"
        passes, normals = (5, 2) if memory else (4, 1)
        return rates.of_step(itemsize, normals, passes) * self.moved * 1e-9


def fastopt_run(case: Case, dtype: str, threads: int) -> Callable[[], Outcome]:
    problem = problems.rastrigin(case.d)
    options: dict[str, Any] = {
        "dynamics": "memory" if case.variant == "memory" else case.noise,
        "drift": DT,
        "diffusion": case.sigma * math.sqrt(DT),
    }
    if case.variant == "memory":
        options["memory_drift"] = MEMORY * DT
        options["memory_diffusion"] = MEMORY * case.sigma * math.sqrt(DT)
    if case.variant == "batch":
        options["batch_size"] = case.n // 2

    def timed(steps: int) -> tuple[Any, Seconds]:
        clock = Clock()
        result = cbo(
            problem,
            problem.bounds,
            n_particles=case.n,
            init="random",
            rng=1,
            maxiter=steps,
            alpha=ALPHA,
            alpha_factor=ALPHA_FACTOR,
            alpha_max=ALPHA_MAX,
            tol=0.0,
            polish=False,
            dtype=dtype,
            threads=threads,
            **options,
        )
        return result, clock.read()

    setup = min((timed(1)[1] for _ in range(5)), key=lambda spent: spent.cpu)

    def run() -> Outcome:
        result, spent = timed(case.steps + 1)
        return Outcome(spent - setup, case.steps, result.fun, nit=result.nit, nfev=result.nfev)

    return run


def cbx_run(case: Case, by_hand: bool, dtype: str) -> Callable[[], Outcome]:
    """CBXpy by its defaults, or with all that makes it faster.

    By hand: nothing is tracked, particles are not checked for NaN, and a faster generator makes
    normals of the particles' dtype. With dtype float32 the particles are float32 then; CBXpy does
    not offer that itself.
    """
    from cbx.dynamics import CBO, CBOMemory
    from cbx.objectives import Rastrigin

    start = np.random.default_rng(1).uniform(-5.12, 5.12, (1, case.n, case.d)).astype(dtype)
    options: dict[str, Any] = {
        "x": start,
        "noise": case.noise,
        "sigma": case.sigma,
        "dt": DT,
        "alpha": ALPHA,
        "f_dim": "3D",
        "verbosity": 0,
        "seed": 1,
    }
    if case.variant == "batch":
        options["batch_args"] = {"size": case.n // 2}
    if by_hand:
        draw = np.random.Generator(np.random.SFC64(1)).standard_normal
        options["track_args"] = {"names": []}
        options["post_process"] = lambda _: None
        options["sampler"] = partial(draw, dtype=np.dtype(dtype).type)

    def run() -> Outcome:
        dynamic = (CBOMemory if case.variant == "memory" else CBO)(Rastrigin(), **options)
        schedule = dynamic.default_sched()
        clock = Clock()
        for _ in range(case.steps):
            dynamic.step()
            schedule.update(dynamic)
        spent = clock.read()
        best = float(dynamic.best_energy[0])
        evaluations = int(dynamic.num_f_eval[0])
        return Outcome(spent, case.steps, best, nit=case.steps, nfev=evaluations)

    return run


def measure(case: Case, repeats: int, with_cbx: bool) -> list[Record]:
    """Records of one case; the floor stands in each of ours."""
    subjects = []
    for column, dtype in ((OURS, "float64"), (OURS_32, "float32")):
        rates = measure_floor("rastrigin", case.n, case.d, dtype)
        about = {
            "moved": case.moved,
            "floor": case.floor(rates, np.dtype(dtype).itemsize),
            "ns_normal": rates.normal,
            "ns_objective": rates.objective,
            "ns_byte": rates.byte,
        }
        subjects.append(Subject(column, fastopt_run(case, dtype, 1), dtype=dtype, extra=about))
    if with_cbx:
        moved = {"moved": case.moved}
        subjects.append(Subject(PLAIN, cbx_run(case, False, "float64"), "cbx", extra=moved))
        for dtype, column in BY_HAND.items():
            run = cbx_run(case, True, dtype)
            subjects.append(Subject(column, run, "cbx", dtype=dtype, extra=moved))
    return common.alternate("cbo_speed", case.title, subjects, repeats, "step")


def measure_scaling(case: Case, repeats: int) -> list[Record]:
    """One thread and two, both in wall-clock time."""
    records = []
    for column, dtype in ((OURS, "float64"), (OURS_32, "float32")):
        subjects = [
            Subject(
                f"{column}, threads: {count}", fastopt_run(case, dtype, count), "", count, dtype
            )
            for count in (1, 2)
        ]
        records += common.alternate("cbo_scaling", case.title, subjects, repeats, "step")
    return records


# ---- tables ------------------------------------------------------------------------------------


def nanoseconds(record: Record, group: Sequence[Record]) -> str:
    """Of one coordinate and iteration."""
    return str(tables.spread(1e9 / record.extra["moved"])(record, group))


def of_floor(record: Record, _: Sequence[Record]) -> float:
    return record.median / record.extra.get("floor", math.nan)


def speed_targets(records: Sequence[Record]) -> list[Target]:
    """The rates that the project has set itself, against CBXpy with the best settings found."""
    large, small = "anisotropic, N = 10000, d = 100", "anisotropic, N = 100, d = 20"
    best = BY_HAND["float64"]
    found = [
        Target(
            f"coordinates a second against CBXpy's best f64, {row}, {ours}",
            ratio(find(records, row, best), find(records, row, ours)),
            bound,
            at_least=True,
        )
        for row, ours, bound in ((large, OURS, 8), (large, OURS_32, 14), (small, OURS, 25))
    ]
    for ours in (OURS, OURS_32):
        one = find(records, large, ours)
        value = of_floor(one, ()) if one else math.nan
        found.append(Target(f"time against the floor, {large}, {ours}", value, 1.5))
    return found


def scaling_targets(records: Sequence[Record]) -> list[Target]:
    row = records[0].row
    found = []
    for ours in (OURS, OURS_32):
        one, two = (find(records, row, f"{ours}, threads: {count}") for count in (1, 2))
        gain = one.wall / two.wall if one and two and one.wall and two.wall else math.nan
        label = f"two threads against one (least wall-clock times), {row}, {ours}"
        found.append(Target(label, gain, 1.8, at_least=True))
    return found


TABLES = (
    Table(
        "cbo_speed",
        "one iteration on Rastrigin's function: ns of a coordinate, median (least-greatest)",
        tables.listed(
            "case",
            ns=nanoseconds,
            to_f64=tables.against(OURS),
            to_f32=tables.against(OURS_32),
            of_floor=of_floor,
            f_reached=tables.of("fun"),
            nfev=tables.of("nfev"),
        ),
        speed_targets,
    ),
    Table(
        "cbo_scaling",
        "threads: ms of a step, CPU time of one thread, wall-clock time of two",
        tables.listed("case", ms=tables.spread(1e3), f_reached=tables.of("fun")),
        scaling_targets,
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    options = common.parser("Plain dynamics beside CBXpy").parse_args(argv)
    with_cbx = common.has("cbx", "CBXpy")
    long, short = (5, 500) if options.quick else (30, 5000)
    large = Case("anisotropic", 10000, 100, long)
    small = Case("anisotropic", 100, 20, short)
    cases = [
        Case(variant, size.n, size.d, size.steps)
        for size in (large, small)
        for variant in ("anisotropic", "isotropic", "memory", "batch")
        if not (options.quick and size is large and variant in ("isotropic", "batch"))
    ]
    print(common.machine())
    records = []
    for case in cases:
        records += measure(case, options.repeats, with_cbx)
    records += measure_scaling(large, options.repeats)
    tables.publish(TABLES, records, options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())
