"""`workers=` of other libraries: dask.distributed, mpi4py.futures, joblib. Each in a process of its
own, since what they leave behind (pools, event loops) does not go with the tests that fork."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# An objective that takes a while, at the top level of a module that the workers can import.
MODULE = """
import os, time
import numpy as np
from fastopt import cbo

BOX = [(-3.0, 4.0)] * 2
OPTIONS = {"dynamics": "memory", "maxiter": 3, "n_particles": 24, "rng": 1, "polish": False}

def slow(x):
    time.sleep(2e-3)
    return float(np.sum((x - 0.5) ** 2 - np.cos(3 * x)))

def elsewhere(x, caller):
    assert os.getpid() != caller
    return slow(x)

def check(workers):
    alone = cbo(slow, BOX, **OPTIONS)
    result = cbo(elsewhere, BOX, args=(os.getpid(),), workers=workers, **OPTIONS)
    assert result.x.tobytes() == alone.x.tobytes() and result.fun == alone.fun, result
    assert result.nfev == alone.nfev == 72
    print("the same, elsewhere")
"""

CALLS = {
    "joblib": """
from joblib import Parallel, delayed
with Parallel(n_jobs=2) as pool:
    check(lambda task, points: pool(delayed(task)(one) for one in points))
""",
    "dask": """
from distributed import Client
with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
    check(lambda task, points: client.gather(client.map(task, list(points), pure=False)))
""",
    "mpi": """
from mpi4py.futures import MPICommExecutor
with MPICommExecutor() as pool:
    if pool is not None:
        check(pool.map)
""",
}


def script(folder, kind):
    (folder / "slow_functions.py").write_text(MODULE)
    file = folder / "script.py"
    body = CALLS[kind].replace("\n", "\n    ")
    file.write_text(f"from slow_functions import check\nif __name__ == '__main__':{body}\n")
    return str(file)


def run(command, folder):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=folder, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "the same, elsewhere", done.stdout + done.stderr


@pytest.mark.parametrize("kind, package", [("joblib", "joblib"), ("dask", "distributed")])
def test_workers_of_joblib_and_dask(kind, package, tmp_path):
    pytest.importorskip(package)
    run([sys.executable, script(tmp_path, kind)], tmp_path)


def test_workers_of_mpi(tmp_path):
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    if mpiexec is None:
        pytest.skip("needs mpiexec beside this Python: pip install mpich")
    run([mpiexec, "-n", "3", sys.executable, "-m", "mpi4py", script(tmp_path, "mpi")], tmp_path)
