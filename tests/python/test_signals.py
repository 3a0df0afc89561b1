"""Ctrl-C: KeyboardInterrupt within half a second, whatever runs, and the library works after it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest

LIMIT = 0.5  # seconds from the signal to the exception, as specified

# Each script defines `solve`, which runs for much longer than the test.
SOLVES = {
    "native loop": """
        problem = problems.rastrigin(100)
        def solve():
            cbo(problem, problem.bounds, dynamics="anisotropic", n_particles=10_000, maxtime=60,
                tol=0, rng=1)
        """,
    "native loop in one thread": """
        problem = problems.rastrigin(100)
        def solve():
            cbo(problem, problem.bounds, dynamics="anisotropic", n_particles=10_000, maxtime=60,
                tol=0, rng=1, threads=1)
        """,
    "native hybrid": """
        problem = problems.rastrigin(20)
        def solve():
            cbo(problem, problem.bounds, maxfev=10**9, tol=0, rng=1)
        """,
    "native polarized": """
        problem = problems.rastrigin(50)
        def solve():
            cbo(problem, problem.bounds, dynamics="polarized", n_particles=5000, maxtime=60, tol=0,
                rng=1)
        """,
    "Python objective": """
        def objective(x):
            return sum(abs(one) ** 1.5 for one in x)
        def solve():
            cbo(objective, [(-1, 2)] * 10, maxfev=10**9, tol=0, rng=1)
        """,
    "Python objective that sleeps": """
        def objective(x):
            time.sleep(0.05)
            return float(x @ x)
        def solve():
            cbo(objective, [(-1, 2)] * 10, maxfev=10**9, tol=0, rng=1)
        """,
    "vectorized objective": """
        def objective(x):
            return np.abs(x).sum(axis=0)
        def solve():
            cbo(objective, [(-1, 2)] * 50, dynamics="memory", n_particles=2000, vectorized=True,
                maxtime=60, tol=0, rng=1)
        """,
    "callback": """
        problem = problems.rastrigin(5)
        def solve():
            cbo(problem, problem.bounds, maxfev=10**9, tol=0, callback=lambda xk: None, rng=1)
        """,
    "many runs": """
        problem = problems.rastrigin(10)
        def solve():
            cbo(problem, problem.bounds, maxfev=10**7, tol=0, runs=50, threads=1, rng=1)
        """,
    "many runs side by side": """
        problem = problems.rastrigin(10)
        def solve():
            cbo(problem, problem.bounds, maxfev=10**7, tol=0, runs=50, threads=2, rng=1)
        """,
    "worker processes": """
        from scipy.optimize import rosen
        def solve():
            cbo(rosen, [(-2, 2)] * 4, maxfev=10**9, tol=0, workers=2, rng=1)
        """,
    "compiled objective": """
        objective = compiled("double f(int n, double *x) { return slow(n, x, 300000); }")
        def solve():
            cbo(objective, [(-1, 2)] * 10, maxfev=10**9, tol=0, rng=1)
        """,
    "compiled objective, many particles": """
        objective = compiled("double f(int n, double *x) { return slow(n, x, 3000000); }")
        def solve():
            cbo(objective, [(-1, 2)] * 10, dynamics="anisotropic", n_particles=1000, maxtime=60,
                tol=0, rng=1)
        """,
}

SCRIPT = """
import ctypes, signal, subprocess, sys, tempfile, threading, time
from pathlib import Path
import numpy as np
from fastopt import cbo, problems

SLOW = '''
static double slow(int n, double *x, int turns) {{
    double s = 0;
    for (int i = 0; i < turns; ++i) s += x[i % n] * x[i % n] / (1.0 + i);
    return s;
}}
'''

def compiled(code):
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
    (folder / "f.c").write_text(SLOW + code)
    library = folder / "f.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, folder / "f.c"], check=True)
    f = ctypes.CDLL(str(library)).f
    f.restype = ctypes.c_double
    f.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_double)]
    return f

{solve}

if __name__ == "__main__":
    def say(word):
        print(word, flush=True)

    threading.Timer(0.6, say, ["running"]).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        solve()
    except KeyboardInterrupt:
        say("interrupted")
    else:
        say("ended without an interrupt")
    problem = problems.sphere(3)
    again = cbo(problem, problem.bounds, rng=1)
    say("usable" if again.success and again.fun < 1e-9 else "broken")
"""


@pytest.mark.slow_under_asan
@pytest.mark.parametrize("name", SOLVES)
def test_ctrl_c(name, tmp_path):
    if "compiled" in name and shutil.which("cc") is None:
        pytest.skip("no C compiler here to make a compiled objective with")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(solve=textwrap.dedent(SOLVES[name])))
    errors = tmp_path / "errors"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout.readline() == "running\n", errors.read_text()
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it too
        answer = process.stdout.readline()
        waited = time.monotonic() - started
        rest = process.stdout.read()
        code = process.wait(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()
    assert answer == "interrupted\n", errors.read_text()
    assert waited < LIMIT
    assert (rest, code) == ("usable\n", 0), errors.read_text()


def test_another_handler_is_called_and_the_run_goes_on(fresh_python):
    """A handler that raises nothing interrupts nothing."""
    out = fresh_python("""
        import os, signal, threading
        from fastopt import cbo, problems
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGUSR1]).start()
        problem = problems.rastrigin(20)
        result = cbo(problem, problem.bounds, maxtime=1.0, maxfev=10**9, tol=0, rng=1)
        print(len(seen), result.status)
    """)
    assert out == "1 1"


def test_an_exception_of_a_handler_comes_back(fresh_python):
    out = fresh_python("""
        import os, signal, threading
        from fastopt import cbo, problems
        def alarm(*_):
            raise TimeoutError("from the handler")
        signal.signal(signal.SIGALRM, alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        problem = problems.rastrigin(20)
        try:
            cbo(problem, problem.bounds, maxtime=30, maxfev=10**9, tol=0, rng=1)
        except TimeoutError as error:
            print(error)
    """)
    assert out == "from the handler"
