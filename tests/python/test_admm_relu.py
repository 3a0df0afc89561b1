"""admm_relu: invariants, certificates, methods, callbacks, bad input."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from fastopt import _cpu, admm_relu, admm_relu_path

ALL_LOSSES = ("squared", "logistic", "softmax", "hinge", "squared_hinge", "huber", "quantile")


def teacher(n=120, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, 5)), 0) @ rng.standard_normal(5)
    return X, y + 0.1 * rng.standard_normal(n)


def labels(y):
    return np.where(y > np.median(y), 1.0, -1.0)


def for_loss(loss, y):
    if loss == "softmax":
        return np.digitize(y, np.quantile(y, [0.3, 0.7]))
    return labels(y) if loss in ("logistic", "hinge", "squared_hinge") else y


# ---- the network is the program --------------------------------------------------------------


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_network_value_is_program_value(loss):
    X, y = teacher()
    t = for_loss(loss, y)
    r = admm_relu(X, t, loss=loss, beta=0.5, gates=15, rng=1, gap_tol=1e-3)
    f = r.predict(X)
    c = r.W2.shape[0]
    data = np.zeros((1, len(X)))
    Y = np.eye(3)[t].T if loss == "softmax" else t[None]
    parameter = {"huber": 1.35, "quantile": 0.5}.get(loss, 1.0)
    program = _cpu.ReluProgram(X, data + 1, np.ascontiguousarray(Y), None, loss, parameter)
    value = program.loss(np.ascontiguousarray(f.T.reshape(c, -1)))
    penalty = 0.5 * ((r.W1**2).sum() + (r.b1**2).sum() + (r.W2**2).sum())
    assert value + 0.5 * penalty == pytest.approx(r.fun, rel=1e-9)
    assert np.count_nonzero(r.W2, axis=0).max() == 1
    assert r.n_neurons == len(r.b1) > 0


def test_standardized_network_takes_raw_inputs():
    X, y = teacher()
    raw = X * [1, 10, 100, 0.1] + [5, -3, 0, 2]
    scaled = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    a = admm_relu(raw, y, beta=0.3, gates=10, standardize=True, rng=1)
    b = admm_relu(scaled, y, beta=0.3, gates=10, rng=1)
    assert a.fun == pytest.approx(b.fun, rel=1e-9)
    np.testing.assert_allclose(a.predict(raw), b.predict(scaled), atol=1e-7)


@pytest.mark.parametrize("power", [-8, 5])
def test_scaling_x_and_y_changes_no_iteration(power):
    X, y = teacher()
    s = 2.0**power
    one = admm_relu(X, y, beta=0.3, gates=12, fit_intercept=False, rng=1)
    wide = admm_relu(s * X, y, beta=s * 0.3, gates=12, fit_intercept=False, rng=1)
    tall = admm_relu(X, s * y, beta=s * 0.3, gates=12, fit_intercept=False, rng=1)
    assert one.nit == wide.nit == tall.nit
    assert wide.fun == pytest.approx(one.fun, rel=1e-12)
    assert tall.fun == pytest.approx(s * s * one.fun, rel=1e-12)


def test_permuting_samples_leaves_the_optimum():
    X, y = teacher()
    one = admm_relu(X, y, beta=0.3, gates=12, rng=1, gap_tol=1e-8)
    p = np.random.default_rng(0).permutation(len(X))
    other = admm_relu(X[p], y[p], beta=0.3, gates=one.gates, gap_tol=1e-8)
    assert other.fun == pytest.approx(one.fun, rel=2e-8)


@pytest.mark.parametrize("method", ["conic", "admm", "gated", "scp"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_same_bits_for_any_number_of_threads(method, dtype):
    X, y = teacher(700, 6)
    runs = [
        admm_relu(
            X, y, beta=1.0, gates=40, method=method, rng=1, threads=t, dtype=dtype, maxiter=60
        )
        for t in (1, 2, 4)
    ]
    assert len({r.x.tobytes() for r in runs}) == 1
    assert len({(r.fun, r.dual_fun, r.nit) for r in runs}) == 1


def test_callback_and_history_change_no_bit():
    X, y = teacher()
    plain = admm_relu(X, y, beta=0.3, gates=12, rng=1)
    seen = []
    told = admm_relu(
        X,
        y,
        beta=0.3,
        gates=12,
        rng=1,
        record_history=True,
        callback=lambda intermediate_result: seen.append(intermediate_result) and None,
    )
    assert told.fun <= plain.fun * (1 + 1e-9)
    assert told.nit == plain.nit == len(seen)
    funs = [one.fun for one in seen]
    assert funs == sorted(funs, reverse=True)
    h = told.history
    assert {len(v) for v in h.values()} == {len(h["fun"])}
    assert (h["dual_fun"] <= h["fun"] * (1 + 1e-12)).all()


# ---- duality ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_weak_duality_at_random_points(loss):
    X, y = teacher(40, 3)
    Y = np.eye(3)[for_loss(loss, y)].T.copy() if loss == "softmax" else for_loss(loss, y)[None]
    rng = np.random.default_rng(1)
    gates = _cpu.sample_gates(X, 8, 1, 2)
    s = rng.uniform(0.5, 2, len(X))
    p = _cpu.ReluProgram(X, _cpu.gate_patterns(X, gates), Y, s, loss, 0.4)
    size = 2 * len(Y) * len(gates) * 3
    for _ in range(20):
        z = 2 * rng.standard_normal(Y.shape)
        t = p.gradient(z)
        # Fenchel-Young: equality at a gradient, inequality elsewhere
        assert p.loss(z) + p.conjugate(t) == pytest.approx((t * z).sum(), rel=1e-9, abs=1e-9)
        other = 2 * rng.standard_normal(Y.shape)
        assert p.loss(other) + p.conjugate(t) >= (t * other).sum() - 1e-9
        v = p.make_feasible(rng.standard_normal(size))
        assert p.violation(v) <= 1e-10
        assert p.dual(t, 0.7) <= p.objective(v, 0.7) + 1e-9
        assert p.dual_norm(0.5 * t) == pytest.approx(0.5 * p.dual_norm(t), rel=1e-9)


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize("rho", [0.03, 1.0, 40.0])
def test_prox_is_optimal(loss, rho):
    _, y = teacher(60, 3)
    Y = np.eye(3)[for_loss(loss, y)].T.copy() if loss == "softmax" else for_loss(loss, y)[None]
    p = _cpu.ReluProgram(np.ones((60, 1)), np.ones((1, 60)), Y, None, loss, 0.4)
    rng = np.random.default_rng(2)
    r = 3 * rng.standard_normal(Y.shape)
    z = p.prox(r, rho)
    best = p.loss(z) + rho / 2 * ((z - r) ** 2).sum()
    for scale in (1e-1, 1e-3, 1e-5):
        other = z + scale * rng.standard_normal(z.shape)
        assert p.loss(other) + rho / 2 * ((other - r) ** 2).sum() >= best - 1e-12 * abs(best)
    t = rho * (r - z)  # in dL(z): equality in Fenchel-Young
    assert p.loss(z) + p.conjugate(t) == pytest.approx((t * z).sum(), rel=1e-8, abs=1e-7)


def test_projection_agrees_with_nonnegative_least_squares():
    from scipy.optimize import nnls

    rng = np.random.default_rng(3)
    for n, d in ((30, 4), (200, 10), (50, 70)):
        X = rng.standard_normal((n, d))
        gates = rng.standard_normal((1, d))
        D = _cpu.gate_patterns(X, gates)
        p = _cpu.ReluProgram(X, D, np.ones((1, n)))
        r = rng.standard_normal(2 * d)
        v = p.make_feasible(r)
        N = (2 * D[0] - 1)[:, None] * X
        for part in (slice(0, d), slice(d, 2 * d)):
            mu, _ = nnls(N.T, -r[part], maxiter=100 * n)
            np.testing.assert_allclose(v[part], r[part] + N.T @ mu, atol=1e-9)


def test_tight_gap():
    X, y = teacher(300, 5)
    r = admm_relu(X, y, beta=0.5, gates=30, gap_tol=1e-9, rng=0)
    assert r.success and 0 <= r.relative_gap <= 1e-9 and r.constr_violation <= 1e-10


# ---- methods ---------------------------------------------------------------------------------


def test_forms_of_the_linear_system_agree():
    X, y = teacher(60, 4)
    tall = admm_relu(X, y, beta=0.3, gates=5, rng=1, gap_tol=1e-8)  # d P < n
    D = _cpu.gate_patterns(np.column_stack([X, np.ones(60)]), tall.gates)
    program = _cpu.ReluProgram(np.column_stack([X, np.ones(60)]), D, y[None].copy())
    options = _cpu.AdmmOptions()
    options.gap_tol, options.max_dense = 1e-8, 3  # conjugate gradients
    r = program.solve("splitting", 0.3, "float64", options)
    assert r["cg_iterations"] > 0
    assert r["fun"] == pytest.approx(tall.fun, rel=3e-8)


def test_gated_predicts_with_fixed_gates():
    X, y = teacher()
    r = admm_relu(X, y, beta=0.2, gates=10, method="gated", rng=1, gap_tol=1e-8)
    X1 = np.column_stack([X, np.ones(len(X))])
    D = X1 @ r.gates.T >= 0
    f = (D * (X1 @ r.x.reshape(10, -1).T)).sum(axis=1)
    np.testing.assert_allclose(r.predict(X), f, atol=1e-10)
    value = 0.5 * ((f - y) ** 2).sum() + 0.2 * np.linalg.norm(r.x.reshape(10, -1), axis=1).sum()
    assert value == pytest.approx(r.fun, rel=1e-10)


def test_auto_says_what_it_did():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 110)), rng.standard_normal(80)
    assert admm_relu(X[:, :5], y, beta=5, gates=5, rng=1).method == "conic"
    r = admm_relu(X, y, beta=20, gates=5, rng=1)
    assert r.method == "admm+conic" and r.success and r.relative_gap <= 1e-4
    assert admm_relu(rng.standard_normal((30, 450)), y[:30], beta=5, gates=4).method == "admm"


def test_admm_is_quick_to_a_good_network():
    X, y = teacher(400, 5)
    zero = 0.5 * (y**2).sum()
    r = admm_relu(X, y, beta=0.5, gates=30, method="admm", maxiter=20, rng=1)
    best = admm_relu(X, y, beta=0.5, gates=r.gates)
    assert r.status == 1 and "Raise maxiter" in r.message
    assert best.fun * (1 - 1e-4) <= r.fun <= best.fun + 0.1 * (zero - best.fun)
    assert r.dual_fun <= best.fun and r.constr_violation <= 1e-10


def test_float32_iterates_with_a_float64_certificate():
    X, y = teacher(300, 5)
    a = admm_relu(X, y, beta=0.5, gates=30, rng=1, dtype="float32")
    b = admm_relu(X, y, beta=0.5, gates=30, rng=1, gap_tol=1e-8)
    assert a.success and a.dual_fun <= b.fun * (1 + 1e-12)
    assert a.fun == pytest.approx(b.fun, rel=1e-4) and a.fun >= b.fun * (1 - 1e-8)


def test_path_equals_single_runs():
    X, y = teacher()
    betas = [3.0, 0.3, 30.0, 1.0]
    path = admm_relu_path(X, y, betas, gates=15, rng=1, gap_tol=1e-8)
    assert path.success and list(path.betas) == betas
    for beta, one in zip(betas, path.results, strict=True):
        alone = admm_relu(X, y, beta=beta, gates=path.gates, gap_tol=1e-8)
        assert one.fun == pytest.approx(alone.fun, rel=2e-8)
        assert one.beta == beta


def test_warm_start_from_the_answer_takes_no_iteration():
    X, y = teacher()
    r = admm_relu(X, y, beta=0.3, gates=12, rng=1, gap_tol=1e-8)
    again = admm_relu(X, y, beta=0.3, warm_start=r, gap_tol=1e-6)
    assert again.nit <= 20 and again.fun == pytest.approx(r.fun, rel=1e-7)


def test_generated_gates_lower_the_objective():
    X, y = teacher(80, 2, seed=3)
    r = admm_relu(X, y, beta=2.0, gates="generate", rng=1)
    g = r.generation
    assert g["exhausted"] and r.success and "evidence, not proof" in r.message
    assert (np.diff(g["fun"]) <= 1e-3 * g["fun"][:-1]).all()
    plain = admm_relu(X, y, beta=2.0, gates=32, rng=1)
    assert r.fun <= plain.fun * (1 + 1e-4)
    u = np.random.default_rng(0).standard_normal((3, 20000))  # no direction violates by much
    reach = np.abs(
        r.theta @ np.maximum(np.column_stack([X, np.ones(80)]) @ (u / np.linalg.norm(u, axis=0)), 0)
    )
    assert reach.max() <= 2.0 * 1.05


def test_result_survives_pickle():
    X, y = teacher()
    r = pickle.loads(pickle.dumps(admm_relu(X, y, beta=1.0, gates=8, rng=1)))
    assert r.predict(X).shape == (len(X),)


def test_multi_output_shapes():
    X, y = teacher()
    r = admm_relu(X, np.column_stack([y, -y, y**2]), beta=1.0, gates=8, rng=1)
    assert r.predict(X).shape == (len(X), 3) and r.W2.shape == (3, r.n_neurons)
    assert admm_relu(X, y[:, None], beta=1.0, gates=8, rng=1).predict(X).shape == (len(X), 1)


def test_weights_equal_repeated_samples():
    X, y = teacher(30, 3)
    k = np.random.default_rng(0).integers(0, 4, 30)
    a = admm_relu(X, y, beta=0.5, gates=10, sample_weight=k, gap_tol=1e-9, rng=1)
    b = admm_relu(np.repeat(X, k, 0), np.repeat(y, k), beta=0.5, gates=a.gates, gap_tol=1e-9)
    assert a.fun == pytest.approx(b.fun, rel=1e-8)


# ---- stopping --------------------------------------------------------------------------------


def test_callback_stops_with_a_usable_network():
    X, y = teacher()
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)
        return len(seen) == 7

    r = admm_relu(X, y, beta=0.05, gates=12, rng=1, callback=callback)
    assert (r.status, r.success, r.nit) == (99, False, 7)
    assert r.message == "`callback` returned True."
    np.testing.assert_array_equal(seen[-1].predict(X), r.predict(X))
    short = admm_relu(X, y, beta=0.05, gates=12, rng=1, maxiter=7)
    assert r.fun == pytest.approx(short.fun, rel=0.5)

    def stop(xk):
        raise StopIteration

    r = admm_relu(X, y, beta=0.05, gates=12, rng=1, callback=stop)
    assert (r.status, r.message, r.nit) == (99, "`callback` raised `StopIteration`.", 1)


def test_exception_of_the_callback_comes_back():
    X, y = teacher()

    def callback(xk):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        admm_relu(X, y, beta=0.05, gates=12, callback=callback)


def test_limits_and_disp(capsys):
    X, y = teacher()
    r = admm_relu(X, y, beta=0.01, gates=30, gap_tol=1e-14, maxiter=3, rng=1, disp=True)
    assert (r.status, r.success, r.nit) == (1, False, 3)
    assert "objective" in capsys.readouterr().out
    r = admm_relu(X, y, beta=0.01, gates=30, gap_tol=1e-15, maxtime=1e-9, rng=1)
    assert r.status == 1 and "maxtime" in r.message


def test_published_splitting_is_no_success_far_from_the_optimum():
    """Small residuals alone said success at 2000 times the optimum."""
    X, y = teacher(30, 4)
    r = admm_relu(X, y, beta=1e-10, gates=12, method="admm", rng=1)
    best = admm_relu(X, y, beta=1e-10, gates=r.gates, gap_tol=1e-3)
    assert best.success
    assert r.relative_gap <= 1e-2 if r.success else r.status == 1
    assert r.fun <= best.fun * 1.02 or not r.success
    for loss in ("squared", "hinge"):
        zero = admm_relu(X, labels(y), loss=loss, beta=1e9, gates=5, method="admm", rng=1)
        assert zero.success and zero.n_neurons == 0 and zero.relative_gap <= 1e-12


def test_many_columns_have_a_bound():
    X, y = np.random.default_rng(0).standard_normal((30, 150)), np.arange(30.0)
    r = admm_relu(X, y, beta=50.0, gates=4, method="admm", rng=1)
    best = admm_relu(X, y, beta=50.0, gates=r.gates, method="conic")
    assert best.success and np.isfinite(r.dual_fun)
    assert r.dual_fun <= best.fun and r.dual_fun > 0


@pytest.mark.parametrize("method", ["conic", "gated", "scp"])
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_tiny_and_huge_data(method, scale):
    X, y = teacher(30, 4)
    kw = {"method": method, "fit_intercept": False, "gates": 12, "rng": 1}
    one, other = (admm_relu(s * X, y, beta=s * 0.1, **kw) for s in (1.0, scale))
    assert other.success and other.fun == pytest.approx(one.fun, rel=1e-9)


def test_path_keeps_to_its_time():
    X, y = teacher(300, 6)
    path = admm_relu_path(X, y, [1.0, 0.1, 1e-3], gates=30, rng=1, maxtime=1e-9, gap_tol=1e-14)
    assert len(path.results) == 1 and path.betas.tolist() == [1.0]
    assert not path.success and "Stopped after 1 of 3 values" in path.message


@pytest.mark.parametrize("order", ["F", "C"])
def test_arrays_of_any_layout(order):
    X, y = teacher(40, 4)
    want = admm_relu(X, y, beta=0.5, gates=8, rng=1)
    odd = np.asarray(X, order=order)
    odd.flags.writeable = False
    wide = np.zeros((40, 8))
    wide[:, ::2] = X
    for same in (odd, wide[:, ::2], X.tolist()):
        assert admm_relu(same, y, beta=0.5, gates=8, rng=1).x.tobytes() == want.x.tobytes()
    sparse = pytest.importorskip("scipy.sparse").csr_array(X)
    assert admm_relu(sparse, y, beta=0.5, gates=8, rng=1).x.tobytes() == want.x.tobytes()
    single = admm_relu(X.astype(np.float32), y.astype(np.float32), beta=0.5, gates=8, rng=1)
    assert single.fun == pytest.approx(want.fun, rel=1e-3)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_costs_less_than_half_a_second_of_work():
    """A thread works at most 0.5 s between signal and exception, however busy the machine.

    The signal is sent from the callback's first call: the run has begun, and cannot end by itself.
    """
    script = textwrap.dedent(
        """
        import os, signal, threading, time, numpy as np
        from fastopt import admm_relu
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((1500, 30)), rng.standard_normal(1500)
        began, last = [], []
        def interrupt():
            began.append(time.process_time())
            os.kill(os.getpid(), signal.SIGINT)
        def keep(intermediate_result):
            if not last:
                threading.Timer(0.2, interrupt).start()
            last[:] = [intermediate_result]
        try:
            admm_relu(X, y, beta=0.01, gates=100, gap_tol=1e-15, maxiter=10**6, callback=keep,
                      threads=2)
        except KeyboardInterrupt:
            print(time.process_time() - began[0], last[0].predict(X).shape[0])
        """
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    work, rows = run.stdout.split()
    assert rows == "1500" and float(work) <= 2 * 0.5


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_is_quick_and_leaves_the_partial_result():
    script = textwrap.dedent(
        """
        import time, numpy as np
        from fastopt import admm_relu
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((1500, 30)), rng.standard_normal(1500)
        last = []
        def keep(intermediate_result):
            last[:] = [intermediate_result]
            print("running", flush=True)
        try:
            admm_relu(X, y, beta=0.01, gates=100, gap_tol=1e-15, maxiter=10**6, callback=keep)
        except KeyboardInterrupt:
            print("stopped", last[0].predict(X).shape, flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, _ = process.communicate(timeout=60)
    assert out.endswith("stopped (1500,)\n")
    assert time.monotonic() - began < 20  # half a second, on a machine with nothing else to do


# ---- bad input -------------------------------------------------------------------------------

X0, Y0 = teacher(20, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": X0[:0]}, "at least one sample"),
        ({"X": X0[:, :0]}, "at least one sample and one feature"),
        ({"X": X0[0]}, "X must have 2 dimension"),
        ({"X": np.where(np.arange(60).reshape(20, 3) == 7, np.nan, X0)}, r"X\[2, 1\] is nan"),
        ({"y": np.where(np.arange(20) == 4, np.inf, Y0)}, r"y\[4\] is inf"),
        ({"y": Y0[:5]}, "same length; X has 20 rows, y has 5"),
        ({"y": np.array(["a"] * 20)}, "numbers"),
        ({"y": Y0, "loss": "hinge"}, "targets -1 and 1"),
        ({"y": np.zeros(20), "loss": "softmax"}, "two classes"),
        ({"y": Y0, "loss": "softmax"}, "class numbers"),
        ({"beta": 0.0}, "beta must be a number > 0"),
        ({"beta": -1.0}, "beta must be a number > 0"),
        ({"beta": np.nan}, "beta"),
        ({"gates": 0}, "gates must be an integer >= 1"),
        ({"gates": np.ones((4, 3))}, r"shape \(n_gates, 4\)"),
        ({"gates": np.zeros((2, 4))}, "no row may be zero"),
        ({"gates": np.full((2, 4), np.nan)}, "finite"),
        ({"gates": "sampled"}, "gates must be one of 'generate'"),
        ({"gates": "generate", "method": "gated"}, "needs method='conic'"),
        ({"loss": "squard"}, "Did you mean 'squared'"),
        ({"method": "conik"}, "Did you mean 'conic'"),
        ({"sample_weight": -np.ones(20)}, "must not be negative"),
        ({"sample_weight": np.ones(3)}, "must have 20 entries"),
        ({"sample_weight": np.zeros(20)}, "zero everywhere"),
        ({"tol": 0.0}, "tol must be"),
        ({"maxiter": 0}, "maxiter must be an integer"),
        ({"maxtime": -1}, "maxtime must be"),
        ({"rho": 0}, "rho must be"),
        ({"quantile": 1.0}, "quantile"),
        ({"dtype": "int8"}, "dtype must be"),
        ({"device": "tpu"}, "device must be"),
        ({"threads": 0}, "threads must be"),
        ({"warm_start": np.zeros(3)}, "warm_start must have"),
    ],
    ids=str,
)
def test_bad_input(change, message):
    arguments = {"X": X0, "y": Y0, "beta": 1.0, "gates": 5, **change}
    with pytest.raises(ValueError, match=message):
        admm_relu(arguments.pop("X"), arguments.pop("y"), **arguments)


def test_unknown_keyword():
    with pytest.raises(TypeError, match="maxiter"):
        admm_relu(X0, Y0, beta=1.0, max_iter=5)


def test_prediction_on_other_features():
    r = admm_relu(X0, Y0, beta=1.0, gates=5, rng=1)
    with pytest.raises(ValueError, match="trained on 3"):
        r.predict(X0[:, :2])


def test_memory_is_foreseen():
    X = np.broadcast_to(np.ones((1, 2)), (200_000, 2)) + np.arange(200_000)[:, None] * 1e-6
    with pytest.raises(MemoryError, match=r"gates=\d+ would"):
        admm_relu(
            X, X[:, 0], beta=1.0, gates=np.random.default_rng(0).standard_normal((300_000, 3))
        )


def test_auto_has_one_time_limit_for_both_of_its_methods(monkeypatch):
    from fastopt._admm_run import Engine

    limits, solve = [], Engine.solve

    def recorded(self, *args, **changed):
        limits.append(changed["maxtime"])
        return solve(self, *args, **changed)

    monkeypatch.setattr(Engine, "solve", recorded)
    X = np.random.default_rng(0).standard_normal((60, 120))
    r = admm_relu(X, X[:, 0], beta=1.0, gates=4, rng=1, maxtime=100.0)
    assert r.method == "admm+conic" and len(limits) == 2
    assert limits[1] < limits[0] <= 100.0


def test_defaults_of_core_and_python_agree():
    import inspect

    options, parameters = _cpu.AdmmOptions(), inspect.signature(admm_relu).parameters
    assert options.tol == options.gap_tol == parameters["tol"].default
    assert options.polish is parameters["polish"].default
    assert options.record_history is parameters["record_history"].default
    assert parameters["maxtime"].default is None and np.isinf(options.maxtime)
