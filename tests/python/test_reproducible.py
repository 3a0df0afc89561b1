"""The same seed gives the same bits: threads, listeners, restarts, instruction sets, kill -9."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fastopt import _backend, cbo, problems

# name: (problem, options); large enough for several blocks of work
RUNS = {
    "hybrid": ("rastrigin", 6, {"maxfev": 12_000}),
    "hybrid, float32": ("levy", 6, {"maxfev": 6_000, "dtype": "float32"}),
    "anisotropic": ("rastrigin", 40, {"dynamics": "anisotropic"}),
    "anisotropic, float32": ("rastrigin", 40, {"dynamics": "anisotropic", "dtype": "float32"}),
    "isotropic": ("ackley", 40, {"dynamics": "isotropic", "truncation": 1.0}),
    "covariance": ("ackley", 40, {"dynamics": "anisotropic", "noise": "covariance"}),
    "memory": ("rastrigin", 40, {"dynamics": "memory", "memory_diffusion": 0.2}),
    "batches": ("rastrigin", 40, {"dynamics": "anisotropic", "batch_size": 700}),
    "hopping": ("griewank", 40, {"dynamics": "hopping"}),
    "sampling": ("sphere", 40, {"dynamics": "sampling", "samples": True, "alpha": 1.0}),
    "polarized": ("rastrigin", 20, {"dynamics": "polarized", "n_particles": 500}),
}


def run(name, **changes):
    function, dim, options = RUNS[name]
    problem = problems.get(function, dim)
    if "maxfev" not in options:
        options = {"n_particles": 1500, "maxiter": 12, **options}
    return cbo(problem, problem.bounds, rng=7, **{**options, **changes})


def digest(result):
    """A short name for everything that a run found."""
    parts = [result[k].tobytes() for k in ("x", "population", "population_energies", "consensus")]
    numbers = repr((float(result.fun), int(result.nit), int(result.nfev), int(result.status)))
    return hashlib.sha256(b"".join(parts) + numbers.encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def alone():
    return {name: digest(run(name, threads=1)) for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("threads", [2, 4])
def test_threads(alone, name, threads):
    assert digest(run(name, threads=threads)) == alone[name]


@pytest.mark.parametrize("name", RUNS)
def test_callback_history_and_display(alone, name, capsys):
    seen = []
    listened = run(name, callback=lambda xk: seen.append(xk[0]), record_history=True, disp=True)
    assert digest(listened) == alone[name]
    assert len(seen) == listened.nit == len(listened.history["fun"])
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", RUNS)
def test_checkpoints_change_nothing(alone, name, tmp_path):
    saved = run(name, checkpoint=tmp_path / "state.npz", checkpoint_every=0)
    assert digest(saved) == alone[name]


def test_python_and_native_objectives_get_the_same_points():
    seen = []

    def watch(x):
        seen.append(x.copy())
        return (x**2).sum(axis=0)

    options = {"dynamics": "hopping", "n_particles": 300, "maxiter": 3, "rng": 1, "polish": False}
    native = cbo(problems.sphere(50), [(-1, 2)] * 50, **options)
    python = cbo(watch, [(-1, 2)] * 50, vectorized=True, **options)
    assert len(seen) == 3
    assert seen[0].T.tobytes() == cbo(problems.sphere(50), [(-1, 2)] * 50,
                                      **{**options, "maxiter": 1}).population.tobytes()  # fmt: skip
    assert native.population.shape == python.population.shape == (300, 50)
    # NumPy's sums differ from the core's in their last bits, and so do the weights.
    np.testing.assert_allclose(python.population, native.population, rtol=1e-9, atol=1e-9)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import test_reproducible as here
from fastopt import _backend
print(_backend.module().isa(), *(here.digest(here.run(name)) for name in here.RUNS))
"""


@pytest.mark.parametrize("seed", ["0", "1"])
def test_across_interpreter_restarts(alone, fresh_python, seed):
    out = fresh_python(SCRIPT, os.path.dirname(__file__), PYTHONHASHSEED=seed)
    assert out.split()[1:] == list(alone.values())


def test_across_instruction_sets(alone, fresh_python):
    names = list(alone)
    # OpenBLAS has kernels of its own for each CPU, but FASTOPT_ISA does not choose among them.
    for level in _backend.info()["isa_available"]:
        isa, *digests = fresh_python(SCRIPT, os.path.dirname(__file__), FASTOPT_ISA=level).split()
        assert isa == level
        assert dict(zip(names, digests, strict=True)) == alone


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
import test_reproducible as here
path, name = sys.argv[2:]
here.run(name, checkpoint=path, checkpoint_every=0, **here.LONG[name])
"""
LONG = {
    "hybrid": {"maxfev": 150_000, "tol": 0.0},
    "memory": {"maxiter": 1500, "n_particles": 300, "tol": 0.0},
}


@pytest.mark.parametrize("name", LONG)
def test_kill_9_at_a_random_moment_and_resume(name, tmp_path):
    path = tmp_path / "state.npz"
    arguments = [sys.executable, "-c", KILLED, os.path.dirname(__file__), str(path), name]
    child = subprocess.Popen(arguments)
    try:
        deadline = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.002)
        time.sleep(random.SystemRandom().uniform(0.0, 0.5))
    finally:
        child.kill()
    assert child.wait(timeout=30) == -signal.SIGKILL, "the run ended before it was killed"
    resumed = run(name, resume=path, **LONG[name])
    assert digest(resumed) == digest(run(name, **LONG[name]))


def test_a_result_does_not_depend_on_earlier_runs(alone):
    for name in list(RUNS)[::-1]:
        assert digest(run(name)) == alone[name]


def test_x_is_float64_and_is_the_users_own(alone):
    for name in ("hybrid", "anisotropic, float32"):
        result = run(name)
        assert result.x.dtype == np.float64
        result.x[:] = 0  # writable, and nobody else's
        assert digest(run(name)) == alone[name]
