"""Speed of one iteration of the plain dynamics, beside CBXpy.

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
import numpy as np
from _common import Clock, Floor, Outcome, Record, Seconds, Subject

from fastopt import cbo, problems

DT, SIGMA, ALPHA = 0.01, 5.1, 30.0  # CBXpy's defaults, except for alpha: its default is 1
ALPHA_FACTOR, ALPHA_MAX = 1.05, 1e5
MEMORY = 0.4  # lambda_memory and sigma_memory, as shares

PLAIN, BY_HAND = "CBXpy, defaults", "CBXpy, best found"


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
        return Outcome(case.steps, result.fun, result.nfev, spent - setup)

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
        return Outcome(case.steps, best, int(dynamic.num_f_eval[0]), spent)

    return run


def measure(case: Case, repeats: int, threads: Sequence[int], with_cbx: bool) -> list[Record]:
    """Records of one case; the floor stands in each of ours."""
    subjects = []
    for dtype in ("float64", "float32"):
        rates = common.measure_floor("rastrigin", case.n, case.d, dtype)
        floor = {
            "floor": case.floor(rates, np.dtype(dtype).itemsize),
            "ns_normal": rates.normal,
            "ns_objective": rates.objective,
            "ns_byte": rates.byte,
        }
        subjects += [
            Subject("fastopt", fastopt_run(case, dtype, count), count, dtype, floor)
            for count in threads
        ]
    if with_cbx:
        subjects.append(Subject(PLAIN, cbx_run(case, False, "float64")))
        for dtype in ("float64", "float32"):
            subjects.append(Subject(BY_HAND, cbx_run(case, True, dtype), 1, dtype))
    return common.alternate("cbo_speed", case.title, subjects, repeats)


def find(records: Sequence[Record], solver: str, dtype: str, threads: int = 1) -> Record | None:
    for record in records:
        if (record.solver, record.dtype, record.threads) == (solver, dtype, threads):
            return record
    return None


def ratio(slower: Record | None, faster: Record | None) -> float:
    return slower.median / faster.median if slower and faster else math.nan


def rows(case: Case, records: Sequence[Record]) -> list[list[str]]:
    lines = []
    for record in records:
        ours = record.solver == "fastopt"
        peers = [find(records, name, "float64") for name in (PLAIN, BY_HAND)]
        peers.append(find(records, BY_HAND, "float32"))
        times = [ratio(peer, record) if ours else math.nan for peer in peers]
        floor = record.extra.get("floor", math.nan)
        lines.append(
            [
                f"  {record.solver}",
                record.dtype[5:],
                str(record.threads),
                common.spread(record, 1e3),
                f"{record.median / case.moved * 1e9:.2f}",
                f"{case.moved / record.median / 1e6:.0f}",
                f"{record.fun:.3g}",
                f"{record.nfev}",
                *("" if math.isnan(t) else f"{t:.1f}x" for t in times),
                "" if math.isnan(floor) else f"{record.median * record.threads / floor:.2f}",
            ]
        )
    return lines


HEADER = [
    "case and solver",
    "bits",
    "threads",
    "ms per step (min-max)",
    "ns/coord",
    "Mcoord/s",
    "f reached",
    "nfev",
    "vs defaults",
    "vs best",
    "vs best f32",
    "of floor",
]


def targets(results: dict[Case, list[Record]], large: Case, small: Case) -> str:
    """The rates that the project has set itself."""
    lines = ["targets (CBXpy in float64 with the best settings found; medians)"]
    for dtype, bound in (("float64", 8.0), ("float32", 14.0)):
        ours, peer = (
            find(results[large], s, t) for s, t in (("fastopt", dtype), (BY_HAND, "float64"))
        )
        if peer:
            label = f"coordinates per second against CBXpy, {large.title}, {dtype}"
            lines.append(common.verdict(label, ratio(peer, ours), bound, at_least=True))
    ours, peer = (
        find(results[small], "fastopt", "float64"),
        find(results[small], BY_HAND, "float64"),
    )
    if peer:
        label = f"steps per second against CBXpy, {small.title}, float64"
        lines.append(common.verdict(label, ratio(peer, ours), 25.0, at_least=True))
    for dtype in ("float64", "float32"):
        one = find(results[large], "fastopt", dtype)
        two = find(results[large], "fastopt", dtype, 2)
        assert one is not None
        if two:
            label = f"two threads against one (least wall-clock times), {large.title}, {dtype}"
            gain = one.least_wall / two.least_wall
            lines.append(common.verdict(label, gain, 1.8, at_least=True))
        label = f"time against the floor, {large.title}, {dtype}"
        lines.append(common.verdict(label, one.median / one.extra["floor"], 1.5, at_least=False))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    options = common.parse("Plain dynamics beside CBXpy", argv)
    with_cbx = common.has("cbx", "CBXpy")
    long, short = (10, 1500) if options.quick else (30, 5000)
    large = Case("anisotropic", 10000, 100, long)
    small = Case("anisotropic", 100, 20, short)
    others = [] if options.quick else ["isotropic", "memory", "batch"]
    cases = [large, small]
    cases += [Case(v, size.n, size.d, size.steps) for v in others for size in (large, small)]
    print(common.machine())
    results: dict[Case, list[Record]] = {}
    lines = []
    for case in cases:
        threads = (1, 2) if case is large else (1,)
        results[case] = measure(case, options.repeats, threads, with_cbx)
        common.write(results[case], options.jsonl)
        lines.append([case.title, *[""] * (len(HEADER) - 1)])
        lines += rows(case, results[case])
        for dtype in ("float64", "float32"):
            one = find(results[case], "fastopt", dtype)
            assert one is not None
            cost = one.extra
            text = (
                f"  floor: normals {cost['ns_normal']:.2f}, objective {cost['ns_objective']:.2f}, "
                f"memory {cost['ns_byte']:.3f} ns/byte"
            )
            filler = [""] * (len(HEADER) - 6)
            ns = cost["floor"] / case.moved * 1e9
            lines.append(
                [text, dtype[5:], "1", f"{cost['floor'] * 1e3:.3g}", f"{ns:.2f}", "", *filler]
            )
    print(common.table(HEADER, lines))
    print(targets(results, large, small))
    return 0


if __name__ == "__main__":
    sys.exit(main())
