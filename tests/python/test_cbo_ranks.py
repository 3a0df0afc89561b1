"""cbo on several ranks: the bytes of a run on one, whatever the dynamics, and one end for all."""

import resource
import sys
import time

import launched_ranks as launched
import numpy as np
import pytest
from launched_ranks import KINDS, Launch, require
from scipy.optimize import NonlinearConstraint, OptimizeResult
from thread_ranks import on_ranks, results_of

from fastopt import cbo, distributed, problems
from fastopt.distributed import RankError

BOX = [(-3.0, 4.0)] * 4
WIDE = [(-3.0, 4.0)] * 300  # blocks of 64 particles: 640 are divided among up to 4 ranks
WIDE_PARTICLES = 640


def bumpy(x):
    return float(np.sum((x - 0.5) ** 2 - np.cos(3 * x)))


def bumpy_columns(x):
    return np.sum((x - 0.5) ** 2 - np.cos(3 * x), axis=0)


def slope(x):
    return 2 * (x - 0.5) + 3 * np.sin(3 * x)


DISC = NonlinearConstraint(lambda x: np.sum(x[:2] ** 2, axis=0), 0.0, 1.0)


def assert_same(ranks, alone):
    """Every rank has the result of one process; the populations' rows make up all of them."""
    rows = ("population", "population_energies", "weights", "population_rows")
    for result in ranks:
        assert set(result) == set(alone) | {"population_rows"}
        for name in set(alone) - set(rows):
            assert_equal_bytes(result[name], alone[name], name)
    ends = [int(row) for result in ranks for row in result.population_rows]
    assert ends[0] == 0 and ends[1:-1:2] == ends[2::2] and ends[-1] == len(alone.population)
    for name in set(rows[:3]) & set(alone):
        whole = np.concatenate([result[name] for result in ranks])
        assert_equal_bytes(whole, alone[name], name)


def assert_equal_bytes(mine, other, name):
    if isinstance(other, dict):
        assert mine.keys() == other.keys(), name
        for key in other:
            assert_equal_bytes(mine[key], other[key], f"{name}.{key}")
    elif isinstance(other, list) and not isinstance(other[0], (str, bytes)):
        for one, two in zip(mine, other, strict=True):
            assert_equal_bytes(one, two, name)
    elif isinstance(other, (np.ndarray, float)):
        mine, other = np.asarray(mine), np.asarray(other)
        assert mine.dtype == other.dtype and mine.tobytes() == other.tobytes(), name
    else:
        assert mine == other, name


DYNAMICS = {
    "hybrid": {"maxfev": 700},
    "hybrid constrained": {"maxfev": 400, "constraints": DISC},
    "hybrid integers": {"maxfev": 400, "integrality": [True, False, False, True]},
    "hybrid x0": {"maxfev": 300, "x0": [1.0, 2.0, 3.0, 0.0]},
    "anisotropic": {"dynamics": "anisotropic"},
    "isotropic": {"dynamics": "isotropic", "truncation": 0.7},
    "memory": {"dynamics": "memory", "memory_diffusion": 0.1},
    "memory constrained": {"dynamics": "memory", "constraints": DISC, "vectorized": True},
    "memory schedule": {"dynamics": "memory", "alpha": [1.0, 10.0, 100.0]},
    "constrained": {"dynamics": "anisotropic", "constraints": DISC, "vectorized": True},
    "integers": {"dynamics": "anisotropic", "integrality": True},
    "x0": {"dynamics": "isotropic", "x0": 1.5},
    "clip": {"dynamics": "anisotropic", "diffusion": 3.0, "boundary": "clip"},
    "sobol": {"dynamics": "anisotropic", "init": "sobol"},
    "random": {"dynamics": "anisotropic", "init": "random", "alpha": 30.0, "alpha_factor": 1.1},
    "hopping": {"dynamics": "hopping"},
    "gradient": {"dynamics": "anisotropic", "gradient": slope, "vectorized": True},
    "agreement": {"dynamics": "memory", "tol": 1e-3, "maxiter": 1000},
    "target": {"dynamics": "anisotropic", "f_target": 1.0, "maxiter": 1000},
    "restarts": {"dynamics": "anisotropic", "restarts": 1},
    "runs": {"dynamics": "hopping", "runs": 2},
}
# Where every rank holds all particles, and the narrow box is enough.
WHOLE = {
    "sampling": {"dynamics": "sampling"},
    "samples": {"dynamics": "sampling", "samples": True},
    "polarized": {"dynamics": "polarized"},
    "clusters": {"dynamics": "polarized", "n_minimizers": 2},
    "covariance": {"dynamics": "anisotropic", "noise": "covariance"},
    "batches": {"dynamics": "anisotropic", "batch_size": 30, "gradient": slope},
    "full batches": {"dynamics": "isotropic", "batch_size": 30, "batch_mode": "full"},
}


def settings(options, wide):
    """(func, bounds, options) of a case."""
    chosen = {"rng": 7, "record_history": True, **options}
    if chosen.get("dynamics", "hybrid") != "hybrid":
        chosen.setdefault("maxiter", 12)
        chosen["polish"] = False if wide else chosen.get("polish", True)
        chosen.setdefault("n_particles", WIDE_PARTICLES if wide else 101)
    box = WIDE if wide else BOX
    if chosen.get("x0") == 1.5:
        chosen["x0"] = np.full(len(box), 1.5)
    return (bumpy_columns if chosen.get("vectorized") else bumpy), box, chosen


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [*DYNAMICS, *WHOLE])
def test_the_bytes_of_one_process(name, dtype, size):
    func, box, options = settings({**DYNAMICS, **WHOLE}[name] | {"dtype": dtype}, wide=False)
    alone = cbo(func, box, **options)
    ranks = results_of(size, lambda comm: cbo(func, box, comm=comm, **options))
    if name == "runs":
        assert_same_runs(ranks, alone)
    else:
        assert_same(ranks, alone)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [one for one in DYNAMICS if not one.startswith("hybrid")])
def test_the_bytes_of_one_process_where_the_particles_are_divided(name, dtype, size):
    func, box, options = settings(DYNAMICS[name] | {"dtype": dtype}, wide=True)
    if name in ("restarts", "agreement"):
        options |= {"maxiter": 3} if name == "restarts" else {"tol": 0.2}
    alone = cbo(func, box, **options)
    ranks = results_of(size, lambda comm: cbo(func, box, comm=comm, **options))
    if name == "runs":
        assert_same_runs(ranks, alone)
        return
    assert_same(ranks, alone)
    for result in ranks:  # whole blocks of 64
        assert result.population_rows[0] % 64 == 0


def assert_same_runs(ranks, alone):
    runs = len(alone.fun)
    one = [
        [OptimizeResult({name: values[m] for name, values in result.items()}) for m in range(runs)]
        for result in (*ranks, alone)
    ]
    for m in range(runs):
        assert_same([parts[m] for parts in one[:-1]], one[-1][m])


def test_an_array_of_particles_and_a_native_problem():
    problem = problems.rastrigin(300).shifted(rng=3)
    start = np.random.default_rng(5).uniform(-3, 3, (WIDE_PARTICLES, 300))
    options = {"dynamics": "memory", "init": start, "rng": 2, "maxiter": 9, "polish": False}
    alone = cbo(problem, problem.bounds, **options)
    ranks = results_of(3, lambda comm: cbo(problem, problem.bounds, comm=comm, **options))
    assert_same(ranks, alone)


@pytest.mark.parametrize("wide", [False, True])
def test_all_ranks_find_together_that_nothing_moves_any_more(wide):
    box, n = (WIDE, WIDE_PARTICLES) if wide else (BOX, 50)
    options = {"alpha": np.inf, "drift": 1.0, "diffusion": 0.0, "tol": 0.0, "maxiter": 10_000}
    if wide:
        options["vectorized"] = True

    def run(comm):
        source = np.random.default_rng(comm.rank)

        def restless(x):  # so that the particles never agree
            return source.random(x.shape[1]) if wide else source.random()

        return cbo(
            restless, box, dynamics="isotropic", n_particles=n, rng=1, polish=False, comm=comm,
            **options,
        )  # fmt: skip

    ranks = results_of(2, run)
    assert ranks[0].status == 2 and ranks[0].nit < 1000
    assert_same(ranks, joined(ranks))


@pytest.mark.parametrize("dynamics, wide", [("hybrid", False), ("memory", False), ("memory", True)])
def test_every_point_is_evaluated_once_and_the_work_is_shared(dynamics, wide):
    box, points = (WIDE if wide else BOX), [0, 0]
    options = {"n_particles": WIDE_PARTICLES, "maxiter": 5} if dynamics == "memory" else {}

    def run(comm):
        def counted(x):
            points[comm.rank] += x.shape[1]
            return bumpy_columns(x)

        return cbo(
            counted, box, dynamics=dynamics, rng=1, vectorized=True, polish=False, comm=comm,
            **{"maxfev": 4000, **options},
        )  # fmt: skip

    first, _ = results_of(2, run)
    assert sum(points) == first.nfev
    assert max(points) < 0.6 * first.nfev


@pytest.mark.parametrize("size", [1, 2])
def test_runs_of_a_native_problem_take_turns(size):
    problem = problems.rastrigin(3)  # which in one process run side by side
    options = {"dynamics": "memory", "runs": 3, "rng": 2, "maxiter": 20, "threads": 2}
    alone = cbo(problem, problem.bounds, **options)
    ranks = results_of(size, lambda comm: cbo(problem, problem.bounds, comm=comm, **options))
    assert_same_runs(ranks, alone)


def test_more_ranks_than_particles():
    options = {"dynamics": "anisotropic", "n_particles": 3, "maxiter": 5, "rng": 1}
    alone = cbo(bumpy, BOX, **options)
    assert_same(results_of(5, lambda comm: cbo(bumpy, BOX, comm=comm, **options)), alone)


def test_a_noisy_function_ends_in_one_result():
    def run(comm):
        source = np.random.default_rng(comm.rank)
        return cbo(
            lambda x: bumpy(x) + 0.1 * source.standard_normal(), BOX, rng=1, maxfev=300, comm=comm
        )

    assert_same(ranks := results_of(3, run), joined(ranks))


def joined(ranks):
    """What a process alone would have returned, as far as these ranks agree."""
    whole = OptimizeResult(ranks[0])
    del whole["population_rows"]
    for name in ("population", "population_energies"):
        whole[name] = np.concatenate([result[name] for result in ranks])
    return whole


def test_a_polish_of_the_users_runs_on_one_rank():
    calls = []

    def run(comm):
        def polish(func, x0, bounds, constraints):
            calls.append(comm.rank)
            return OptimizeResult(x=np.full(4, 0.25), fun=-100.0, success=True, nfev=3, jac=x0)

        return cbo(bumpy, BOX, dynamics="hopping", maxiter=3, rng=1, polish=polish, comm=comm)

    ranks = results_of(2, run)
    assert calls == [0] and [one.fun for one in ranks] == [-100.0] * 2
    assert_same(ranks, joined(ranks))


def test_fresh_entropy_and_generators_are_the_first_ranks():
    ranks = results_of(2, lambda comm: cbo(bumpy, BOX, maxfev=200, comm=comm))
    assert_same(ranks, joined(ranks))

    def advance(comm):
        source = np.random.default_rng(3 + comm.rank)
        cbo(bumpy, BOX, maxfev=50, rng=source, comm=comm)
        return source.integers(1 << 40)

    expected = np.random.default_rng(4)
    cbo(bumpy, BOX, maxfev=50, rng=expected)
    assert results_of(2, advance)[1] == expected.integers(1 << 40)


# ---- one end for all ---------------------------------------------------------------------------


def with_callback(dynamics, who, stop_at, ending):
    seen = [[], []]

    def run(comm):
        def callback(intermediate_result):
            seen[comm.rank].append((intermediate_result.nit, intermediate_result.fun))
            if comm.rank == who[-1] and intermediate_result.nit == stop_at:
                return ending()
            return False

        listens = callback if comm.rank in who else None
        return cbo(bumpy, BOX, dynamics=dynamics, rng=1, maxiter=30, callback=listens, comm=comm)

    return on_ranks(2, run), seen


def stop():
    raise StopIteration


@pytest.mark.parametrize("ending", [lambda: True, stop])
@pytest.mark.parametrize("who", [[0], [1], [0, 1]])
@pytest.mark.parametrize("dynamics", ["hybrid", "memory"])
def test_a_callback_on_any_rank_ends_all(dynamics, who, ending):
    ranks, seen = with_callback(dynamics, who, 7, ending)
    alone = cbo(
        bumpy, BOX, dynamics=dynamics, rng=1, maxiter=30,
        callback=lambda intermediate_result: intermediate_result.nit == 7 and ending(),
    )  # fmt: skip
    assert alone.status == 99 and alone.nit == 7
    assert_same(ranks, alone)
    assert [len(calls) for calls in seen] == [7 * (rank in who) for rank in range(2)]


def test_a_callback_that_raises_ends_all():
    def fail():
        raise KeyError("mine")

    (other, own), _ = with_callback("memory", [1], 3, fail)
    assert isinstance(own, KeyError)
    assert isinstance(other, RankError) and "rank 1 failed with KeyError: 'mine'" in str(other)


@pytest.mark.parametrize(
    "dynamics, wide",
    [("hybrid", False), ("memory", False), ("memory", True), ("polarized", False)],
)
def test_a_function_that_raises_on_one_rank_ends_all(dynamics, wide):
    box = WIDE if wide else BOX

    def run(comm):
        calls = []

        def func(x):
            calls.append(1)
            if comm.rank == 1 and len(calls) == 400:
                raise ZeroDivisionError("here alone")
            return bumpy(x)

        n = WIDE_PARTICLES if wide else None
        return cbo(func, box, dynamics=dynamics, rng=1, n_particles=n, maxfev=50000, comm=comm)

    other, own = on_ranks(2, run)
    assert isinstance(own, ZeroDivisionError)
    assert isinstance(other, RankError) and "ZeroDivisionError: here alone" in str(other)


@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
def test_maxtime_is_over_for_all_at_once(dynamics):
    def run(comm):
        def slow(x):
            time.sleep(1e-3 * (1 + comm.rank))
            return bumpy(x)

        return cbo(slow, BOX, dynamics=dynamics, rng=1, maxtime=0.5, polish=False, comm=comm)

    ranks = results_of(2, run)
    assert ranks[0].status == 1
    assert_same(ranks, joined(ranks))


def test_restarts_end_together_when_the_time_is_over():
    def run(comm):
        def slow(x):
            time.sleep(1e-3 * (1 + comm.rank))
            return bumpy(x)

        return cbo(
            slow, BOX, dynamics="anisotropic", rng=1, maxtime=0.6, n_particles=8, maxiter=6,
            restarts=50, polish=False, comm=comm,
        )  # fmt: skip

    ranks = results_of(2, run)
    assert_same(ranks, joined(ranks))


REFUSED = [
    ({"maxiter": 0}, "maxiter must be"),
    ({"n_particle": 5}, "unexpected keyword argument 'n_particle'"),
    ({"bounds": [(2, 1)] * 4}, "upper bound is less"),
    ({"workers": 0}, "workers must be"),
    ({"rng": "x"}, "rng must be"),
    ({"resume": "/nowhere/at/all", "checkpoint": 3}, "checkpoint must be"),
    ({"device": "gpu"}, "device must be"),
    ({"callback": 3}, "callback must be callable"),
    ({"x0": [9.0] * 4}, "x0 lay outside"),
]


@pytest.mark.parametrize("wrong, words", REFUSED, ids=[next(iter(one)) for one, _ in REFUSED])
def test_what_one_rank_alone_refuses_ends_all(wrong, words):
    def run(comm):
        options = {"bounds": BOX, "maxfev": 100} | (wrong if comm.rank == 1 else {})
        return cbo(bumpy, comm=comm, **options)

    other, own = on_ranks(2, run)
    assert isinstance(own, (ValueError, TypeError)) and words in str(own), own
    assert isinstance(other, RankError) and "rank 1 failed with" in str(other), other


@pytest.mark.parametrize(
    "name, first, second",
    [
        ("maxfev", 100, 101),
        ("tol", 1e-8, 1e-7),
        ("drift", 0.1, 0.2),
        ("bounds", BOX, [(-3.0, 4.1)] * 4),
        ("n_particles", 100, 110),
        ("polish", True, False),
        ("constraints", (), DISC),
        ("gradient", None, slope),
        ("runs", 1, 2),
    ],
)
def test_what_must_be_the_same_on_all_ranks(name, first, second):
    def run(comm):
        options = {"bounds": BOX, "maxfev": 200, "dynamics": "anisotropic"}
        options[name] = second if comm.rank == 1 else first
        return cbo(bumpy, comm=comm, **options)

    for error in on_ranks(2, run):
        assert isinstance(error, ValueError) and f"{name} must be the same" in str(error), error


def test_a_rank_that_is_interrupted_ends_the_others():
    def interrupted(comm):
        def func(x):
            if comm.rank == 1:
                raise KeyboardInterrupt
            return bumpy(x)

        return cbo(func, BOX, comm=comm)

    other, own = on_ranks(2, interrupted)
    assert isinstance(own, KeyboardInterrupt)
    assert isinstance(other, RankError) and "rank 1 failed with KeyboardInterrupt" in str(other)


def test_only_the_first_rank_prints(capsys):
    options = {"dynamics": "hopping", "maxiter": 3, "rng": 1, "disp": True}
    cbo(bumpy, BOX, **options)
    alone = capsys.readouterr().out
    results_of(2, lambda comm: cbo(bumpy, BOX, comm=comm, **options))
    assert capsys.readouterr().out == alone


# ---- checkpoints -------------------------------------------------------------------------------


RESUMED = {
    "hybrid": {"dynamics": "hybrid"},
    "memory": {"dynamics": "memory", "constraints": DISC, "vectorized": True},
    "restarts": {"dynamics": "anisotropic", "restarts": 1, "dtype": "float32"},
    "polarized": {"dynamics": "polarized", "n_minimizers": 2},
}


@pytest.mark.parametrize("before, after", [(2, 1), (2, 4), (1, 3)])
@pytest.mark.parametrize(
    "name, wide",
    [(name, False) for name in RESUMED] + [("memory", True), ("restarts", True)],
)
def test_a_checkpoint_is_resumed_on_another_number_of_ranks(name, wide, before, after, tmp_path):
    options = RESUMED[name]
    func, box, chosen = settings(options, wide)
    total, cut = (6, 8) if "restarts" in options else (12, 7)
    chosen["maxiter"] = total
    file = tmp_path / "state"
    whole = cbo(func, box, **chosen)

    def write(comm):
        seen = []

        def stop_at_cut(intermediate_result):
            seen.append(1)
            return len(seen) == cut

        path = file if comm.rank == 0 else None  # the others need none
        return cbo(
            func,
            box,
            checkpoint=path,
            checkpoint_every=0,
            callback=stop_at_cut,
            comm=comm,
            **chosen,
        )

    assert results_of(before, write)[0].status == 99
    one = cbo(func, box, resume=file, **chosen)
    assert_equal_bytes(one.x, whole.x, "x")

    def go_on(comm):
        return cbo(func, box, resume=file if comm.rank == 0 else None, comm=comm, **chosen)

    assert_same(results_of(after, go_on), whole)


def test_a_checkpoint_that_cannot_be_read_ends_all(tmp_path):
    def run(comm):
        return cbo(bumpy, BOX, resume=tmp_path / "nothing", comm=comm)

    own, other = on_ranks(2, run)
    assert isinstance(own, FileNotFoundError)
    assert isinstance(other, RankError) and "rank 0 failed with FileNotFoundError" in str(other)


# ---- real launchers ------------------------------------------------------------------------------


def solve_cases(comm, cases):
    results = []
    for name, wide in cases:
        func, box, options = settings({**DYNAMICS, **WHOLE}[name], wide)
        results.append(cbo(func, box, threads=1, comm=comm, **options))
    return results


def solve_until_killed(comm, folder):
    calls, rank = [], distributed._adapter(comm).rank

    def func(x):
        calls.append(1)
        if rank == 1 and len(calls) == 2000:
            launched.die(folder)
        return bumpy(x)

    return cbo(func, BOX, dynamics="anisotropic", n_particles=1000, maxiter=10**6, tol=0, comm=comm)


def peak_of_a_large_run(comm, n, d):
    """What the run adds to the peak of memory, over the bytes of all particles."""
    options = {"dynamics": "memory", "maxiter": 3, "rng": 1, "polish": False, "comm": comm}
    small, large = problems.sphere(3), problems.sphere(d)
    cbo(small, small.bounds, n_particles=10, **options)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = cbo(large, large.bounds, n_particles=n, **options)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (after - before) * 1024 / (8 * n * d), len(result.population)


@pytest.mark.parametrize("kind", KINDS)
def test_processes_have_the_bytes_of_one(kind, tmp_path):
    require(kind)
    cases = [("hybrid constrained", False), ("covariance", False), ("memory constrained", True)]
    ranks = launched.results_of(kind, 2, solve_cases, cases, folder=tmp_path)
    for alone, *results in zip(solve_cases(None, cases), *ranks, strict=True):
        assert_same(results, alone)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_ends_the_run_of_all(kind, tmp_path):
    require(kind)
    with Launch(kind, 2, solve_until_killed, tmp_path, folder=tmp_path) as launch:
        assert any(launch.wait_from_death(30))
        first, second = launch.answers()
        assert second is None, launch.log()
        if kind == "torch":  # mpiexec kills the others itself
            assert first[1].startswith("RankError: the exchange with the other ranks broke off")


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in KiB")
@pytest.mark.slow_under_asan
def test_a_rank_holds_its_share_of_the_particles_only(tmp_path):
    require("mpi")
    n, d = 20_000, 500  # 80 MB, and as much again for the memory of the particles
    for peak, rows in launched.results_of("mpi", 2, peak_of_a_large_run, n, d, folder=tmp_path):
        assert rows <= 0.51 * n
        assert peak < 1.4  # 2 halves, partial sums and values; 2 of a process alone
