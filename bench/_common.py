"""What the benchmark scripts share: the command line, one kind of record, fair timing.

A record is one JSON line: one solver on one case. It holds the seconds of every repeat together
with what was reached (objective, feasibility, iterations, evaluations) and under what conditions
(threads, dtype, machine and how busy it was, versions). bench/_tables.py makes tables of records,
bench/report.py puts them into the documentation, bench/compare.py compares two files of them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

# NumPy reads these once. One thread unless a script asks its subject for more.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from fastopt import _backend  # noqa: E402

MISSING = 2  # exit code of a script that can do nothing here, as `fastopt` has it

# ---- command line ------------------------------------------------------------------------------


def parser(description: str) -> argparse.ArgumentParser:
    """--quick, --repeats and --jsonl, which every script has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    made.add_argument("--repeats", type=positive, default=5, help="runs of each case (default 5)")
    made.add_argument("--jsonl", type=Path, metavar="FILE", help="append the records")
    return made


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def check_names(
    parser: argparse.ArgumentParser, what: str, given: Iterable[str], known: Iterable[str]
) -> None:
    """Ends with what there is, if something else was asked for."""
    if unknown := [name for name in given if name not in known]:
        parser.error(f"no such {what}: {', '.join(unknown)}; there are {', '.join(known)}")


def has(module: str, rows: str) -> bool:
    """Whether a peer is installed; says which rows are left out if not."""
    if importlib.util.find_spec(module) is not None:
        return True
    print(
        f"{module} is not installed: no rows for {rows} (pip install '.[bench]')", file=sys.stderr
    )
    return False


def data_file(name: str, rows: str) -> Path | None:
    """A data set of others, in $FASTOPT_BENCH_DATA or ./data; says what is left out without it."""
    folder = Path(os.environ.get("FASTOPT_BENCH_DATA", "data"))
    if (folder / name).is_file():
        return folder / name
    print(f"no {name} in {folder} ($FASTOPT_BENCH_DATA): no rows for {rows}", file=sys.stderr)
    return None


# ---- records -----------------------------------------------------------------------------------


@cache
def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return _backend.info()["version"] if distribution == "fastopt" else None


@cache
def machine() -> str:
    """CPU, cores and instruction set in force."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {_backend.info()['isa']} kernels"


def conditions(packages: str = "") -> dict[str, Any]:
    """Machine, its load now (runnable processes, mean of a minute), versions."""
    names = ["fastopt", "numpy", "scipy", *(name for name in packages.split(", ") if name)]
    found = {name: version(name) for name in names}
    return {
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version(), **{k: v for k, v in found.items() if v}},
    }


@dataclass(frozen=True)
class Record:
    """One solver (`column`) on one case (`row`) of a table.

    `times` are seconds for each `per`: CPU time of the process with one thread, which is what the
    run takes on a core of its own, however busy the machine is; wall-clock time with more.
    `costs` and `scores` are results besides time and objective, of which less or more is better: a
    number, or one for each of several runs. `extra` describes, and is not compared.
    """

    table: str
    row: str
    column: str
    peer: str = ""  # whose solver: the packages, '' for fastopt's own
    times: Sequence[float] = ()
    per: str = "run"
    wall: float | None = None  # least wall-clock seconds
    fun: float | None = None
    violation: float | None = None  # of the constraints, 0 for none
    nit: float | None = None
    nfev: float | None = None
    threads: int = 1
    dtype: str = "float64"
    problems: str = ""  # the package that the problems are from
    costs: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.table, self.row, self.column

    @property
    def median(self) -> float:
        return statistics.median(self.times) if self.times else math.nan

    @property
    def clock(self) -> str:
        return "cpu" if self.threads == 1 else "wall"

    def as_json(self) -> str:
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        about = given.pop("conditions") or conditions(f"{self.peer}, {self.problems}")
        plain = _plain({**given, "clock": self.clock, **about})
        kept = {k: v for k, v in plain.items() if v not in (None, "", [], {})}
        return json.dumps(kept, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Numbers that JSON knows: six digits, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, bool | str) or value is None:
        return value
    number = float(value)
    if number.is_integer() and abs(number) < 2**53:
        return int(number)
    return float(f"{number:.6g}") if math.isfinite(number) else None


def from_json(text: str) -> Record:
    """The record of a line."""
    given = json.loads(text)
    about = {name: given.pop(name) for name in ("machine", "load", "versions") if name in given}
    given.pop("clock", None)
    return Record(**given, conditions=about)


def read(paths: Iterable[Path]) -> list[Record]:
    """All records of some files; a line that is none is named."""
    records = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                records.append(from_json(line))
            except (TypeError, ValueError, AttributeError) as error:
                raise ValueError(
                    f"{path}, line {number}: not a record of bench/: {error}"
                ) from None
    return records


def write(records: Iterable[Record], path: Path | None) -> None:
    """Append records to a file of JSON lines."""
    if path is None:
        return
    with path.open("a", encoding="utf-8") as file:
        file.writelines(record.as_json() + "\n" for record in records)


# ---- timing ------------------------------------------------------------------------------------


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
    """What one timed run did: `steps` of what its record's time is per."""

    seconds: Seconds
    steps: int = 1
    fun: float | None = None
    violation: float | None = 0.0
    nit: int | None = None
    nfev: int | None = None
    costs: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """One row of a table: `run` does some steps and says which."""

    column: str
    run: Callable[[], Outcome]
    peer: str = ""
    threads: int = 1
    dtype: str = "float64"
    extra: Mapping[str, Any] = field(default_factory=dict)
    once: bool = False  # too slow for a warm-up and repeats


def alternate(
    table: str, row: str, subjects: Sequence[Subject], repeats: int, per: str = "run"
) -> list[Record]:
    """Each subject once to warm up, then all of them in turn, `repeats` times."""
    runs: list[list[Outcome]] = [[] for _ in subjects]
    for subject in subjects:
        if not subject.once:
            subject.run()
    for k in range(repeats):
        for subject, outcomes in zip(subjects, runs, strict=True):
            if k == 0 or not subject.once:
                outcomes.append(subject.run())
    return [
        record_of(table, row, subject, outcomes, per)
        for subject, outcomes in zip(subjects, runs, strict=True)
    ]


def record_of(
    table: str, row: str, subject: Subject, outcomes: Sequence[Outcome], per: str = "run"
) -> Record:
    last = outcomes[-1]
    cpu = subject.threads == 1
    return Record(
        table=table,
        row=row,
        column=subject.column,
        peer=subject.peer,
        times=[(one.seconds.cpu if cpu else one.seconds.wall) / one.steps for one in outcomes],
        per=per,
        wall=min(one.seconds.wall / one.steps for one in outcomes),
        fun=last.fun,
        violation=last.violation,
        nit=last.nit,
        nfev=last.nfev,
        threads=subject.threads,
        dtype=subject.dtype,
        costs=last.costs,
        scores=last.scores,
        extra={**subject.extra, **last.extra},
        conditions=conditions(subject.peer),
    )


def timed(call: Callable[[], Any]) -> tuple[Any, Seconds]:
    clock = Clock()
    result = call()
    return result, clock.read()


def seconds_of(call: Callable[[], Any], repeats: int = 7, calls: int = 1) -> list[float]:
    """CPU seconds of one call, several times, after a warm-up."""
    call()
    return [timed(lambda: [call() for _ in range(calls)])[1].cpu / calls for _ in range(repeats)]
