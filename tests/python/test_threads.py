"""Several solves at once, solves inside solves, and the GIL free while native code runs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastopt import cbo, problems

PLAIN = {"dynamics": "anisotropic", "n_particles": 800, "maxiter": 15, "polish": False}


def native(seed):
    problem = problems.rastrigin(30)
    return cbo(problem, problem.bounds, rng=seed, threads=2, **PLAIN)


def native_hybrid(seed):
    problem = problems.levy(5)
    return cbo(problem, problem.bounds, rng=seed, maxfev=3000)


def python(seed):
    def objective(x):
        return float(((x - 0.1 * seed) ** 2).sum())

    return cbo(objective, [(-1, 2)] * 3, rng=seed, maxfev=400)


def vectorized(seed):
    def objective(x):
        return ((x - 0.1 * seed) ** 2).sum(axis=0)

    return cbo(objective, [(-1, 2)] * 20, rng=seed, vectorized=True, **PLAIN)


@pytest.mark.parametrize("solve", [native, native_hybrid, python, vectorized])
def test_many_threads_at_once(solve):
    alone = [solve(seed).x.tobytes() for seed in range(6)]
    for _ in range(3):
        with ThreadPoolExecutor(6) as pool:
            together = [one.x.tobytes() for one in pool.map(solve, range(6))]
        assert together == alone


def test_different_solves_at_once():
    kinds = [native, native_hybrid, python, vectorized] * 2
    alone = [solve(k).x.tobytes() for k, solve in enumerate(kinds)]
    with ThreadPoolExecutor(len(kinds)) as pool:
        jobs = [pool.submit(solve, k) for k, solve in enumerate(kinds)]
        assert [job.result().x.tobytes() for job in jobs] == alone


def test_an_error_in_one_thread_is_that_threads_own():
    def broken(x):
        raise KeyError("only mine")

    expected = native(1).x.tobytes()
    with ThreadPoolExecutor(4) as pool:
        wrong = [pool.submit(cbo, broken, [(0, 1)] * 3, rng=1) for _ in range(3)]
        right = pool.submit(native, 1)
        for job in wrong:
            with pytest.raises(KeyError, match="only mine"):
                job.result()
        assert right.result().x.tobytes() == expected


@pytest.mark.parametrize("inner", [native_hybrid, python, native])
def test_an_objective_that_calls_fastopt(inner):
    expected = inner(1).fun
    seen = []

    def objective(x):
        if len(seen) < 3:
            seen.append(inner(1).fun)
        return float((x**2).sum())

    def plain(x):
        return float((x**2).sum())

    outer = cbo(objective, [(-1, 2)] * 2, rng=3, maxfev=300)
    assert seen == [expected] * 3
    assert outer.x.tobytes() == cbo(plain, [(-1, 2)] * 2, rng=3, maxfev=300).x.tobytes()


def test_a_callback_that_calls_fastopt():
    expected = native(1).x.tobytes()
    seen = []

    def callback(xk):
        if len(seen) < 3:
            seen.append(native(1).x.tobytes())

    problem = problems.rastrigin(10)
    cbo(problem, problem.bounds, rng=1, callback=callback, **PLAIN)
    assert seen == [expected] * 3


def ticks(function):
    """How often another Python thread wakes in a second while function() runs."""
    count, stop = 0, threading.Event()

    def tick():
        nonlocal count
        while not stop.is_set():
            time.sleep(0.002)
            count += 1

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    try:
        function()
    finally:
        spent = time.monotonic() - started
        stop.set()
        thread.join()
    return count / spent


@pytest.mark.slow_under_asan
@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
def test_the_gil_is_free_while_native_code_runs(dynamics):
    problem = problems.rastrigin(30)
    options = {"dynamics": dynamics, "maxtime": 1.0, "tol": 0.0, "threads": 1, "rng": 1}
    if dynamics != "hybrid":
        options |= {"n_particles": 5000, "polish": False}
    for _ in range(8):  # a busy machine slows both counts, perhaps not evenly
        idle = ticks(lambda: time.sleep(1.0))
        busy = ticks(lambda: cbo(problem, problem.bounds, **options))
        if busy > 0.5 * idle:
            return
    # With the GIL held it would be a few ticks in all.
    pytest.fail(f"{busy:.0f} ticks a second during the solve, {idle:.0f} without")


def test_results_of_threads_belong_to_their_callers():
    results = []
    workers = [threading.Thread(target=lambda: results.append(native(5))) for _ in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    populations = [one.population for one in results]
    before = populations[1].copy()
    populations[0][:] = 0
    assert np.array_equal(populations[1], before)
