"""admm_relu and sketch_newton on 1 and more processes of this machine: what an iteration costs and
sends.

CPU seconds are those of the busiest rank, so that they show how the work divides also where other
programs take the cores; an exchange is waited for with little CPU time. `numbers`, of 8 bytes, are
what a rank contributes to sums and gathers. `from one rank` is the largest difference of the
solution from that of the first of --ranks.

    python bench/distributed_convex.py [--ranks 1 2] [--quick] [--repeats N] [--jsonl FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import _common as common
import _ranks
import _tables as tables
import numpy as np
from _common import Clock, Record
from _tables import Table
from numpy.typing import NDArray

from fastopt import admm_relu, sketch_newton
from fastopt.distributed import mpi
from fastopt.problems import GLM

Array = NDArray[np.float64]


class Counted:
    """A communicator that counts what passes through it."""

    def __init__(self, comm: Any) -> None:
        self._comm, self.rank, self.size = comm, comm.rank, comm.size
        self.exchanges = self.numbers = 0

    def allgather(self, array: Array) -> Array:
        self._count(array)
        return np.asarray(self._comm.allgather(array))

    def allreduce(self, array: Array) -> Array:
        self._count(array)
        return np.asarray(self._comm.allreduce(array))

    def _count(self, array: Array) -> None:
        self.exchanges += 1
        self.numbers += array.size


def own(comm: Any, n: int) -> slice:
    return slice(n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size)


def regression(n: int, d: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    signal = np.maximum(X[:, 0], 0) - np.maximum(X[:, 1] + X[:, 2], 0)
    return X, signal + 0.1 * rng.standard_normal(n)


Solve = Callable[[Any, int], tuple[Any, int]]  # (communicator, iterations) -> (x, iterations done)


def relu(n: int, d: int, gates: int, shard: str) -> Solve:
    X, y = regression(n, d)

    def solve(comm: Any, iterations: int) -> tuple[Any, int]:
        rows = own(comm, n) if shard == "samples" else slice(None)
        result = admm_relu(
            X[rows],
            y[rows],
            beta_ratio=1e-2,
            gates=gates,
            rng=1,
            polish=False,
            gap_tol=1e-12,
            maxiter=iterations,
            threads=1,
            comm=comm,
            shard=shard,
        )
        return result.x, result.nit

    return solve


def logistic(n: int, d: int, solver: str) -> Solve:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d)) * np.logspace(0, -2, d)
    y = np.sign(A @ np.linspace(-1, 1, d) + rng.standard_normal(n))

    def solve(comm: Any, _: int) -> tuple[Any, int]:
        rows = own(comm, n)
        model = GLM(A[rows], y[rows], l2=1e-4, threads=1, comm=comm)
        result = sketch_newton(model, np.zeros(d), linear_solver=solver, threads=1)
        return result.x, result.nit

    return solve


Case = tuple[str, Callable[..., Solve], tuple[Any, ...]]


def cases(quick: bool) -> list[Case]:
    """(title, maker of a solve, its arguments)."""
    small, tall, wide = (300, 5), (5000, 10), (5000, 10)
    if not quick:
        small, tall, wide = (1000, 40), (200000, 10), (200000, 200)
    shared = [(*small, 512, "gates"), (*tall, 32, "samples")]
    return [
        (f"admm_relu, {shard}: n = {n}, d = {d}, P = {gates}", relu, (n, d, gates, shard))
        for n, d, gates, shard in shared
    ] + [
        (f"sketch_newton, {solver}: {wide[0]} x {wide[1]}", logistic, (*wide, solver))
        for solver in ("ldl", "sketch-pcg")
    ]


def repeated(comm: Any, case: int, quick: bool, repeats: int) -> list[dict[str, Any]]:
    return [one_run(comm, case, quick) for _ in range(repeats)]


def one_run(comm: Any, case: int, quick: bool) -> dict[str, Any]:
    """The case once with few iterations and once with more, whose difference counts."""
    _, run, given = cases(quick)[case]
    solve = run(*given)
    few, more = (10, 110) if quick else (40, 120)
    spent: list[Array] = []
    for iterations in (few, more):
        counted, clock = Counted(mpi(comm)), Clock()
        x, nit = solve(counted, iterations)
        seconds = clock.read()
        numbers = [seconds.wall, seconds.cpu, counted.exchanges, counted.numbers, nit]
        spent.append(np.array(numbers, dtype=np.float64))
    # Where each iteration costs the same, without what comes once.
    each = spent[1] - (spent[0] if run is relu else 0)
    each /= each[4]
    answer: dict[str, Any] = dict(
        zip(("wall", "cpu", "exchanges", "numbers"), map(float, each), strict=False)
    )
    answer.update(once=float(spent[1][1] - each[1] * spent[1][4]), nit=nit, x=x)
    return answer


def measure(case: int, size: int, quick: bool, repeats: int) -> tuple[Record, list[Array]]:
    """The busiest rank of each repeat, and the solution on every rank."""
    answers = _ranks.on(__file__, size, case, quick, repeats)
    runs = [
        {key: max(one[key] for one in run) for key in run[0] if key != "x"}
        for run in zip(*answers, strict=True)
    ]
    last, name = runs[-1], cases(quick)[case][0]
    record = Record(
        "distributed_convex",
        name,
        _ranks.column(name.partition(",")[0], size),
        times=[one["cpu"] for one in runs],
        per="iteration",
        wall=min(one["wall"] for one in runs),
        nit=last["nit"],
        costs={"exchanges": last["exchanges"], "numbers": last["numbers"]},
        extra={"ranks": size, "once": last["once"]},
        conditions=common.conditions("mpi4py"),
    )
    return record, [one[-1]["x"] for one in answers]


TABLES = (
    Table(
        "distributed_convex",
        "one iteration: ms of the busiest rank, and what it sends",
        tables.listed(
            "",
            CPU_ms=tables.spread(1e3),
            wall_ms=_ranks.wall_ms,
            work_divided=_ranks.work_divided,
            CPU_s_once=tables.of("once"),
            exchanges=tables.of("exchanges"),
            numbers=tables.of("numbers"),
            nit=tables.of("nit"),
            from_one_rank=lambda record, _: f"{record.extra['difference']:.1e}",
        ),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    description = "admm_relu and sketch_newton on several processes"
    options = _ranks.parser(description, (1, 2)).parse_args(argv)
    if options.rank is not None:
        return _ranks.at_rank(options.rank, repeated)
    if not _ranks.available():
        return common.MISSING
    repeats = 1 if options.quick else options.repeats
    print(common.machine())
    records = []
    for case in range(len(cases(options.quick))):
        alone = None
        for size in options.ranks:
            record, solutions = measure(case, size, options.quick, repeats)
            alone = solutions[0] if alone is None else alone
            difference = max(float(np.abs(x - alone).max()) for x in solutions)
            records.append(replace(record, extra={**record.extra, "difference": difference}))
    tables.publish(TABLES, records, options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())
