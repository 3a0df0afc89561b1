"""Ctrl-C: KeyboardInterrupt within half a second, whatever runs, and the library works after it."""

import shutil
import textwrap

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
    "worker processes, within a long call": """
        def objective(x):
            time.sleep(30)
            return 0.0
        def solve():
            cbo(objective, [(-2, 2)] * 4, maxfev=10**9, tol=0, workers=2, rng=1)
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
import ctypes, subprocess, sys, tempfile, time
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

def works():
    problem = problems.sphere(3)
    again = cbo(problem, problem.bounds, rng=1)
    return again.success and again.fun < 1e-9
"""


@pytest.mark.slow_under_asan
@pytest.mark.parametrize("name", SOLVES)
def test_ctrl_c(name, interrupt):
    if "compiled" in name and shutil.which("cc") is None:
        pytest.skip("no C compiler here to make a compiled objective with")
    assert interrupt(SCRIPT.format(solve=textwrap.dedent(SOLVES[name]))) < LIMIT


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
