"""admm_relu within its time and its memory."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from fastopt import _admm_data, _admm_gates, _admm_run, _memory, admm_relu, admm_relu_path
from fastopt._admm_run import Engine


def problem(n=150, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.maximum(X @ rng.standard_normal((d, 5)), 0) @ rng.standard_normal(5)


# ---- time --------------------------------------------------------------------------------------


class Watched:
    """A clock that moves only when the engine is made (1), solves (10) or seeks gates (4)."""

    def __init__(self, monkeypatch, build=1.0, solve=10.0, setup=0.0, search=4.0):
        self.now = 1000.0
        self.limits = []  # what each solve and search was given
        monkeypatch.setattr(_admm_run, "time", SimpleNamespace(monotonic=lambda: self.now))
        post, run, seek = Engine.__post_init__, Engine.solve, _admm_gates._search

        def make(engine):
            post(engine)
            self.now += build

        def solved(engine, *args, **options):
            self.limits.append(("solve", options.pop("maxtime")))
            raw = run(engine, *args, **options, maxtime=60.0)
            raw["setup"] = setup
            self.now += solve
            return raw

        def sought(*args):
            self.limits.append(("search", args[-1]))
            found = seek(*args[:-1], 60.0)
            self.now += search
            return found

        monkeypatch.setattr(Engine, "__post_init__", make)
        monkeypatch.setattr(Engine, "solve", solved)
        monkeypatch.setattr(_admm_gates, "_search", sought)


def generated(**options):
    X, y = problem()
    return admm_relu(X, y, beta_ratio=0.01, gates="generate", rng=1, gap_tol=1e-5, **options)


def test_generated_gates_need_many_rounds_here():
    assert generated().generation["rounds"] > 4


def test_rounds_go_on_with_the_penalty_of_the_last(monkeypatch):
    """From a rule that judged the first iterations after a warm start they stayed at zero."""
    starts, ends, solve = [], [], Engine.solve

    def recorded(self, *args, **options):
        raw = solve(self, *args, **options)
        starts.append(options["rho_start"])
        ends.append(raw["rho"])
        return raw

    monkeypatch.setattr(Engine, "solve", recorded)
    r = generated()
    assert starts == [-1.0, *ends[:-1]] and len(starts) > 4
    assert (np.diff(r.generation["fun"]) < 0).all()


def test_each_round_of_generation_gets_what_is_left(monkeypatch):
    """A round takes 15: the third is begun after 30 of 40 and its search ends after the limit."""
    clock = Watched(monkeypatch)
    r = generated(maxtime=40.0)
    assert clock.limits == [
        ("solve", 39.0), ("search", 29.0), ("solve", 24.0), ("search", 14.0), ("solve", 9.0),
    ]  # fmt: skip
    assert r.generation["rounds"] == 3 and not r.generation["exhausted"]
    assert (r.status, r.success) == (1, False)
    assert "search for further gates was not done. Raise maxtime" in r.message
    assert np.isnan(r.generation["largest"][-1])


def test_no_round_begins_without_time_for_its_setup(monkeypatch):
    """After two rounds 10 are left; building, factoring and seeking took 1 + 8 + 4 = 13."""
    clock = Watched(monkeypatch, setup=8.0)
    r = generated(maxtime=40.0)
    assert [name for name, _ in clock.limits] == ["solve", "search"] * 2
    assert clock.now <= 1040.0
    assert r.generation["rounds"] == 2 and not r.success
    assert re.search(r"still found \(\d+ in the last round\). Raise maxtime", r.message)
    assert r.relative_gap <= 1e-5  # the last round itself was finished


def test_a_search_that_ran_out_of_time_proves_nothing(monkeypatch):
    clock = Watched(monkeypatch, search=100.0)
    monkeypatch.setattr(_admm_gates, "_search", lambda *a: (_nothing(a[0], clock), 0.0))
    r = generated(maxtime=40.0)
    assert not r.success and not r.generation["exhausted"] and "evidence" not in r.message


def _nothing(engine, clock):
    clock.now += 100.0
    return np.empty((0, engine.data.X.shape[1]))


def test_an_ended_search_returns_what_it_has():
    X, y = problem(400, 5)
    starts = np.random.default_rng(0).standard_normal((200, 5))
    module = pytest.importorskip("fastopt._cpu")
    theta = -y[None].copy()
    all_of_it = module.ascend_gates(X, theta, starts, starts[:1], 1)
    none_of_it = module.ascend_gates(X, theta, starts, starts[:1], 1, 0.0)
    assert len(none_of_it) < len(all_of_it)


def test_the_time_of_gates_and_gram_matrix_counts(monkeypatch):
    clock = Watched(monkeypatch, build=7.0)
    X, y = problem()
    admm_relu(X, y, beta=1.0, gates=10, maxtime=20.0, rng=1)
    assert clock.limits == [("solve", 13.0)]
    clock.limits.clear()
    path = admm_relu_path(X, y, beta_ratios=[0.5, 0.1, 0.01], gates=10, maxtime=20.0, rng=1)
    assert clock.limits == [("solve", 13.0), ("solve", 3.0)]
    assert len(path.results) == 2 and not path.success


# ---- memory ------------------------------------------------------------------------------------


@pytest.fixture
def memory(monkeypatch):
    """memory(bytes): so many are available."""

    def of(room):
        monkeypatch.setattr(_admm_data, "available_memory", lambda: room)

    return of


METHODS = ["conic", "admm", "gated", "scp"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(2000, 3), (60, 80)])
def test_what_is_said_to_fit_does(method, shape, memory):
    X, y = problem(*shape)
    gates = np.random.default_rng(0).standard_normal((3000, shape[1] + 1))
    kw = {"beta": 10.0, "method": method, "maxiter": 2}
    memory(30_000_000)
    with pytest.raises(MemoryError, match=r"more than the 0.028 GiB available: gates=\d+ would fit"
                       ) as error:  # fmt: skip
        admm_relu(X, y, gates=gates, **kw)
    fits = int(re.search(r"gates=(\d+) would fit", str(error.value))[1])
    assert 0 < fits < 3000
    assert admm_relu(X, y, gates=gates[:fits], **kw).nit <= 2
    memory(2**40)
    assert admm_relu(X, y, gates=gates[: 2 * fits], **kw).nit <= 2


def test_nothing_fits(memory):
    X, y = problem(2000, 3)
    memory(50_000)
    with pytest.raises(MemoryError, match="take fewer samples, features or outputs"):
        admm_relu(X, y, beta=1.0, gates=5, rng=1)


def test_a_system_that_does_not_fit_is_solved_by_conjugate_gradients(memory):
    X, y = problem(700, 5)
    kw = {"beta": 1.0, "gates": 60, "rng": 1, "gap_tol": 1e-6}
    dense = admm_relu(X, y, **kw)
    memory(_admm_data.memory_needed(700, 6, 60, 1, "conic", 8) + 500_000)  # order 360 takes 2 MB
    sparse = admm_relu(X, y, **kw)
    assert sparse.x.tobytes() != dense.x.tobytes()
    assert sparse.fun == pytest.approx(dense.fun, rel=2e-6)


def test_the_preconditioner_is_foreseen(memory):
    """Conjugate gradients hold a d x d factor for each gate, which was not counted."""
    n, d, gates = 300, 400, 20
    itemsize = 8
    without = _admm_data.memory_needed(n, d, gates, 1, "gated", itemsize)
    memory(without + n * n * itemsize // 2)
    with pytest.raises(MemoryError, match=r"gates=\d+ would fit"):
        _admm_data.largest_system(n, d, gates, 1, "gated", itemsize)
    memory(without + gates * d * d * itemsize + 10**6)
    assert _admm_data.largest_system(n, d, gates, 1, "gated", itemsize) > n


def test_estimators_and_generation_foresee_it_too(memory):
    X, y = problem(2000, 3)
    memory(100_000)
    with pytest.raises(MemoryError):
        admm_relu(X, y, beta=1.0, gates="generate", rng=1)
    with pytest.raises(MemoryError):
        admm_relu_path(X, y, [1.0], rng=1)
    pytest.importorskip("sklearn")
    from fastopt.sklearn import ConvexReLURegressor

    with pytest.raises(MemoryError):
        ConvexReLURegressor().fit(X, y)


def test_memory_of_a_container(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 300\n")
    assert _memory._container_memory(str(tmp_path)) == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert _memory._container_memory(str(tmp_path)) == 2**62
    assert _memory._container_memory(str(tmp_path / "none")) == 2**62
    assert 0 < _memory.available_memory() < 2**62
