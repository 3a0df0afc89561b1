"""sketch_newton on a GLM whose rows several ranks share: the steps of one rank, and no hang."""

import os
import signal
import time

import launched_ranks as launched
import numpy as np
import pytest
import scipy.sparse as sp
from thread_ranks import on_ranks, results_of

from fastopt import sketch_newton
from fastopt.distributed import RankError, join
from fastopt.problems import GLM

ROWS, COLS = 400, 12
FAMILIES = ["logistic", "poisson", "gaussian", "gamma"]


def problem(family="logistic", density=1.0):
    rng = np.random.default_rng(3)
    A = rng.standard_normal((ROWS, COLS)) / 3
    if density < 1:
        A = sp.random_array((ROWS, COLS), density=density, rng=4, format="csr")
    z = A @ rng.standard_normal(COLS)
    y = {
        "logistic": np.sign(z + 0.5 * rng.standard_normal(ROWS)),
        "poisson": rng.poisson(np.exp(z)).astype(float),
        "gaussian": z + rng.standard_normal(ROWS),
        "gamma": np.exp(z) * rng.gamma(2.0, 0.5, ROWS),
    }[family]
    return A, y, rng.uniform(0.5, 2.0, ROWS)


def own_rows(comm, ends=(0.3, 0.3)):
    """Uneven shares; with three ranks the middle one has no row."""
    cuts = [0, *(int(ROWS * end) for end in ends[: comm.size - 1]), ROWS]
    return slice(cuts[comm.rank], cuts[comm.rank + 1])


def model(comm, family="logistic", density=1.0, **given):
    A, y, weights = problem(family, density)
    rows = slice(None) if comm is None else own_rows(comm)
    return GLM(A[rows], y[rows], family, 1e-3, sample_weight=weights[rows], comm=comm, **given)


def solve(glm, **given):
    xs = []
    result = sketch_newton(
        glm, np.zeros(COLS), callback=lambda xk: xs.append(xk.copy()), rng=5, **given
    )
    return result, np.array(xs)


def assert_same_iterates(size, family="logistic", density=1.0, **given):
    alone, steps = solve(model(None, family, density), **given)
    answers = results_of(size, lambda comm: solve(model(comm, family, density), **given))
    assert alone.success
    for result, xs in answers:
        assert result.success and result.linear_solver == alone.linear_solver
        assert (result.nit, result.sketch) == (alone.nit, alone.sketch)
        np.testing.assert_array_equal(xs, answers[0][1])  # the same bits on all ranks
        np.testing.assert_allclose(xs, steps, rtol=0, atol=1e-10 * np.abs(steps).max())
        np.testing.assert_allclose(result.fun, alone.fun, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("solver", ["ldl", "sketch-pcg", "minres", "auto"])
def test_iterates_are_those_of_one_rank(size, solver):
    assert_same_iterates(size, linear_solver=solver)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family):
    assert_same_iterates(2, family)


@pytest.mark.parametrize("kind", ["sjlt", "countsketch", "gaussian", "srht", "uniform"])
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_the_sum_of_the_ranks_sketches_is_that_of_the_whole(kind, density):
    assert_same_iterates(
        3, density=density, linear_solver="sketch-pcg", sketch=kind, sketch_size=8 * COLS
    )


@pytest.mark.parametrize("solver", ["ldl", "sketch-pcg"])
def test_sparse_rows(solver):
    assert_same_iterates(3, density=0.3, linear_solver=solver)


@pytest.mark.parametrize("solver", ["ldl", "sketch-pcg"])
def test_constraints(solver):
    circle = {
        "type": "eq",
        "fun": lambda x: np.array([x @ x - 1, x.sum()]),
        "jac": lambda x: np.vstack([2 * x, np.ones(COLS)]),
        "hess": lambda x, v: 2 * v[0] * np.eye(COLS),
    }
    assert_same_iterates(2, linear_solver=solver, constraints=circle)


@pytest.mark.parametrize("kind", launched.KINDS)
def test_processes(kind, tmp_path):
    launched.require(kind)
    alone, steps = solve(model(None), linear_solver="sketch-pcg")
    for nit, xs in launched.results_of(kind, 2, iterates, folder=tmp_path):
        assert nit == alone.nit
        np.testing.assert_allclose(xs, steps, rtol=0, atol=1e-10 * np.abs(steps).max())


def iterates(comm):  # the ranks and sizes of MPI and torch have names of their own
    result, xs = solve(model(join(comm)), linear_solver="sketch-pcg")
    return result.nit, xs


@pytest.mark.parametrize("kind", launched.KINDS)
def test_a_killed_process_ends_the_others(kind, tmp_path):
    launched.require(kind)
    with launched.Launch(kind, 2, die_in_the_loop, folder=tmp_path) as launch:
        assert any(launch.wait(30))
        first, second = launch.answers()
        assert second is None, launch.log()
        if kind == "torch":  # mpiexec kills the others itself
            assert first[1].startswith("RankError: the exchange with the other ranks broke off")


def die_in_the_loop(comm):
    comm = join(comm)

    def callback(xk):
        if comm.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    sketch_newton(model(comm), np.zeros(COLS), callback=callback)


def test_a_model_serves_many_runs_also_after_a_failed_one():
    def run(comm):
        glm = model(comm)
        first = sketch_newton(glm, np.zeros(COLS))

        def callback(xk):
            if comm.rank == 0:
                raise KeyError("mine")

        with pytest.raises((KeyError, RankError)):
            sketch_newton(glm, np.zeros(COLS), callback=callback)
        again = sketch_newton(glm.fun, np.zeros(COLS), jac=glm.jac, hess=glm.hess)
        return first.x, again.x

    for first, again in results_of(2, run):
        np.testing.assert_array_equal(first, again)


def test_a_value_whose_exchange_failed_is_not_kept():
    class Fails:
        rank, size, fails = 0, 1, False

        def allgather(self, array):
            return array[None]

        def allreduce(self, array):
            if self.fails:
                raise OSError("the network")
            return array

    comm, x = Fails(), np.ones(COLS)
    glm = model(comm)
    comm.fails = True
    with pytest.raises(OSError, match="the network"):
        glm.fun(x)
    comm.fails = False
    assert glm.fun(x) == model(None).fun(x)


def test_values_and_derivatives_are_those_of_all_rows():
    x, v = np.linspace(-1, 1, COLS), np.cos(np.arange(COLS))

    def all_of(comm):
        glm = model(comm, reduction="sum")
        hess = glm.hess(x)
        return [glm(x), glm.jac(x), glm.hessp(x, v), hess @ v, hess.toarray()]

    alone = all_of(None)
    for answers in results_of(2, all_of):
        for mine, whole in zip(answers, alone, strict=True):
            np.testing.assert_allclose(mine, whole, rtol=1e-12, atol=1e-12)


def test_rows_mapped_from_a_file_are_not_copied(tmp_path):
    A, y, _ = problem()
    np.save(tmp_path / "A.npy", A)
    expected = sketch_newton(GLM(A, y, l2=1e-3), np.zeros(COLS)).x

    def run(comm):
        rows = own_rows(comm)
        mapped = np.load(tmp_path / "A.npy", mmap_mode="r")[rows]
        glm = GLM(mapped, y[rows], l2=1e-3, comm=comm)
        assert np.shares_memory(glm.A, mapped)
        return sketch_newton(glm, np.zeros(COLS)).x

    for x in results_of(2, run):
        np.testing.assert_allclose(x, expected, atol=1e-10)


def test_the_bytes_of_an_iteration():
    """Per point n + 1 numbers, per product n, per Gram matrix half of n^2: nothing grows with
    the rows."""

    def numbers(rows, solver):
        rng = np.random.default_rng(0)
        A = rng.standard_normal((rows, COLS))
        y = np.sign(A[:, 0] + rng.standard_normal(rows))
        sent = []

        def run(comm):
            share = slice(comm.rank * rows // 2, (comm.rank + 1) * rows // 2)
            glm = GLM(A[share], y[share], comm=comm)
            before = comm._meeting.numbers
            result = sketch_newton(glm, np.zeros(COLS), linear_solver=solver, sketch_size=100)
            if comm.rank == 0:
                sent.append((comm._meeting.numbers - before, result))

        results_of(2, run)
        return sent[0]

    fixed = 100  # what is compared at the start
    for rows in (400, 4000):
        sent, result = numbers(rows, "ldl")
        points = result.nfev + result.njev  # at most
        assert sent <= fixed + points * (COLS + 5) + result.nit * COLS * (COLS + 1)
        sent, result = numbers(rows, "sketch-pcg")
        products = result.inner_iterations + 3 * result.nit
        sketches = result.sketch["made"] * 100 * COLS
        assert sent <= fixed + sketches + (points + products) * (COLS + 5)


# ---- failures ----------------------------------------------------------------------------------


def failures(size, function):
    answers = on_ranks(size, function)
    assert all(isinstance(answer, BaseException) for answer in answers), answers
    return answers


@pytest.mark.parametrize(
    "spoil, error, words",
    [
        (lambda A, y: (A.at(0, np.nan), y), ValueError, "A must be finite"),
        (lambda A, y: (A, y[:-1]), ValueError, "y must have one entry per row"),
        (lambda A, y: (A, 3 * y), ValueError, "two classes"),
        (lambda A, y: ("rows", y), ValueError, "A must"),
    ],
)
def test_bad_rows_on_one_rank_end_all(spoil, error, words):
    class Rows(np.ndarray):
        def at(self, place, value):
            out = np.array(self)
            out[place] = value
            return out

    def run(comm):
        A, y, _ = problem()
        A, y = A[own_rows(comm)].view(Rows), y[own_rows(comm)]
        if comm.rank == 1:
            A, y = spoil(A, y)
        GLM(np.asarray(A), y, comm=comm)

    other, own = failures(2, run)
    assert isinstance(own, error) and words in str(own)
    assert isinstance(other, RankError) and words in str(other)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"family": "gaussian"}, "family"),
        ({"l2": 2.0}, "l2"),
        ({"reduction": "sum"}, "reduction"),
        ({"sample_weight": 1.0}, "sample_weight"),
        ({"columns": COLS - 1}, "the number of columns of A"),
        ({"labels": 0.0}, "y must be coded alike"),
    ],
)
def test_models_that_differ_are_refused(given, words):
    def run(comm):
        A, y, _ = problem()
        A, y = A[own_rows(comm)], y[own_rows(comm)]
        mine = dict(given) if comm.rank == 1 else {}
        if mine.pop("labels", None) is not None:
            y = np.maximum(y, 0)
        A = A[:, : mine.pop("columns", COLS)]
        if "sample_weight" in mine:
            mine["sample_weight"] = np.ones(len(y))
        GLM(A, y, comm=comm, **mine)

    for error in failures(2, run):
        assert isinstance(error, ValueError) and words in str(error)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"x0": np.ones(COLS)}, "x0"),
        ({"rng": 1}, "rng"),
        ({"tol": 1e-3}, "tol"),
        ({"maxiter": 3}, "maxiter"),
        ({"linear_solver": "minres"}, "linear_solver"),
        ({"constraints": {"type": "eq", "fun": np.sum}}, "constraints"),
        ({"merit": "filter"}, "merit"),
    ],
)
def test_options_that_differ_are_refused(given, words):
    def run(comm):
        mine = {"x0": np.zeros(COLS), **(given if comm.rank == 1 else {})}
        sketch_newton(model(comm), **mine)

    for error in failures(2, run):
        assert isinstance(error, ValueError) and words in str(error)


def test_constraints_that_differ_are_refused():
    def run(comm):
        right = 1.0 + 1e-3 * comm.rank
        sketch_newton(
            model(comm), np.zeros(COLS), constraints={"type": "eq", "fun": lambda x: x[:1] - right}
        )

    for error in failures(2, run):
        assert isinstance(error, ValueError) and "constraints must be the same" in str(error)


@pytest.mark.parametrize("kind", ["leverage", "less"])
def test_sketches_by_leverage_scores_are_refused(kind):
    for error in failures(2, lambda comm: sketch_newton(model(comm), np.zeros(COLS), sketch=kind)):
        assert "with comm take 'sjlt'" in str(error)


def test_an_exception_of_a_callback_on_one_rank_ends_all():
    def run(comm):
        def callback(xk):
            if comm.rank == 1:
                raise KeyError("mine")

        sketch_newton(model(comm), np.zeros(COLS), callback=callback)

    other, own = failures(2, run)
    assert isinstance(own, KeyError) and own.args == ("mine",)
    assert isinstance(other, RankError) and "rank 1 failed with KeyError" in str(other)


def test_an_exception_of_a_constraint_in_the_loop_ends_all():
    def run(comm):
        calls = []

        def constraint(x):
            calls.append(x)
            if comm.rank == 0 and len(calls) > 3:
                raise ArithmeticError("here")
            return x @ x - 1

        sketch_newton(
            model(comm),
            np.ones(COLS),
            constraints={"type": "eq", "fun": constraint, "jac": lambda x: 2 * x},
        )

    own, other = failures(2, run)
    assert isinstance(own, ArithmeticError) and isinstance(other, RankError)


def test_a_callback_on_one_rank_stops_all():
    def run(comm):
        stops = (lambda xk: True) if comm.rank == 1 else None
        return sketch_newton(model(comm), np.zeros(COLS), callback=stops)

    one, two = results_of(2, run)
    assert (one.status, two.status) == (99, 99) and one.nit == two.nit == 1
    assert "on another rank" in one.message and "another rank" not in two.message


def test_a_slow_clock_on_one_rank_stops_all_at_maxtime():
    def run(comm):
        def callback(xk):
            if comm.rank == 0:
                time.sleep(0.3)

        return sketch_newton(model(comm), np.zeros(COLS), callback=callback, maxtime=0.25)

    one, two = results_of(2, run)
    assert one.status == two.status == 1 and one.nit == two.nit
    np.testing.assert_array_equal(one.x, two.x)
