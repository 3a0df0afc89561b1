"""cbo on 1, 2 and 4 processes of this machine beside a model of it, and the model's prediction.

The model of one iteration on P ranks has four terms:

    divided * ceil(items / P) / items * max(1, P / cores)   evaluations, moves
    same * max(1, P / cores)                 what every rank does: weights, sums of blocks
    calls * (overhead + latency log2 P)      what an exchange costs however small it is
    bytes (P - 1) / P / bandwidth            what a rank receives

`divided` and `same` are CPU times of one process, `overhead` and `bandwidth` those of exchanges
without work; 2 and 4 processes are predicted from them and measured. With more processes than cores
nothing can be gained, which the model says too. The CPU time of the busiest rank shows how the work
divides where other programs take the cores. For other machines the interconnect is an assumption:
--latency and --bandwidth.

    python bench/distributed_cbo.py [--quick] [--repeats N] [--jsonl FILE] [--ranks 1 2 4]
        [--latency MICROSECONDS] [--bandwidth GIGABYTES]
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import _common as common
import _ranks
import _tables as tables
import numpy as np
from _common import Clock, Record, Seconds
from _tables import Table
from numpy.typing import NDArray

from fastopt import cbo, problems
from fastopt._workers import available_cpus
from fastopt.distributed import ranks

LARGER = 50  # times the particles of what is measured
PREDICTED = (1, 4, 16, 64, 256, 1024)
CALLS_OF_AN_EXCHANGE = 2  # of the communicator: what a rank means to do, and the numbers


@dataclass(frozen=True)
class Work:
    """One iteration: seconds that are divided, seconds that are not, and what is exchanged."""

    divided: float
    items: int  # that it is made of: blocks of particles, or particles
    same: float
    exchanges: int
    numbers: int  # of 8 bytes that each rank has in the end


@dataclass(frozen=True)
class Machine:
    cores: float  # that the ranks share; inf: one for each
    overhead: float  # seconds of one call of the communicator, however small
    latency: float  # ... and for each doubling of the ranks
    bandwidth: float  # bytes a second that a rank receives


def predicted(work: Work, machine: Machine, size: int) -> float:
    """Seconds of one iteration on `size` ranks."""
    crowding = max(1.0, size / machine.cores)
    share = math.ceil(work.items / size) / work.items
    seconds = (work.divided * share + work.same) * crowding
    if size > 1:
        per_call = machine.overhead + machine.latency * math.log2(size)
        seconds += work.exchanges * CALLS_OF_AN_EXCHANGE * per_call
        seconds += 8 * work.numbers * (size - 1) / size / machine.bandwidth
    return seconds


def least(times: Iterable[Seconds]) -> Seconds:
    walls, cpus = zip(*((one.wall, one.cpu) for one in times), strict=True)
    return Seconds(min(walls), min(cpus))


# ---- what runs on the ranks ----------------------------------------------------------------------


def costly(x: NDArray[np.float64]) -> float:
    """A function that takes a while: about 0.1 ms."""
    total = 0.0
    for _ in range(40):
        total += float(np.sum(x * x - np.cos(3 * x)))
    return total / 40


def particles(comm: Any, name: str, n: int, d: int, steps: int) -> Seconds:
    """Seconds of the fastest iteration, told by a callback, which is one more exchange."""
    problem = problems.rastrigin(d)
    func = problem if name == "cheap" else costly
    clock, marks = Clock(), []
    cbo(
        func,
        problem.bounds,
        dynamics="anisotropic",
        n_particles=n,
        rng=1,
        polish=False,
        tol=0.0,
        maxiter=steps + 1,
        threads=1,
        comm=comm,
        callback=lambda intermediate_result: marks.append(clock.read()),
    )
    return least(after - before for before, after in itertools.pairwise(marks))


def exchange(comm: Any, numbers: int, steps: int) -> Seconds:
    """Seconds of the fastest exchange of so many numbers in all."""
    with ranks(comm) as group:
        assert group is not None
        mine = np.ones(max(1, numbers // group.size))
        clock, marks = Clock(), []
        for _ in range(steps):
            group.allgather(mine)
            marks.append(clock.read())
    return least(after - before for before, after in itertools.pairwise(marks))


TASKS: dict[str, Callable[..., Seconds]] = {"particles": particles, "exchange": exchange}


def repeated(comm: Any, task: str, arguments: list[Any], repeats: int) -> list[Seconds]:
    return [TASKS[task](comm, *arguments) for _ in range(repeats)]


def on(size: int, repeats: int, task: str, *arguments: Any) -> list[Seconds]:
    """The times of a task on `size` processes, those of the slowest rank."""
    answers = _ranks.on(__file__, size, task, arguments, repeats)
    return [
        Seconds(max(one.wall for one in run), max(one.cpu for one in run))
        for run in zip(*answers, strict=True)
    ]


# ---- the work of an iteration --------------------------------------------------------------------


def blocks(n: int, d: int) -> int:
    """Of particles, with a partial sum each (rows_of_block in csrc/cbo/cbo_steps.hpp)."""
    return math.ceil(n / max(64, 16384 // d))


def cheap_work(n: int, d: int, steps: int, repeats: int) -> Work:
    """A native function: what depends on d is divided, what does not is done by every rank."""
    few = 2  # coordinates: what remains is the same for any number of them
    narrow, wide = (
        least(particles(None, "cheap", n, dim, steps) for _ in range(repeats)).cpu
        for dim in (few, d)
    )
    per_coordinate = (wide - narrow) / (d - few)
    divided = per_coordinate * d
    count = blocks(n, d)
    return Work(divided, count, max(0.0, wide - divided), 3, n + count * (d + 1))


def costly_work(n: int, d: int, cheap: Work, cheap_n: int, cheap_d: int) -> Work:
    """A slow function: few particles, which all ranks hold and move; evaluations are divided.

    What a rank does besides is worked out from the cheap case, its evaluations included: too much
    rather than too little.
    """
    point = np.full(d, 0.3)
    clock = Clock()
    for _ in range(1000):
        costly(point)
    evaluations = n * clock.read().cpu / 1000
    moves = cheap.divided / (cheap_n * cheap_d) * n * d
    return Work(evaluations, n, moves + cheap.same / cheap_n * n, 2, n)


def this_machine(repeats: int) -> Machine:
    small = least(on(2, repeats, "exchange", 2, 1000)).wall
    many = 1 << 20
    large = least(on(2, repeats, "exchange", many, 20)).wall
    per_call = small / CALLS_OF_AN_EXCHANGE
    received = 8 * many / 2
    return Machine(available_cpus(), per_call, 0.0, received / max(large - small, 1e-9))


# ---- tables --------------------------------------------------------------------------------------


def record_of(case: str, size: int, times: Sequence[Seconds], work: Work, here: Machine) -> Record:
    return Record(
        "distributed_cbo",
        case,
        _ranks.column("cbo", size),
        times=[one.cpu for one in times],
        per="iteration",
        wall=least(times).wall,
        extra={"ranks": size, "model": predicted(work, here, size)},
        conditions=common.conditions("mpi4py"),
    )


TABLES = (
    Table(
        "distributed_cbo",
        "one iteration of cbo: ms, and the CPU time of the busiest rank",
        tables.listed(
            "",
            wall_ms=_ranks.wall_ms,
            model_ms=lambda record, _: record.extra["model"] * 1e3,
            efficiency=lambda one, group: _ranks.efficiency(one, group, lambda r: r.wall),
            CPU_ms_of_a_rank=_ranks.least_ms,
            work_divided=_ranks.work_divided,
        ),
    ),
)


def foresee(case: str, work: Work, there: Machine) -> None:
    """The model with a core for each rank and the interconnect assumed."""
    alone = predicted(work, there, 1)
    rows = [["ranks", "model ms", "efficiency"]]
    for size in [size for size in PREDICTED if size <= work.items]:
        seconds = predicted(work, there, size)
        rows.append([str(size), f"{seconds * 1e3:.2f}", f"{alone / size / seconds:.0%}"])
    sizes = range(1, work.items + 1)
    half = max(size for size in sizes if alone / size / predicted(work, there, size) >= 0.5)
    best = min(predicted(work, there, size) for size in sizes)
    near = next(size for size in sizes if predicted(work, there, size) < 1.1 * best)
    print(f"\n{case}", *tables.aligned(rows), sep="\n")
    print(f"beyond {half} ranks more than half of their time is lost; {near} are within 10 % of")
    print(f"the fastest; beyond {work.items} nothing is left to divide")


def larger(work: Work) -> Work:
    return replace(
        work,
        divided=work.divided * LARGER,
        items=work.items * LARGER,
        same=work.same * LARGER,
        numbers=work.numbers * LARGER,
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = _ranks.parser((__doc__ or "").splitlines()[0], (1, 2, 4))
    parser.add_argument("--latency", type=float, default=2.0, help="microseconds (default 2)")
    parser.add_argument("--bandwidth", type=float, default=10.0, help="GB/s (default 10)")
    options = parser.parse_args(argv)
    if options.rank is not None:
        return _ranks.at_rank(options.rank, repeated)
    if not _ranks.available():
        return common.MISSING
    repeats = 1 if options.quick else options.repeats
    here = this_machine(repeats)
    there = Machine(math.inf, here.overhead, options.latency * 1e-6, options.bandwidth * 1e9)
    print(common.machine())
    print(
        f"a call of the communicator {here.overhead * 1e6:.0f} us, between processes here "
        f"{here.bandwidth / 1e9:.2f} GB/s; assumed elsewhere: {options.latency:g} us for each "
        f"doubling of the ranks, {options.bandwidth:g} GB/s"
    )
    n, steps = (5_000, 4) if options.quick else (20_000, 8)
    cheap = cheap_work(n, 1000, steps, repeats)
    cases = {
        "cheap": ("named function, particles divided", n, 1000, steps, cheap),
        "costly": (
            "Python function of about 0.1 ms, particles everywhere",
            *(400, 20, 5, costly_work(400, 20, cheap, n, 1000)),
        ),
    }
    records, works = [], {}
    for name, (title, count, d, iterations, work) in cases.items():
        case = f"{title}: N = {count}, d = {d}"
        works[case] = work
        for size in options.ranks:
            times = on(size, repeats, "particles", name, count, d, iterations)
            records.append(record_of(case, size, times, work, here))
    tables.publish(TABLES, records, options.jsonl)
    for case, work in works.items():
        print(f"\n{case}")
        print(
            f"divided {work.divided * 1e3:.2f} ms, on every rank {work.same * 1e3:.2f} ms,", end=""
        )
        print(f" {work.exchanges} exchanges, {8 * work.numbers / 1e6:.3g} MB")
        foresee("with a core for each rank and the interconnect assumed:", work, there)
        foresee(f"... and {LARGER} times the particles:", larger(work), there)
    return 0


if __name__ == "__main__":
    sys.exit(main())
