"""admm_relu on ranks that share the gates or the samples: the iterates of one rank, and no hang."""

import time

import launched_ranks as launched
import numpy as np
import pytest
from thread_ranks import on_ranks, results_of

from fastopt import admm_relu, admm_relu_path
from fastopt.distributed import RankError, join

SHARDS = ("gates", "samples")
N, D = 150, 6


def data(kind="numbers"):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D))
    y = np.maximum(X[:, 0], 0) - np.maximum(X[:, 1] + X[:, 2], 0) + 0.1 * rng.standard_normal(N)
    y = {
        "numbers": y,
        "signs": np.sign(y),
        "classes": (y > 0).astype(int) + (y > 1),
        "two": np.stack([y, y**2], axis=1),
    }[kind]
    return X, y, rng.uniform(0.5, 2.0, N)


def part(comm, shard):
    """Uneven ones of the samples."""
    if comm is None or shard == "gates":
        return slice(None)
    cuts = [0, *(N // k for k in (5, 2)[2 - comm.size + 1 :]), N]
    return slice(cuts[comm.rank], cuts[comm.rank + 1])


def train(comm, shard, kind="numbers", weighted=True, **given):
    """The result and its iterates (the best weights so far)."""
    X, y, weights = data(kind)
    own = part(comm, shard)
    xs = []
    options = {"beta_ratio": 1e-2, "gates": 13, "rng": 1, **given}
    result = admm_relu(
        X[own],
        y[own],
        sample_weight=weights[own] if weighted else None,
        callback=lambda xk: xs.append(xk.copy()),
        comm=comm,
        shard=shard,
        **options,
    )
    return result, np.array(xs)


def assert_same_iterates(size, shard, **given):
    alone, steps = train(None, shard, **given)
    answers = results_of(size, lambda comm: train(comm, shard, **given))
    for result, xs in answers:
        assert (result.nit, result.newton_steps) == (alone.nit, alone.newton_steps)
        np.testing.assert_array_equal(xs, answers[0][1])  # the same bits on all ranks
        np.testing.assert_allclose(xs, steps, rtol=0, atol=1e-10 * max(1, np.abs(steps).max()))
        np.testing.assert_allclose(result.fun, alone.fun, rtol=1e-12)
        np.testing.assert_allclose(result.dual_fun, alone.dual_fun, rtol=1e-9)
        np.testing.assert_allclose(result.beta, alone.beta, rtol=1e-12)
        assert result.constr_violation <= alone.constr_violation + 1e-13
        X = data()[0][:7]
        np.testing.assert_allclose(result.predict(X), alone.predict(X), atol=1e-9)


@pytest.mark.parametrize("shard", SHARDS)
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("polish", [True, False])
def test_iterates_are_those_of_one_rank(shard, size, polish):
    assert_same_iterates(size, shard, polish=polish)


@pytest.mark.parametrize("shard", SHARDS)
@pytest.mark.parametrize(
    "given",
    [
        {"loss": "huber"},
        {"loss": "logistic", "kind": "signs", "maxiter": 40},
        {"loss": "squared_hinge", "kind": "signs", "maxiter": 40},
        {"loss": "hinge", "kind": "signs", "maxiter": 40},
        {"loss": "quantile", "maxiter": 30},
        {"loss": "softmax", "kind": "classes", "maxiter": 40},
        {"kind": "two", "weighted": False},
        {"method": "gated"},
        {"method": "gated", "loss": "huber", "standardize": True},
        {"gates": 40, "fit_intercept": False, "standardize": True},
    ],
    ids=str,
)
def test_losses_and_methods(shard, given):
    assert_same_iterates(2, shard, **given)


@pytest.mark.parametrize("given", [{}, {"loss": "huber"}, {"loss": "logistic", "kind": "signs"}])
def test_hidden_units_on_shared_samples(given):
    assert_same_iterates(3, "samples", method="scp", **given)


@pytest.mark.parametrize("shard", SHARDS)
def test_the_certificate_is_that_of_the_whole_program(shard):
    X, y, weights = data()
    for result, _ in results_of(2, lambda comm: train(comm, shard, gap_tol=1e-6)):
        assert result.success and result.relative_gap <= 1e-6
        z = result.predict(X)
        blocks = result.x.reshape(-1, D + 1)
        penalty = np.linalg.norm(blocks, axis=1).sum()
        fun = 0.5 * np.sum(weights * (z - y) ** 2) + result.beta * penalty
        np.testing.assert_allclose(fun, result.fun, rtol=1e-12)
        assert result.dual_fun <= result.fun
        # E_i X v >= 0 on the samples of all ranks
        extended = np.column_stack([X, np.ones(N)])
        signs = np.where(extended @ result.gates.T >= 0, 1.0, -1.0)
        v = result.x.reshape(2, 1, -1, D + 1)
        slack = np.einsum("np,nd,scpd->scpn", signs, extended, v)
        assert slack.min() >= -1e-12 * np.abs(v).max() * np.abs(extended).max() * D


@pytest.mark.parametrize("shard", SHARDS)
def test_conjugate_gradients_where_the_system_does_not_fit(shard, monkeypatch):
    """To the accuracy of their solutions."""
    monkeypatch.setattr("fastopt._admm_run.largest_system", lambda *_: 5)
    alone, _ = train(None, shard, polish=False)
    for result, _ in results_of(2, lambda comm: train(comm, shard, polish=False)):
        assert result.success and result.nit == alone.nit
        np.testing.assert_allclose(result.fun, alone.fun, rtol=1e-6)


@pytest.mark.parametrize("shard", SHARDS)
def test_single_precision(shard):
    alone, _ = train(None, shard, dtype="float32")
    for result, _ in results_of(2, lambda comm: train(comm, shard, dtype="float32")):
        assert result.success
        np.testing.assert_allclose(result.fun, alone.fun, rtol=1e-4)


@pytest.mark.parametrize("shard", SHARDS)
def test_a_path_and_a_warm_start(shard):
    X, y, _ = data()

    def run(comm):
        own = part(comm, shard)
        given = {"gates": 13, "comm": comm, "shard": shard}
        path = admm_relu_path(X[own], y[own], beta_ratios=[0.3, 0.1, 0.03], rng=1, **given)
        warm = admm_relu(X[own], y[own], beta_ratio=0.02, warm_start=path.results[-1], **given)
        return [*path.results, warm]

    alone = run(None)
    for results in results_of(2, run):
        for mine, whole in zip(results, alone, strict=True):
            assert mine.nit == whole.nit
            np.testing.assert_allclose(mine.x, whole.x, atol=1e-10)


def test_rows_mapped_from_a_file(tmp_path):
    X, y, _ = data()
    np.save(tmp_path / "X.npy", X)
    alone = admm_relu(X, y, beta_ratio=1e-2, gates=13, rng=1)

    def run(comm):
        own = part(comm, "samples")
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")[own]
        return admm_relu(
            mapped, y[own], beta_ratio=1e-2, gates=13, rng=1, comm=comm, shard="samples"
        )

    for result in results_of(3, run):
        np.testing.assert_allclose(result.x, alone.x, atol=1e-10)


@pytest.mark.parametrize("shard", SHARDS)
def test_the_gates_are_those_of_one_rank(shard):
    """Also where the data hardly admit more, so that the draws end by patience."""
    X = np.linspace(-1, 1, 9)[:, None]

    def run(comm):
        own = slice(None)
        if comm is not None and shard == "samples":
            own = slice(comm.rank * 4, 9 if comm.rank else 4)
        return admm_relu(X[own], X[own, 0], beta=0.1, gates=64, rng=2, comm=comm, shard=shard).gates

    alone = run(None)
    assert len(alone) < 30
    for gates in results_of(2, run):
        np.testing.assert_array_equal(gates, alone)


def test_the_numbers_of_an_iteration():
    """Shared gates: n numbers and a few; shared samples: nothing that grows with n."""

    def sent(shard, copies, maxiter):
        X, y, _ = data()
        X, y = np.tile(X, (copies, 1)), np.tile(y, copies)
        meetings = []

        def run(comm):
            own = slice(None)
            if shard == "samples":
                own = slice(comm.rank * len(X) // 2, (comm.rank + 1) * len(X) // 2)
            admm_relu(X[own], y[own], beta_ratio=1e-2, gates=13, rng=1, polish=False, comm=comm,
                      shard=shard, maxiter=maxiter, gap_tol=1e-12, rho=1.0)  # fmt: skip
            meetings.append(comm._meeting)

        results_of(2, run)
        return meetings[0].numbers

    for copies in (1, 3):
        n = copies * N
        # 40 iterations: 4 checks (of 3 n) among them
        each = (sent("gates", copies, 80) - sent("gates", copies, 40)) / 40
        assert n <= each <= 2 * n + 200
    few, many = ((sent("samples", k, 80) - sent("samples", k, 40)) / 40 for k in (1, 3))
    assert few <= 13 * 7 * 10
    assert many <= 13 * 7 * 10


# ---- failures ----------------------------------------------------------------------------------


def failures(size, function):
    answers = on_ranks(size, function)
    assert all(isinstance(answer, BaseException) for answer in answers), answers
    return answers


@pytest.mark.parametrize("shard", SHARDS)
@pytest.mark.parametrize(
    "given, words",
    [
        ({"gates": 12}, "gates"),
        ({"beta_ratio": 2e-2}, "beta_ratio"),
        ({"rng": 2}, "rng"),
        ({"loss": "huber"}, "loss"),
        ({"maxtime": 10.0}, "maxtime"),
        ({"weighted": False}, "sample_weight, given or not,"),
        ({"standardize": True}, "standardize"),
        ({"dtype": "float32"}, "dtype"),
    ],
)
def test_arguments_that_differ_are_refused(shard, given, words):
    def run(comm):
        train(comm, shard, **(given if comm.rank == 1 else {}))

    for error in failures(2, run):
        assert isinstance(error, ValueError) and f"{words} must be the same" in str(error)


def test_shards_that_differ_are_refused():
    for error in failures(2, lambda comm: train(comm, SHARDS[comm.rank])):
        assert "shard must be the same on all ranks" in str(error)


def test_shared_gates_need_the_same_samples_on_all_ranks():
    def run(comm):
        X, y, _ = data()
        X[3, 2] += comm.rank
        admm_relu(X, y, beta=1.0, comm=comm)

    for error in failures(2, run):
        assert "X must be the same on all ranks" in str(error)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"method": "admm"}, "method='admm' does not go with comm"),
        ({"method": "scp"}, "or 'scp' with shard='samples'"),
        ({"robust_eps": 0.1}, "robust_eps does not go with comm"),
        ({"gates": "generate"}, "gates='generate' does not go with comm"),
        ({"gates": 1}, "shard='gates' needs a gate for each rank"),
        ({"shard": "rows"}, "shard must be one of"),
    ],
)
def test_what_ranks_cannot_share_is_refused(given, words):
    def run(comm):
        X, y, _ = data()
        admm_relu(X, y, **{"beta": 1.0, "gates": 13, "rng": 1, "comm": comm, **given})

    for error in failures(2, run):
        assert words in str(error)


def test_wide_data_are_refused_instead_of_taking_the_published_splitting():
    X = np.random.default_rng(0).standard_normal((20, 101))
    for error in failures(2, lambda comm: admm_relu(X, X[:, 0], beta=1.0, comm=comm)):
        assert "method='auto' begins with 'admm' on more than 100 columns" in str(error)


@pytest.mark.parametrize("shard", SHARDS)
def test_bad_samples_on_one_rank_end_all(shard):
    def run(comm):
        X, y, _ = data()
        own = part(comm, shard)
        X, y = X[own], y[own]
        if comm.rank == 1:
            y[2] = np.nan
        admm_relu(X, y, beta=1.0, comm=comm, shard=shard)

    other, own = failures(2, run)
    assert isinstance(own, ValueError) and "y must be finite" in str(own)
    assert isinstance(other, RankError) and "y must be finite" in str(other)


@pytest.mark.parametrize("shard", SHARDS)
def test_an_exception_of_a_callback_on_one_rank_ends_all(shard):
    def run(comm):
        def callback(xk):
            raise KeyError("mine")

        X, y, _ = data()
        own = part(comm, shard)
        admm_relu(X[own], y[own], beta_ratio=1e-2, gates=13, comm=comm, shard=shard,
                  callback=callback if comm.rank == 0 else None)  # fmt: skip

    own, other = failures(2, run)
    assert isinstance(own, KeyError)
    assert isinstance(other, RankError) and "rank 0 failed with KeyError" in str(other)


@pytest.mark.parametrize("shard", SHARDS)
def test_a_callback_and_a_clock_on_one_rank_stop_all(shard):
    X, y, _ = data()

    def run(comm, callback, **given):
        own = part(comm, shard)
        return admm_relu(X[own], y[own], beta_ratio=1e-4, gates=13, polish=False, gap_tol=1e-12,
                         comm=comm, shard=shard, callback=callback, **given)  # fmt: skip

    one, two = results_of(2, lambda comm: run(comm, (lambda xk: True) if comm.rank else None))
    assert (one.status, two.status, one.nit, two.nit) == (99, 99, 1, 1)
    assert "on another rank" in one.message and "another rank" not in two.message

    def wait(xk):
        time.sleep(0.02)

    one, two = results_of(2, lambda comm: run(comm, None if comm.rank else wait, maxtime=0.2))
    assert one.status == two.status == 1 and one.nit == two.nit < 5000
    assert "maxtime" in one.message and "maxtime" in two.message


# ---- processes ---------------------------------------------------------------------------------


SHORT = {"maxiter": 25, "gates": 6}


@pytest.mark.parametrize("kind", launched.KINDS)
def test_processes(kind, tmp_path):
    launched.require(kind)
    for shard, answers in zip(
        SHARDS,
        zip(*launched.results_of(kind, 2, iterates, folder=tmp_path), strict=True),
        strict=True,
    ):
        alone, steps = train(None, shard, **SHORT)
        for nit, xs in answers:
            assert nit == alone.nit
            np.testing.assert_allclose(xs, steps, rtol=0, atol=1e-10)


def iterates(comm):
    comm = join(comm)
    results = [train(comm, shard, **SHORT) for shard in SHARDS]
    return [(result.nit, xs) for result, xs in results]
