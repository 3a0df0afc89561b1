"""admm_relu and sketch_newton on 1 and more processes of this machine: what an iteration costs and
sends.

CPU seconds are those of the busiest rank, so that they show how the work divides also where other
programs take the cores; an exchange is waited for with little CPU time. `numbers`, of 8 bytes, are
what a rank contributes to sums and gathers. `from one rank` is the largest difference of the
solution from that of one process.

    python bench/distributed_convex.py [--ranks 1 2] [--quick] [--jsonl FILE]
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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


CASES: dict[str, tuple[Callable[..., Solve], tuple[Any, ...]]] = {
    "admm_relu, gates: n 1000, d 40, P 512": (relu, (1000, 40, 512, "gates")),
    "admm_relu, samples: n 200000, d 10, P 32": (relu, (200000, 10, 32, "samples")),
    "sketch_newton, ldl: 200000 x 200": (logistic, (200000, 200, "ldl")),
    "sketch_newton, sketch-pcg: 200000 x 200": (logistic, (200000, 200, "sketch-pcg")),
}
SMALL = {1000: (300, 5), 200000: (5000, 10)}


def run_rank(name: str, quick: bool, folder: str) -> None:
    """One rank: the case once with few iterations and once with more, whose difference counts."""
    from mpi4py import MPI

    run, given = CASES[name]
    if quick:
        given = SMALL[given[0]] + given[2:]
    solve = run(*given)
    few, more = (10, 30) if quick else (40, 120)
    spent: list[Array] = []
    for iterations in (few, more):
        comm = Counted(mpi(MPI.COMM_WORLD))
        wall, cpu = time.perf_counter(), time.process_time()
        x, nit = solve(comm, iterations)
        now = [time.perf_counter() - wall, time.process_time() - cpu, comm.exchanges, comm.numbers]
        spent.append(np.array([*now, nit], dtype=np.float64))
    # Where each iteration costs the same, without what comes once.
    each = spent[1] - (spent[0] if run is relu else 0)
    each /= each[4]
    names = ("wall", "cpu", "exchanges", "numbers")
    answer: dict[str, Any] = dict(zip(names, map(float, each), strict=False))
    answer.update(once=float(spent[1][1] - each[1] * spent[1][4]), nit=nit, x=x)
    rank = MPI.COMM_WORLD.Get_rank()
    (Path(folder) / f"rank{rank}").write_bytes(pickle.dumps(answer))


def measure(name: str, size: int, quick: bool) -> list[dict[str, Any]]:
    mpiexec = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or "mpiexec"
    with tempfile.TemporaryDirectory() as folder:
        command = [mpiexec, "-n", str(size), sys.executable, "-m", "mpi4py", __file__]
        command += ["--rank-of", name, "--folder", folder, *(["--quick"] if quick else [])]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return [pickle.loads((Path(folder) / f"rank{r}").read_bytes()) for r in range(size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jsonl")
    parser.add_argument("--rank-of", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank_of:
        return run_rank(given.rank_of, given.quick, given.folder)
    for name in CASES:
        print(f"\n{name}\n{'ranks':>5} {'CPU ms':>9} {'wall ms':>9} {'CPU s once':>10} "
              f"{'exchanges':>9} {'numbers':>9} {'nit':>4} {'from one rank':>13}")  # fmt: skip
        alone = None
        for size in given.ranks:
            ranks = measure(name, size, given.quick)
            alone = ranks[0]["x"] if alone is None else alone
            row = {key: max(r[key] for r in ranks) for key in ranks[0] if key != "x"}
            row["difference"] = float(max(np.abs(r["x"] - alone).max() for r in ranks))
            print(
                f"{size:5d} {row['cpu'] * 1e3:9.3f} {row['wall'] * 1e3:9.3f} {row['once']:10.2f} "
                f"{row['exchanges']:9.1f} {row['numbers']:9.0f} {row['nit']:4d} "
                f"{row['difference']:13.1e}"
            )
            if given.jsonl:
                with open(given.jsonl, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"case": name, "ranks": size, **row}) + "\n")


if __name__ == "__main__":
    main()
