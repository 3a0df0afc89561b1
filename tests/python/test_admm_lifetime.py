"""admm_relu over time: Ctrl-C in every phase, exceptions, forks, threads, memory, references."""

import gc
import multiprocessing
import textwrap
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der, rosen_hess

from fastopt import admm_relu, admm_relu_path, cbo, sketch_newton

LIMIT = 0.5  # seconds from the signal to the exception

# Each defines `solve`, which is one long phase, or goes on until it is interrupted.
SOLVES = {
    "gates are sampled": """
        X = rng.standard_normal((100_000, 20))
        def solve():
            _cpu.sample_gates(X, 10**6, 1, 2)
        """,
    "patterns are computed": """
        X, H = rng.standard_normal((5000, 4000)), rng.standard_normal((5000, 4000))
        def solve():
            while True:
                _cpu.gate_patterns(X, H)
        """,
    "gates are opened for an adversary": """
        X = rng.standard_normal((3000, 40))
        def solve():
            admm_relu(X, X[:, 0], beta=1.0, gates=4000, robust_eps=1e-3)
        """,
    "beta_max, cone by cone": """
        X = rng.standard_normal((4000, 300))
        def solve():
            admm_relu(X, X[:, 0], beta_ratio=0.1, gates=200, method="conic")
        """,
    "a Gram matrix over columns": """
        X = rng.standard_normal((150_000, 20))
        def solve():
            admm_relu(X, X[:, 0], beta=1.0, gates=100, method="gated")
        """,
    "a Gram matrix over rows is factored": """
        X = rng.standard_normal((6000, 120))
        def solve():
            admm_relu(X, X[:, 0], beta=1.0, gates=100, method="gated")
        """,
    "a preconditioner": """
        X = rng.standard_normal((60_000, 400))
        H = rng.standard_normal((30, 400))
        program = _cpu.ReluProgram(X, _cpu.gate_patterns(X, H), X[:, :1].T.copy(), cone=False,
                                   signs=1)
        options = _cpu.AdmmOptions()
        options.max_dense = 3
        def solve():
            program.solve("splitting", 1e-3, "float64", options)
        """,
    "iterations, with Newton steps": """
        X, y = rng.standard_normal((1500, 30)), rng.standard_normal(1500)
        def solve():
            while True:
                admm_relu(X, y, beta=0.01, gates=100, gap_tol=1e-15, maxiter=10**9)
        """,
    "the published splitting": """
        X, y = rng.standard_normal((1500, 30)), rng.standard_normal(1500)
        def solve():
            admm_relu(X, y, beta=0.01, gates=100, method="admm", tol=1e-300, maxiter=10**9)
        """,
    "gates are generated": """
        X, y = rng.standard_normal((1500, 30)), rng.standard_normal(1500)
        def solve():
            while True:
                admm_relu(X, y, beta_ratio=0.03, gates="generate", gap_tol=1e-2)
        """,
    "gates are sought from many starts": """
        X = rng.standard_normal((50_000, 60))
        starts = rng.standard_normal((300, 60))
        def solve():
            while True:
                _cpu.ascend_gates(X, X[:, :1].T.copy(), starts, starts[:5])
        """,
    "a path": """
        X, y = rng.standard_normal((1000, 20)), rng.standard_normal(1000)
        def solve():
            while True:
                admm_relu_path(X, y, beta_ratios=np.logspace(0, -4, 40))
        """,
    "an estimator's fit": """
        from fastopt.sklearn import ConvexReLUClassifier
        X = rng.standard_normal((1500, 30))
        y = rng.integers(0, 4, 1500)
        def solve():
            ConvexReLUClassifier(beta=1e-5, tol=1e-15, max_iter=10**9).fit(X, y)
        """,
    "a callback that keeps the partial result": """
        X, y = rng.standard_normal((1500, 30)), rng.standard_normal(1500)
        def solve():
            while True:
                admm_relu(X, y, beta=0.01, gates=100, gap_tol=1e-15, maxiter=10**9, callback=keep)
        """,
    "a callback, gates are generated": """
        X, y = rng.standard_normal((1500, 30)), rng.standard_normal(1500)
        def solve():
            while True:
                admm_relu(X, y, beta_ratio=0.03, gates="generate", gap_tol=1e-2, callback=keep)
        """,
}

SCRIPT = """
import numpy as np
from fastopt import _cpu, admm_relu, admm_relu_path

rng = np.random.default_rng(0)
last = []

def keep(intermediate_result):
    last[:] = [intermediate_result]

{solve}

def works():
    if "keep" in {solve!r}:  # the network that the callback kept predicts, and is what it says
        kept, A = last[0], np.column_stack([X, np.ones(len(X))])
        f = kept.predict(X)
        squares = sum((w**2).sum() for w in (kept.W1, kept.b1, kept.W2))
        value = 0.5 * ((f - y) ** 2).sum() + 0.5 * kept.beta * squares
        assert np.isclose(value, kept.fun, rtol=1e-9) and kept.dual_fun <= kept.fun
    x = np.linspace(-1, 1, 50)[:, None]
    return admm_relu(x, np.abs(x[:, 0]), beta=1e-3, gates=10, rng=1).success
"""


@pytest.mark.slow_under_asan
@pytest.mark.parametrize("name", SOLVES)
def test_ctrl_c(name, interrupt):
    if "estimator" in name:
        pytest.importorskip("sklearn")
    code = textwrap.dedent(SOLVES[name])
    assert interrupt(SCRIPT.replace("{solve!r}", repr(code)).replace("{solve}", code)) < LIMIT


# ---- forks -------------------------------------------------------------------------------------

rng = np.random.default_rng(0)
X = rng.standard_normal((700, 12))
Y = np.maximum(X @ rng.standard_normal((12, 5)), 0) @ rng.standard_normal(5)

# Python warns where a process with threads forks; that is what these tests are about.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


OPTIONS = {"beta_ratio": 1e-2, "gates": 30, "rng": 1, "threads": 4, "maxiter": 100}


def solve(method="conic", **options):
    return admm_relu(X, Y, method=method, **{**OPTIONS, **options}).x.tobytes()


@forks
@pytest.mark.parametrize("method", ["conic", "admm", "gated", "scp"])
def test_fork(method, in_child):
    before = solve(method)
    assert in_child(lambda: solve(method)) == before
    assert in_child(lambda: in_child(lambda: solve(method))) == before
    assert solve(method) == before  # the parent's pool is as it was


@forks
def test_fork_inside_a_callback(in_child):
    expected, answers = solve(), []

    def callback(xk):
        if not answers:
            answers.append(in_child(solve))

    solve(callback=callback)
    assert answers == [expected]


@forks
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    expected = solve()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        for job in [pool.submit(admm_relu, X, Y, method="conic", **OPTIONS) for _ in range(3)]:
            assert job.result(timeout=60).x.tobytes() == expected


@forks
def test_estimators_in_workers():
    pytest.importorskip("sklearn")
    from sklearn.model_selection import cross_val_score

    from fastopt.sklearn import ConvexReLURegressor

    model = ConvexReLURegressor(gates=10, random_state=0)
    alone = cross_val_score(model, X, Y, cv=3)
    np.testing.assert_array_equal(cross_val_score(model, X, Y, cv=3, n_jobs=2), alone)


# ---- threads, solves inside solves -------------------------------------------------------------


def test_many_solves_in_threads_of_the_user(in_threads):
    assert in_threads(solve) == [solve()] * 6


@pytest.mark.parametrize("method", ["conic", "admm", "gated", "scp"])
def test_a_callback_that_calls_fastopt(method):
    """The other solvers too: they share the pool of threads."""
    box, plain, seen = [(-2.0, 2.0)] * 2, {"maxiter": 30}, []
    inner = (
        lambda: solve(method, **plain),
        lambda: cbo(rosen, box, rng=1, maxfev=200).x.tobytes(),
        lambda: sketch_newton(rosen, [0.0, 0.5], jac=rosen_der, hess=rosen_hess).x.tobytes(),
    )
    expected, outer = [one() for one in inner], solve(method, **plain)

    def callback(xk):
        if len(seen) < 2:
            seen.append([one() for one in inner])

    assert solve(method, callback=callback, **plain) == outer
    assert seen == [expected] * 2


# ---- exceptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LookupError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("method", ["conic", "admm", "gated", "scp", "generate", "path"])
def test_exceptions_of_the_callback_come_back_unchanged(method, at, kind):
    error, calls, few = kind("mine"), [], {"rng": 1, "maxiter": 8, "gap_tol": 1e-15}
    design, targets = X[:100, :3], Y[:100]

    def callback(xk):
        calls.append(1)
        if len(calls) == at:
            raise error

    def run(**listening):
        if method == "path":
            return admm_relu_path(design, targets, [3.0, 1.0], gates=10, **few, **listening).fun
        given = {"gates": "generate"} if method == "generate" else {"gates": 10, "method": method}
        return admm_relu(design, targets, beta=1.0, **given, **few, **listening).fun

    before = run()
    with pytest.raises(kind) as caught:
        run(callback=callback)
    assert caught.value is error and len(calls) == at
    assert "callback" in [frame.name for frame in caught.traceback]
    np.testing.assert_array_equal(run(), before)


# ---- memory and references ---------------------------------------------------------------------

LEAKS = """
import sys
import numpy as np
from fastopt import _cpu, admm_relu, admm_relu_path

rng = np.random.default_rng(0)
X = rng.standard_normal((150, 4))
y = np.maximum(X @ rng.standard_normal((4, 5)), 0) @ rng.standard_normal(5)
signs = np.where(y > np.median(y), 1.0, -1.0)

def run(targets=y, **options):
    given = {"beta_ratio": 1e-2, "gates": 20, "rng": 1, "maxiter": 40, "threads": 2}
    return admm_relu(X, targets, **{**given, **options})

def stopping(xk):
    raise StopIteration

def failing():
    calls = []
    def callback(xk):
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("on purpose")
    try:
        run(callback=callback, gap_tol=1e-15)
    except KeyError:
        return
    raise AssertionError

def refused():
    for changed in ({"beta_ratio": -1.0}, {"gates": np.ones((3, 2))}, {"warm_start": np.ones(3)}):
        try:
            run(**changed)
        except ValueError:
            continue
        raise AssertionError

def estimators():
    from fastopt.sklearn import ConvexReLUClassifier, ConvexReLURegressor
    ConvexReLUClassifier(gates=8, max_iter=20, random_state=0).fit(X, y > 1).predict(X)
    ConvexReLURegressor(gates=8, max_iter=20, random_state=0).fit(X, y).predict(X)

solves = {
    "conic": run,
    "float32": lambda: run(dtype="float32"),
    "conjugate gradients": lambda: iterative(),
    "admm": lambda: run(method="admm"),
    "gated": lambda: run(method="gated"),
    "scp": lambda: run(method="scp"),
    "logistic": lambda: run(signs, loss="logistic"),
    "robust": lambda: run(signs, loss="hinge", robust_eps=0.01),
    "many outputs": lambda: run(np.column_stack([y, -y, y**2])),
    "generate": lambda: run(gates="generate", beta_ratio=0.7, gap_tol=0.1),
    "path": lambda: admm_relu_path(X, y, beta_ratios=[1, 0.1, 0.01], gates=10, rng=1, maxiter=40),
    "warm start": lambda: run(warm_start=run(gates=5)),
    "callback and history": lambda: run(callback=lambda xk: None, record_history=True),
    "stopped": lambda: run(callback=stopping),
    "exceptions": failing,
    "bad input": refused,
    "estimators": estimators,
}

H = rng.standard_normal((6, 4))
def iterative():
    program = _cpu.ReluProgram(X, _cpu.gate_patterns(X, H), y[None].copy())
    options = _cpu.AdmmOptions()
    options.max_dense, options.maxiter = 3, 20
    program.solve("splitting", 1.0, "float64", options)

solve = solves[sys.argv[1]]
"""
LEAK_NAMES = [
    "conic", "float32", "conjugate gradients", "admm", "gated", "scp", "logistic", "robust",
    "many outputs", "generate", "path", "warm start", "callback and history", "stopped",
    "exceptions", "bad input", "estimators",
]  # fmt: skip


@pytest.mark.slow_under_asan
@pytest.mark.parametrize("name", LEAK_NAMES)
def test_memory_stays(name, memory_stays):
    if name == "estimators":
        pytest.importorskip("sklearn")
    memory_stays(LEAKS, name)


@pytest.mark.parametrize("method", ["conic", "admm", "gated", "generate", "path"])
@pytest.mark.parametrize("end", ["well", "callback raises", "callback stops"])
def test_references_are_given_back(method, end, referenced, counts):
    calls = []

    def answer(*_):
        calls.append(1)
        if end == "callback raises" and len(calls) % 4 == 0:
            raise LookupError("on purpose")
        return end == "callback stops" and len(calls) % 4 == 0

    callback = referenced(answer)
    design, targets, weights = X[:100, :3].copy(), Y[:100].copy(), np.ones(100)
    gates = rng.standard_normal((10, 4))
    options = {"sample_weight": weights, "callback": callback, "maxiter": 10, "gap_tol": 1e-15}

    def run():
        try:
            if method == "path":
                return admm_relu_path(design, targets, [3.0, 1.0], gates=gates, **options)
            if method == "generate":
                return admm_relu(design, targets, beta=1.0, gates="generate", rng=1, **options)
            return admm_relu(design, targets, beta=1.0, gates=gates, method=method, **options)
        except LookupError:
            return None

    run()
    held = callback, answer, design, targets, weights, gates
    before = counts(*held)
    for _ in range(5):
        run()
    assert counts(*held) == before
    assert len(calls) > 5


def test_results_outlive_the_engine_and_are_their_own():
    kept = []
    keep = lambda intermediate_result: kept.append(intermediate_result)  # noqa: E731
    result = admm_relu(X, Y, beta=1.0, gates=10, rng=1, maxiter=30, callback=keep)
    copies = [(one.x.copy(), one.W1.copy()) for one in kept]
    theta, gates = result.theta.copy(), result.gates.copy()
    for seed in range(5):
        admm_relu(X, Y, beta=1.0, gates=10, rng=seed, maxiter=30)
    gc.collect()
    for one, (x, W1) in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(one.x, x)
        np.testing.assert_array_equal(one.W1, W1)
    np.testing.assert_array_equal(result.theta, theta)
    np.testing.assert_array_equal(result.gates, gates)
    result.x[:] = 0  # and writable


def test_the_given_arrays_are_not_changed():
    design, targets, weights = X.copy(), Y.copy(), np.full(len(Y), 2.0)
    gates = rng.standard_normal((8, 13))
    before = [one.tobytes() for one in (design, targets, weights, gates)]
    for method in ("conic", "admm", "gated", "scp"):
        admm_relu(design, targets, beta=1.0, gates=gates, sample_weight=weights, method=method,
                  standardize=True, maxiter=5)  # fmt: skip
    assert [one.tobytes() for one in (design, targets, weights, gates)] == before
