"""Processes with MPI for the benchmarks of several ranks, and what their records have in common.

A script calls `on`, which starts it again on each rank with `--rank`; `at_rank` then runs what was
asked for and hands its answer back. A record's time is CPU time of the busiest rank, each of one
thread: it shows how the work divides also where other programs take the cores.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _common as common
import _tables as tables
from _common import Record


def parser(description: str, sizes: Sequence[int]) -> argparse.ArgumentParser:
    """The options of every script, and --ranks."""
    made = common.parser(description)
    made.add_argument(
        "--ranks",
        type=common.positive,
        nargs="+",
        default=list(sizes),
        metavar="N",
        help=f"numbers of processes (default {' '.join(map(str, sizes))})",
    )
    made.add_argument("--rank", help=argparse.SUPPRESS)
    return made


def mpiexec() -> str | None:
    beside = str(Path(sys.executable).parent)
    return shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")


def available() -> bool:
    """Whether processes can be started; says what is left out if not."""
    if not common.has("mpi4py", "several processes"):
        return False
    if mpiexec() is None:
        print("there is no mpiexec: no rows for several processes", file=sys.stderr)
    return mpiexec() is not None


def on(script: str, size: int, *task: Any) -> list[Any]:
    """What each of `size` processes answers to a task, in the order of the ranks."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(mpiexec()), "-n", str(size), sys.executable, "-m", "mpi4py", script]
        command += ["--rank", json.dumps([folder, *task])]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return [pickle.loads((Path(folder) / str(k)).read_bytes()) for k in range(size)]


def at_rank(given: str, answer: Callable[..., Any]) -> int:
    """One of the processes that `on` starts."""
    from mpi4py import MPI

    folder, *task = json.loads(given)
    found = answer(MPI.COMM_WORLD, *task)
    (Path(folder) / str(MPI.COMM_WORLD.rank)).write_bytes(pickle.dumps(found))
    return 0


def column(solver: str, size: int) -> str:
    return f"{solver}, {size} {'rank' if size == 1 else 'ranks'}"


def work_divided(record: Record, group: Sequence[Record]) -> str:
    """What a rank would take if nothing were done twice, over what it takes."""
    return efficiency(record, group, lambda one: min(one.times))


def efficiency(
    record: Record, group: Sequence[Record], seconds: Callable[[Record], float | None]
) -> str:
    """Of a record against the one of a single rank in the same row; '' without it."""
    for one in group:
        alone, mine = seconds(one), seconds(record)
        if one.extra["ranks"] == 1 and alone and mine:
            return f"{alone / record.extra['ranks'] / mine:.0%}"
    return ""


def least_ms(record: Record, _: Sequence[Record]) -> str:
    return tables.number(min(record.times) * 1e3)


def wall_ms(record: Record, _: Sequence[Record]) -> str:
    return tables.number(record.wall * 1e3 if record.wall else None)
