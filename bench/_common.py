"""What the benchmark scripts share: fair timing, the floor of this machine, records, tables.

A record is one JSON line. It holds the median, least and greatest time of a case together with what
was reached (objective, feasibility, iterations, evaluations) and under what conditions (versions,
threads, dtype, machine).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

# NumPy reads these once. One thread unless a script asks its subject for more.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402

from fastopt import _backend  # noqa: E402

# ---- command line ------------------------------------------------------------------------------


def parse(description: str, argv: Sequence[str] | None) -> argparse.Namespace:
    """--quick, --repeats and --jsonl, which every script has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each case (default 5)")
    parser.add_argument("--jsonl", type=Path, metavar="FILE", help="append the records")
    options = parser.parse_args(argv)
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {options.repeats}")
    return options


def has(module: str, rows: str) -> bool:
    """Whether a peer is installed; says which rows are left out if not."""
    if importlib.util.find_spec(module) is not None:
        return True
    print(
        f"{module} is not installed: no rows for {rows} (pip install '.[bench]')", file=sys.stderr
    )
    return False


# ---- records -----------------------------------------------------------------------------------


@cache
def versions() -> dict[str, str]:
    """Versions of everything that may stand in a table."""
    found = {"python": platform.python_version()}
    for name in ("fastopt", "numpy", "scipy", "cbx", "cma"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found.setdefault("fastopt", _backend.info()["version"])
    return found


@cache
def machine() -> str:
    """CPU, cores and instruction set in force."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {_backend.info()['isa']} kernels"


class Clock:
    """Wall-clock and CPU time of this process since its making."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        return Seconds(time.perf_counter() - self._wall, time.process_time() - self._cpu)


@dataclass(frozen=True)
class Seconds:
    wall: float
    cpu: float

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)


@dataclass(frozen=True)
class Outcome:
    """What one timed run did."""

    steps: int
    fun: float
    nfev: int
    seconds: Seconds  # of the steps
    feasible: bool = True


@dataclass(frozen=True)
class Record:
    """Times are seconds per step (or whatever `per` names).

    With one thread they are CPU time, which is what the run takes on a core of its own, however
    busy the machine is; with more, wall-clock time.
    """

    bench: str
    case: str
    solver: str
    median: float
    least: float
    greatest: float
    least_wall: float
    repeats: int
    fun: float = float("nan")
    feasible: bool = True
    nit: int = 0
    nfev: int = 0
    threads: int = 1
    dtype: str = "float64"
    per: str = "step"
    extra: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "machine": machine(), "versions": versions()})


def write(records: Iterable[Record], path: Path | None) -> None:
    """Append records to a file of JSON lines."""
    if path is None:
        return
    with path.open("a", encoding="utf-8") as file:
        file.writelines(record.as_json() + "\n" for record in records)


# ---- timing ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """One row of a table: `run` does some steps and says which."""

    solver: str
    run: Callable[[], Outcome]
    threads: int = 1
    dtype: str = "float64"
    extra: Mapping[str, Any] = field(default_factory=dict)


def alternate(bench: str, case: str, subjects: Sequence[Subject], repeats: int) -> list[Record]:
    """Each subject once to warm up, then all of them in turn, `repeats` times."""
    runs: list[list[Outcome]] = [[] for _ in subjects]
    for subject in subjects:
        subject.run()
    for _ in range(repeats):
        for subject, outcomes in zip(subjects, runs, strict=True):
            outcomes.append(subject.run())
    return [
        record_of(bench, case, subject, outcomes)
        for subject, outcomes in zip(subjects, runs, strict=True)
    ]


def record_of(bench: str, case: str, subject: Subject, outcomes: Sequence[Outcome]) -> Record:
    last = outcomes[-1]
    times = [
        (one.seconds.cpu if subject.threads == 1 else one.seconds.wall) / one.steps
        for one in outcomes
    ]
    return Record(
        bench=bench,
        case=case,
        solver=subject.solver,
        median=statistics.median(times),
        least=min(times),
        greatest=max(times),
        least_wall=min(one.seconds.wall / one.steps for one in outcomes),
        repeats=len(outcomes),
        fun=last.fun,
        feasible=last.feasible,
        nit=last.steps,
        nfev=last.nfev,
        threads=subject.threads,
        dtype=subject.dtype,
        extra=dict(subject.extra),
    )


def seconds_of(call: Callable[[], Any], repeats: int = 7, calls: int = 1) -> float:
    """Median CPU time of one call."""
    times = []
    call()
    for _ in range(repeats):
        clock = Clock()
        for _ in range(calls):
            call()
        times.append(clock.read().cpu / calls)
    return statistics.median(times)


# ---- the floor ---------------------------------------------------------------------------------

BLOCK = 16384  # coordinates: what one block of work holds, in the cache


@dataclass(frozen=True)
class Floor:
    """Nanoseconds per coordinate that no implementation on these kernels can go below."""

    normal: float  # one normal, 32 random bits, for either dtype of the particles
    objective: float  # one coordinate of the objective
    byte: float  # one byte moved, for arrays of the size of the particles

    def of_step(self, itemsize: int, normals: int = 1, passes: int = 4) -> float:
        """Evaluation and consensus read the particles, the move reads and writes them."""
        return self.normal * normals + self.objective + self.byte * itemsize * passes


def measure_floor(name: str, n: int, d: int, dtype: str) -> Floor:
    """Rates of the generator, of the native objective and of memory, one thread, now."""
    module = _backend.module(None)
    normal = seconds_of(lambda: module.fill_normal(BLOCK, 1, 2, dtype="float32"), calls=20) / BLOCK
    rows = max(1, BLOCK // d)
    block = np.random.default_rng(0).uniform(-3, 3, (rows, d)).astype(dtype)
    target = np.empty_like(block)
    objective = module.native_objective(name, d)
    evaluation = seconds_of(lambda: objective.evaluate(block, threads=1), calls=20)
    copy = seconds_of(lambda: np.copyto(target, block), calls=20)  # evaluate() copies its points
    size = max(n * d, 4 * BLOCK)  # a smaller array is in the cache like this one
    points, other = np.zeros(size, dtype), np.ones(size, dtype)
    moved = seconds_of(lambda: np.copyto(other, points), calls=max(1, 10**7 // size))
    return Floor(
        normal=normal * 1e9,
        objective=(evaluation - copy) / block.size * 1e9,
        byte=moved / (2 * points.nbytes) * 1e9,
    )


# ---- tables ------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned first column, right-aligned others."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def spread(record: Record, scale: float, digits: int = 3) -> str:
    """Median (least-greatest)."""
    return (
        f"{record.median * scale:.{digits}g} "
        f"({record.least * scale:.{digits}g}-{record.greatest * scale:.{digits}g})"
    )


def verdict(label: str, value: float, bound: float, *, at_least: bool) -> str:
    """One line of the list of targets."""
    met = value >= bound if at_least else value <= bound
    sign = ">=" if at_least else "<="
    return f"  {label:<86} {value:8.3g}  (target {sign} {bound:g}: {'met' if met else 'MISSED'})"
