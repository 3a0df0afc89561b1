"""Rates of this machine, one thread: what the floors of the other tables are made of.

Random numbers, terms of an objective, memory, matrix products; what one call of a user's objective
costs in each form that cbo takes; and how much another Python thread does while a solver runs.
Nanoseconds unless it says otherwise.

    python bench/rates.py [--quick] [--repeats N] [--jsonl FILE]
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import _common as common
import _tables as tables
import numpy as np
import scipy
from _common import Clock, Outcome, Record, Subject
from _tables import Table

from fastopt import _backend, _native, admm_relu, cbo, lstsq, problems, sketch, sketch_newton

BLOCK = 1 << 14


def repeated(call: Callable[[], Any], calls: int, items: int) -> Callable[[], Outcome]:
    """`items` is what a record's time is per."""

    def run() -> Outcome:
        _, spent = common.timed(lambda: [call() for _ in range(calls)])
        return Outcome(spent, calls * items, violation=None)

    return run


def random_numbers(o: Any) -> list[Record]:
    module, calls = _backend.module(None), 20 if o.quick else 200
    numpy = np.random.Generator(np.random.PCG64(0))
    records = []
    for dtype in ("float64", "float32"):
        out = np.empty(BLOCK, dtype)
        draw = lambda t=dtype, out=out: numpy.standard_normal(dtype=t, out=out)  # noqa: E731
        ours = lambda t=dtype: module.fill_normal(BLOCK, 1, 2, dtype=t)  # noqa: E731
        subjects = [
            Subject("fastopt", repeated(ours, calls, BLOCK), dtype=dtype),
            Subject("NumPy", repeated(draw, calls, BLOCK), "numpy", dtype=dtype),
        ]
        records += common.alternate("rates", f"normal, {dtype}", subjects, o.repeats, "number")
    return records


def terms(o: Any) -> list[Record]:
    """One coordinate of Rastrigin's function, points in the cache."""
    calls = 5 if o.quick else 50
    records = []
    for dtype in ("float64", "float32"):
        points = np.random.default_rng(0).uniform(-3, 3, (BLOCK // 64, 64)).astype(dtype)
        native = _backend.module(None).native_objective("rastrigin", 64)

        def numpy(x: Any = points) -> Any:
            return (x * x - 10 * np.cos(x.dtype.type(2 * np.pi) * x)).sum(axis=1)

        def ours(native: Any = native, x: Any = points) -> Any:
            return native.evaluate(x, threads=1)

        subjects = [
            Subject("fastopt", repeated(ours, calls, BLOCK), dtype=dtype),
            Subject("NumPy", repeated(numpy, calls, BLOCK), "numpy", dtype=dtype),
        ]
        row = f"term of Rastrigin's function, {dtype}"
        records += common.alternate("rates", row, subjects, o.repeats, "coordinate")
    return records


def objectives(o: Any) -> list[Record]:
    """One point of ten variables, the objective in each form that a user can write it."""
    d, n = 10, 1000
    points = np.random.default_rng(0).uniform(-3, 3, (n, d))

    def python(x: Any) -> float:
        return float(10.0 * x.size + (x * x - 10.0 * np.cos(2.0 * np.pi * x)).sum())

    def batch(x: Any) -> Any:
        return 10.0 * d + (x * x - 10.0 * np.cos(2.0 * np.pi * x)).sum(axis=1)

    module = _backend.module(None)
    native = module.native_objective(*problems.rastrigin(d)._native_spec())
    calls = 5 if o.quick else 50
    subjects = [
        Subject("native", repeated(lambda: native.evaluate(points, threads=1), calls, n)),
        Subject("NumPy, a batch", repeated(lambda: batch(points), calls, n), "numpy"),
        Subject("NumPy, a point", repeated(lambda: [python(x) for x in points], 1, n), "numpy"),
    ]
    if common.has("numba", "a numba cfunc"):
        cfunc = _native.native_objective(module, numba_rastrigin(), d)
        run = repeated(lambda: cfunc.evaluate(points, threads=1), calls, n)
        subjects.insert(1, Subject("numba cfunc", run, "numba"))
    return common.alternate("rates_objective", "Rastrigin, d = 10", subjects, o.repeats, "point")


def machine_rates(o: Any) -> list[Record]:
    """Bytes over time of a triad, flops over time of BLAS and LAPACK."""
    records = []
    for dtype in ("float64", "float32"):
        n, size = (512 if o.quick else 1024), 10_000_000
        a = np.random.default_rng(0).standard_normal((n, n)).astype(dtype)
        spd = a @ a.T + n * np.eye(n, dtype=dtype)
        b, c, out = (np.ones(size, dtype) for _ in range(3))

        def triad(b: Any = b, c: Any = c, out: Any = out) -> Any:
            np.multiply(c, 3, out=out)
            return np.add(b, out, out=out)  # two passes: five arrays moved

        potrf = scipy.linalg.get_lapack_funcs("potrf", (spd,))
        jobs = {
            "GB/s, triad": (triad, 5 * b.nbytes),
            "GF/s, gemm": (lambda a=a: a @ a, 2 * n**3),
            "GF/s, potrf": (lambda s=spd, f=potrf: f(s), n**3 / 3),
        }
        for row, (job, work) in jobs.items():
            times = common.seconds_of(job, o.repeats)
            records.append(
                Record(
                    "rates_machine",
                    row,
                    dtype,
                    "numpy, scipy",
                    times,
                    "call",
                    dtype=dtype,
                    extra={"work": work},
                )
            )
    return records


def ticking(solve: Callable[[float], Any], seconds: float) -> Callable[[], Outcome]:
    """A run is solve(seconds); its steps, how often a Python thread that sleeps 1 ms wakes in it.

    A thread that waited for the GIL would wake as often as the solver lets go of it: a few times.
    """

    def run() -> Outcome:
        ticks, stop = 0, threading.Event()

        def tick() -> None:
            nonlocal ticks
            while not stop.is_set():
                time.sleep(0.001)
                ticks += 1

        thread = threading.Thread(target=tick)
        clock = Clock()
        thread.start()
        try:
            solve(seconds)
        finally:
            count, spent = ticks, clock.read()
            stop.set()
            thread.join()
        return Outcome(spent, max(1, count), violation=None)

    return run


def ticks(o: Any) -> list[Record]:
    """A Python thread beside each solver, on a core of its own where the machine has two."""
    random = np.random.default_rng(0)
    A = random.standard_normal((20_000, 120))
    X, function = A[:2000, :12].copy(), problems.rastrigin(30)
    y = np.maximum(X @ random.standard_normal((12, 5)), 0) @ random.standard_normal(5)
    model, start = problems.GLM(A, np.sign(A[:, 0]), threads=1), np.zeros(120)
    endless = {"tol": 0.0, "threads": 1, "rng": 1}
    cloud = {"dynamics": "anisotropic", "n_particles": 5000, "polish": False, **endless}
    network = {"beta_ratio": 1e-2, "gates": 40, "gap_tol": 1e-15, "maxiter": 400, "threads": 1}

    def again(call: Callable[[], Any]) -> Callable[[float], None]:
        def run(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                call()

        return run

    solves: dict[str, Callable[[float], Any]] = {
        "idle": time.sleep,
        "busy, GIL free": again(lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)),
        "asleep, GIL held": lambda s: ctypes.PyDLL(None).usleep(round(1e6 * s)),
        "cbo": lambda s: cbo(function, function.bounds, maxfev=10**9, maxtime=s, **endless),
        "cbo, anisotropic": lambda s: cbo(function, function.bounds, maxtime=s, **cloud),
        "admm_relu": again(lambda: admm_relu(X, y, rng=1, **network)),
        "sketch_newton": again(lambda: sketch_newton(model, start, linear_solver="ldl", threads=1)),
        "lstsq": again(lambda: lstsq(A, A[:, :4], threads=1)),
        "sketch": again(lambda: sketch(A, 2000, "gaussian", rng=1, threads=1)),
    }
    seconds = 0.2 if o.quick else 1.0
    subjects = [Subject(name, ticking(solve, seconds), threads=2) for name, solve in solves.items()]
    return common.alternate("gil", "a thread that sleeps 1 ms", subjects, o.repeats, "tick")


def numba_rastrigin() -> Any:
    import math

    import numba

    @numba.cfunc("double(intc, CPointer(double))")
    def rastrigin(n, x):  # type: ignore[no-untyped-def]
        total = 10.0 * n
        for k in range(n):
            total += x[k] * x[k] - 10.0 * math.cos(2 * math.pi * x[k])
        return total

    return rastrigin


TABLES = (
    Table(
        "rates",
        "rates of one core: ns",
        tables.listed("", ns=tables.spread(1e9), to_fastopt=tables.against("fastopt")),
    ),
    Table(
        "rates_objective",
        "a point of Rastrigin's function in ten variables: us",
        tables.listed("", us=tables.spread(1e6), to_native=tables.against("native")),
    ),
    Table(
        "rates_machine",
        "memory, BLAS and LAPACK",
        tables.crossed("", lambda record, _: record.extra["work"] / record.median / 1e9),
    ),
    Table(
        "gil",
        "a Python thread beside a solver: us a tick, and its share of the idle rate",
        tables.listed("", us=tables.spread(1e6), of_idle=tables.rate_of("idle")),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    options = common.parser(__doc__.splitlines()[0]).parse_args(argv)
    print(common.machine())
    records = [
        record
        for measure in (random_numbers, terms, objectives, machine_rates, ticks)
        for record in measure(options)
    ]
    tables.publish(TABLES, records, options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())
