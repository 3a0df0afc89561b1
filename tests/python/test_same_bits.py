"""admm_relu, sketch_newton, lstsq and sketches: the same bits in another interpreter and for every
instruction set, and nobody waits for the GIL while they run. (cbo: test_reproducible.py.)"""

import ctypes
import hashlib
import importlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import LinearConstraint

from fastopt import _backend, admm_relu, lstsq, sketch, sketch_newton
from fastopt.problems import GLM

RNG = np.random.default_rng(4)
X = RNG.standard_normal((600, 8))
Y = np.maximum(X @ RNG.standard_normal((8, 4)), 0) @ RNG.standard_normal(4)
TALL = RNG.standard_normal((3000, 24))
SIGNS = np.sign(TALL[:, 0] + RNG.logistic(size=3000))


def network(method, **options):
    given = {"beta_ratio": 1e-2, "gates": 24, "rng": 1, "maxiter": 40, **options}
    result = admm_relu(X, Y, method=method, **given)
    return result.x, result.fun, result.dual_fun, result.nit


def newton(solver, **options):
    result = sketch_newton(
        GLM(TALL, SIGNS, l2=1e-3),
        np.zeros(24),
        linear_solver=solver,
        constraints=LinearConstraint(np.ones((1, 24)), 0, 0),
        rng=5,
        **options,
    )
    return result.x, result.fun, result.v[0], result.nit


RUNS = {
    "conic": lambda **o: network("conic", **o),
    "conic, float32": lambda **o: network("conic", dtype="float32", **o),
    "admm": lambda **o: network("admm", **o),
    "gated": lambda **o: network("gated", **o),
    "scp": lambda **o: network("scp", **o),
    "ldl": lambda **o: newton("ldl", **o),
    "sketch-pcg": lambda **o: newton("sketch-pcg", **o),
    "nystrom-pcg": lambda **o: newton("nystrom-pcg", **o),
    "minres": lambda **o: newton("minres", **o),
    "lstsq": lambda **o: (lstsq(TALL, SIGNS, rng=3, **o).x,),
    "sketch sjlt": lambda **o: (sketch(TALL, 100, "sjlt", rng=3, **o),),
    "sketch srht": lambda **o: (sketch(TALL, 100, "srht", rng=3, **o),),
    "sketch gaussian": lambda **o: (sketch(TALL, 100, "gaussian", rng=3, **o),),
    "sketch less": lambda **o: (sketch(TALL, 100, "less", rng=3, **o),),
}


def digest(found):
    parts = [np.asarray(one).tobytes() for one in found]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import test_same_bits as here
print(here._backend.module().isa(), *(here.digest(run()) for run in here.RUNS.values()))
"""


@pytest.fixture(scope="module")
def here():
    return {name: digest(run()) for name, run in RUNS.items()}


@pytest.mark.parametrize("seed", ["0", "1"])
def test_across_interpreter_restarts(here, fresh_python, seed):
    out = fresh_python(SCRIPT, os.path.dirname(__file__), PYTHONHASHSEED=seed, timeout=300)
    assert dict(zip(RUNS, out.split()[1:], strict=True)) == here


def test_across_instruction_sets(here, fresh_python):
    # OpenBLAS has kernels of its own for each CPU, but FASTOPT_ISA does not choose among them.
    for level in _backend.info()["isa_available"]:
        out = fresh_python(SCRIPT, os.path.dirname(__file__), FASTOPT_ISA=level, timeout=300)
        isa, *digests = out.split()
        assert isa == level
        assert dict(zip(RUNS, digests, strict=True)) == here


@pytest.mark.parametrize("name", RUNS)
def test_threads_and_earlier_runs(here, name):
    for threads in (1, 2, 4):
        assert digest(RUNS[name](threads=threads)) == here[name]


@pytest.mark.parametrize("name", [n for n in RUNS if not n.startswith(("lstsq", "sketch "))])
def test_listeners(here, name, capsys):
    seen = []
    run = RUNS[name](callback=lambda xk: seen.append(1), record_history=True, disp=True)
    assert digest(run) == here[name] and seen and capsys.readouterr().out


def test_the_solvers_run_in_workers_of_joblib():
    joblib = pytest.importorskip("joblib")
    again = importlib.import_module(Path(__file__).stem)  # by a name that the workers find too
    kinds = (again.network, "conic"), (again.newton, "ldl"), (again.newton, "sketch-pcg")
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(run)(name, threads=2) for run, name in kinds)
    assert [digest(one) for one in found] == [digest(run(name)) for run, name in kinds]


# ---- the GIL -------------------------------------------------------------------------------------

BIG = RNG.standard_normal((20_000, 120))
LONG = {
    "admm_relu": lambda: network("conic", gap_tol=1e-15, maxiter=10**6, maxtime=1.0),
    "sketch_newton": lambda: sketch_newton(
        GLM(BIG, np.sign(BIG[:, 0]), threads=1), np.zeros(120), tol=1e-300, maxtime=1.0, threads=1
    ),
    "lstsq": lambda: [lstsq(BIG, BIG[:, :4], threads=1) for _ in range(2)],
    "sketch": lambda: [sketch(BIG, 2000, "gaussian", rng=k, threads=1) for k in range(2)],
}


def longest_wait(function):
    """The longest that a ticking thread waited, as a share of the time of function().

    Not the number of its ticks, which a busy machine halves.
    """
    stop, waits, before = threading.Event(), [], [0.0]

    def tick():
        while not stop.is_set():
            now = time.monotonic()
            waits.append(now - before[0])
            before[0] = now
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    started = before[0] = time.monotonic()
    thread.start()
    try:
        function()
    finally:
        stop.set()
        thread.join()
    return max(waits) / (time.monotonic() - started)


def test_a_held_gil_would_be_seen():
    assert longest_wait(lambda: ctypes.PyDLL(None).usleep(300_000)) > 0.5


@pytest.mark.slow_under_asan
@pytest.mark.parametrize("name", LONG)
def test_the_gil_is_free(name):
    """With it held through the native part the wait would be most of the time."""
    shares = []
    for _ in range(8):  # a busy machine lets any thread wait now and then
        shares.append(longest_wait(LONG[name]))
        if shares[-1] < 0.5:
            return
    pytest.fail(f"a thread waited for {shares} of the time")
