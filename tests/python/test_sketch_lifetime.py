"""sketch_newton, sketches and lstsq over time: Ctrl-C, forks, threads, memory, references."""

import gc
import importlib
import multiprocessing
import os
import signal
import textwrap
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import LinearConstraint, rosen, rosen_der, rosen_hess

from fastopt import SketchOperator, lstsq, sketch, sketch_newton
from fastopt.problems import GLM, WeightedGram

LIMIT = 0.5  # seconds from the signal to the exception

# Each defines `solve`, which goes on until it is interrupted.
SOLVES = {
    "Kaczmarz, one long linear solve": """
        def solve():
            newton(linear_solver="kaczmarz", tol=1e-15, maxiter=10**9)
        """,
    "blocks": """
        def solve():
            newton(linear_solver="block", tol=1e-15, maxiter=10**9)
        """,
    "adasketch": """
        def solve():
            while True:
                newton(linear_solver="adasketch", tol=1e-15, maxiter=10**9)
        """,
    "ldl of a large matrix, again and again": """
        n = 900
        Q = np.eye(n) + np.ones((n, n))
        def solve():
            while True:
                sketch_newton(lambda x: x @ Q @ x / 2 - x.sum(), np.zeros(n),
                              jac=lambda x: Q @ x - 1, hess=lambda x: Q, tol=1e-300, maxiter=10**9)
        """,
    "sketch-pcg of a tall matrix": """
        A = rng.standard_normal((60_000, 100))
        y = np.sign(A[:, 0] + rng.logistic(size=60_000))
        def solve():
            while True:
                sketch_newton(GLM(A, y, l2=1e-9), np.zeros(100), linear_solver="sketch-pcg",
                              tol=1e-14)
        """,
    "minres by Python products": """
        H = np.diag(np.logspace(0, 12, 300))
        def solve():
            while True:
                sketch_newton(lambda x: x @ H @ x / 2 - x.sum(), np.zeros(300),
                              jac=lambda x: H @ x - 1, hessp=lambda x, p: H @ p,
                              linear_solver="minres", tol=1e-300, maxiter=10**9)
        """,
    "Python objective": """
        def slow(x):
            return sum(one * one for one in x for _ in range(1000))
        def solve():
            while True:
                sketch_newton(slow, np.ones(200))
        """,
    "Python objective that sleeps": """
        def slow(x):
            time.sleep(0.05)
            return float(x @ x)
        def solve():
            while True:
                sketch_newton(slow, np.ones(30))
        """,
    "callback": """
        def solve():
            while True:
                sketch_newton(rosen, np.zeros(5), jac=rosen_der, hess=rosen_hess,
                              callback=lambda xk: None)
        """,
    "a Gaussian sketch": """
        A = rng.standard_normal((40_000, 300))
        def solve():
            while True:
                sketch(A, 8000, "gaussian")
        """,
    "an SRHT": """
        A = rng.standard_normal((100_000, 64))
        def solve():
            while True:
                sketch(A, 300, "srht")
        """,
    "lstsq": """
        A = rng.standard_normal((100_000, 60))
        b = rng.standard_normal(100_000)
        def solve():
            while True:
                lstsq(A, b)
        """,
}

SCRIPT = """
import time
import numpy as np
from scipy.optimize import LinearConstraint, rosen, rosen_der, rosen_hess
from fastopt import lstsq, sketch, sketch_newton
from fastopt.problems import GLM

rng = np.random.default_rng(0)

def newton(**options):
    A = rng.standard_normal((500, 30)) * np.logspace(0, -4, 30)
    y = np.sign(A[:, 0] + rng.logistic(size=500))
    plane = LinearConstraint(np.ones((1, 30)), 0, 0)
    return sketch_newton(GLM(A, y, l2=1e-8), np.zeros(30), constraints=plane, **options)

{solve}

def works():
    again = sketch_newton(rosen, [0.0, 0.5], jac=rosen_der, hess=rosen_hess)
    return again.success and again.fun < 1e-12
"""


@pytest.mark.slow_under_asan
@pytest.mark.parametrize("name", SOLVES)
def test_ctrl_c(name, interrupt):
    assert interrupt(SCRIPT.format(solve=textwrap.dedent(SOLVES[name]))) < LIMIT


def test_an_interrupt_within_one_native_solve():
    """The signal is sent from the callback, so that the run is on, and must end that run."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((200, 20)) * np.logspace(0, -6, 20)
    y = np.sign(A[:, 0] + rng.logistic(size=200))
    seen = []

    def callback(xk):
        if not seen:  # while the main thread is back in native code
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        seen.append(time.monotonic())

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in range(10**6):
                sketch_newton(
                    GLM(A, y, l2=1e-10),
                    np.zeros(20),
                    linear_solver="kaczmarz",
                    tol=1e-15,
                    maxiter=10**9,
                    callback=callback,
                )
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen


# ---- forks -------------------------------------------------------------------------------------


def logistic(rows=4000, n=70, threads=4):
    rng = np.random.default_rng(1)
    A = rng.standard_normal((rows, n))
    y = np.sign(A[:, 0] + rng.logistic(size=rows))
    return GLM(A, y, l2=1e-3, threads=threads)


def solve(linear_solver="sketch-pcg", threads=4):
    model = logistic(threads=threads)
    plane = LinearConstraint(np.ones((1, model.n)), 0, 0)
    result = sketch_newton(
        model, np.zeros(model.n), constraints=plane, linear_solver=linear_solver, threads=threads
    )
    assert result.success
    return result.x.tobytes()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("linear_solver", ["sketch-pcg", "ldl"])
def test_fork(linear_solver, in_child):
    before = solve(linear_solver)
    assert in_child(lambda: solve(linear_solver)) == before
    assert in_child(lambda: in_child(lambda: solve(linear_solver))) == before
    assert solve(linear_solver) == before


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    expected = solve()
    again = importlib.import_module(Path(__file__).stem)  # by a name that the workers find too
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        for job in [pool.submit(again.solve) for _ in range(3)]:
            assert job.result(timeout=60) == expected


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_inside_a_callback(in_child):
    expected, answers = solve(), []

    def callback(xk):
        if not answers:
            answers.append(in_child(solve))

    result = sketch_newton(rosen, [0.0, 0.5], jac=rosen_der, hess=rosen_hess, callback=callback)
    assert result.success and answers == [expected]


# ---- threads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("linear_solver", ["ldl", "sketch-pcg", "nystrom-pcg", "minres", "block"])
def test_bits_do_not_depend_on_threads(linear_solver):
    rng = np.random.default_rng(2)
    A = rng.standard_normal((3000, 40))
    y = np.sign(A[:, 0] + rng.logistic(size=3000))
    for data in (A, sp.csr_array(np.where(np.abs(A) > 1, A, 0))):
        answers = set()
        for threads in (1, 2, 3, 8):
            result = sketch_newton(
                GLM(data, y, l2=1e-2, threads=threads),
                np.zeros(40),
                constraints=LinearConstraint(np.ones((1, 40)), 0, 0),
                linear_solver=linear_solver,
                threads=threads,
                tol=1e-4,
                maxiter=10,
            )
            answers.add((result.x.tobytes(), result.nit, result.inner_iterations))
        assert len(answers) == 1


def test_many_solves_in_threads_of_the_user(in_threads):
    assert in_threads(solve) == [solve()] * 6


# ---- memory and references ---------------------------------------------------------------------

LEAKS = """
import sys
import numpy as np, scipy.sparse as sp
from scipy.optimize import LinearConstraint, rosen, rosen_der, rosen_hess
from fastopt import SketchOperator, lstsq, sketch, sketch_newton
from fastopt.problems import GLM, WeightedGram

rng = np.random.default_rng(0)
A = rng.standard_normal((2000, 40))
S = sp.csr_array(np.where(np.abs(A) > 1, A, 0))
y = np.sign(A[:, 0] + rng.logistic(size=2000))
b = rng.standard_normal(2000)
plane = LinearConstraint(np.ones((1, 40)), 0, 0)
twice = LinearConstraint(np.ones((2, 3)), [0, 1], [0, 1])

def glm(data, **options):
    sketch_newton(GLM(data, y, l2=1e-2), np.zeros(40), constraints=plane, **options)

def failing(solver):
    def hessp(x, p):
        calls.append(1)
        if len(calls) % 7 == 0:
            raise KeyError("on purpose")
        return rosen_hess(x) @ p
    try:
        sketch_newton(rosen, [0.0, 0.5, 1], jac=rosen_der, hessp=hessp, linear_solver=solver)
    except KeyError:
        calls.clear()

def stopping(xk):
    raise StopIteration

calls = []
exact = dict(jac=rosen_der, hess=rosen_hess)
solves = {
    "dense": lambda: sketch_newton(rosen, [0.0, 0.5, 1], record_history=True, **exact),
    "infeasible": lambda: sketch_newton(rosen, [0.0, 0.5, 1], constraints=twice, **exact),
    "ldl": lambda: glm(A, linear_solver="ldl"),
    "sketch-pcg": lambda: glm(A, linear_solver="sketch-pcg", threads=2),
    "csr": lambda: glm(S, linear_solver="sketch-pcg"),
    "nystrom": lambda: glm(A, linear_solver="nystrom-pcg"),
    "products": lambda: failing("minres"),
    "stopped": lambda: sketch_newton(rosen, [0.0, 0.5, 1], callback=stopping, **exact),
    "differences": lambda: sketch_newton(rosen, [0.0, 0.5, 1], jac="3-point"),
    "sketch": lambda: [sketch(M, 200, kind) for M in (A, S) for kind in ("sjlt", "srht", "less")],
    "operator": lambda: SketchOperator(50, 2000).T @ np.ones(50),
    "lstsq": lambda: lstsq(A, b),
    "gram": lambda: WeightedGram(A, np.ones(2000), 1.0) @ np.ones(40),
}
solve = solves[sys.argv[1]]
"""
LEAK_NAMES = [
    "dense", "infeasible", "ldl", "sketch-pcg", "csr", "nystrom", "products", "stopped",
    "differences", "sketch", "operator", "lstsq", "gram",
]  # fmt: skip


@pytest.mark.slow_under_asan
@pytest.mark.parametrize("name", LEAK_NAMES)
def test_memory_stays(name, memory_stays):
    memory_stays(LEAKS, name)


@pytest.mark.parametrize(
    "end", ["well", "fun raises", "jac raises", "hess raises", "c raises", "callback stops"]
)
@pytest.mark.parametrize("form", ["hess", "hessp", "gram"])
def test_references_are_given_back(form, end, referenced, counts):
    A = np.vstack([np.eye(3), np.ones((1, 3))])
    weights = np.ones(4)
    calls = []

    def fails(answer):
        def function(*args):
            calls.append(1)
            if len(calls) % 5 == 0:
                raise LookupError("on purpose")
            return answer(*args)

        return function

    jac, hess = lambda x, _: rosen_der(x), lambda x, _: rosen_hess(x)
    hessp = None
    if form == "gram":
        hess = lambda x, _: WeightedGram(A, weights, 100.0)  # noqa: E731
    elif form == "hessp":
        hess, hessp = None, referenced(lambda x, p, _: rosen_hess(x) @ p)
    jac = referenced(fails(jac) if end == "jac raises" else jac)
    if hess is not None:
        hess = referenced(fails(hess) if end == "hess raises" else hess)
    thing = object()
    value, hyperplane = lambda x, *_: rosen(x), lambda x: x.sum() - 1
    fun = referenced(fails(value) if end == "fun raises" else value)
    c = referenced(fails(hyperplane) if end == "c raises" else hyperplane)
    cjac = referenced(lambda x: np.ones((1, 3)))
    callback = referenced(lambda xk: end == "callback stops")

    def run():
        try:
            return sketch_newton(
                fun,
                [0.1, 0.2, 0.3],
                (thing,),
                jac=jac,
                hess=hess,
                hessp=hessp,
                constraints={"type": "eq", "fun": c, "jac": cjac},
                callback=callback,
                maxiter=20,
            )
        except LookupError:
            return None

    run()
    held = fun, thing, jac, hess, hessp, c, cjac, callback, A, weights
    held = [thing for thing in held if thing is not None]
    before = counts(*held)
    for _ in range(5):
        run()
    assert counts(*held) == before
    assert bool(calls) == ("raises" in end and not (form == "hessp" and end == "hess raises"))


def test_references_to_data(counts):
    A, b = np.random.default_rng(0).standard_normal((200, 4)), np.ones(200)
    scale = np.ones(200)
    before = counts(A, b, scale)
    for _ in range(3):
        lstsq(A, b)
        sketch(A, 20, scale=scale)
        SketchOperator(10, 200) @ A
        GLM(A, b, "gaussian").hess(np.zeros(4)) @ np.ones(4)
    assert counts(A, b, scale) == before


def test_data_outlive_their_names():
    """A GLM and a Hessian keep what they lie on."""
    A = np.random.default_rng(0).standard_normal((300, 5))
    expected = A.T @ A
    gram = GLM(A.copy(), np.ones(300), "gaussian", reduction="sum").hess(np.zeros(5))
    gc.collect()
    np.zeros((300, 5))  # a chance to overwrite what was freed
    np.testing.assert_allclose(gram.toarray(), expected, rtol=1e-12)


def test_arrays_shown_to_the_user_stay_as_they_are():
    kept = []

    def fun(x):
        kept.append((x, x.copy()))
        return rosen(x)

    sketch_newton(fun, [0.0, 0.5], jac=rosen_der, hess=rosen_hess,
                  callback=lambda xk: kept.append((xk, xk.copy())))  # fmt: skip
    assert all(np.array_equal(x, then) for x, then in kept)
