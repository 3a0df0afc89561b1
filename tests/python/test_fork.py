"""After a fork the library works in the child: threads do not survive it, locks may be held."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from fastopt import cbo, problems

# Python warns where a process with threads forks; that is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

PROBLEM = problems.rastrigin(30)
OPTIONS = {"dynamics": "anisotropic", "n_particles": 3000, "maxiter": 10, "rng": 1, "threads": 4}


def solve():
    return cbo(PROBLEM, PROBLEM.bounds, **OPTIONS).x.tobytes()


def solve_python():
    return cbo(lambda x: float((x**2).sum()), [(-1, 2)] * 4, maxfev=500, rng=2).x.tobytes()


def test_run_fork_run(in_child):
    before = solve()
    assert in_child(solve) == before
    assert solve() == before  # the parent's pool is as it was


def test_a_child_of_a_child(in_child):
    before = solve()
    assert in_child(lambda: in_child(solve)) == before


def test_many_children(in_child):
    before = solve()
    for _ in range(10):
        assert in_child(solve) == before


def test_python_objective_in_the_child(in_child):
    before = solve_python()
    assert in_child(solve_python) == before


def test_fork_in_the_objective(in_child):
    """A fork while the solver runs, and a solve in the child of it."""
    expected, answers = solve(), []

    def objective(x):
        if not answers:
            answers.append(in_child(solve))
        return (x**2).sum(axis=0)

    result = cbo(objective, [(-1, 2)] * 3, vectorized=True, maxfev=400, rng=1)
    assert answers == [expected]
    assert result.fun < 1e-6


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    expected = solve()
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        jobs = [pool.submit(cbo, PROBLEM, PROBLEM.bounds, **OPTIONS) for _ in range(4)]
        for job in jobs:
            assert job.result(timeout=60).x.tobytes() == expected


def test_loky():
    joblib = pytest.importorskip("joblib")
    expected = solve()
    jobs = [joblib.delayed(cbo)(PROBLEM, PROBLEM.bounds, **OPTIONS) for _ in range(3)]
    results = joblib.Parallel(n_jobs=2)(jobs)
    assert [one.x.tobytes() for one in results] == [expected] * 3


def rosenbrock(x):
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def test_workers_forked_from_a_process_that_has_threads():
    solve()  # the pool's threads exist now
    options = {"maxfev": 300, "rng": 4}
    alone = cbo(rosenbrock, [(-2, 2)] * 3, **options)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        shared = cbo(rosenbrock, [(-2, 2)] * 3, workers=pool.map, **options)
    assert shared.x.tobytes() == alone.x.tobytes()
