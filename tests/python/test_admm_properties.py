"""admm_relu on generated problems: what must hold for every one, degenerate ones included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastopt import _cpu, admm_relu

LOSSES = ("squared", "logistic", "softmax", "hinge", "squared_hinge", "huber", "quantile")
MARGIN = ("logistic", "hinge", "squared_hinge")
ROBUST = ("squared", *MARGIN)
PARAMETER = {"huber": 1.35, "quantile": 0.5}

FEW = settings(max_examples=40)
ENTRIES = st.sampled_from([0.0, 0.0, 1.0, -1.0, 0.5, -2.0, 3.0, 1e-3])  # ties and zeros on purpose


@st.composite
def problems(draw, losses=LOSSES, methods=("conic",)):
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    loss = draw(st.sampled_from(losses))
    grid = st.lists(ENTRIES, min_size=n * d, max_size=n * d)
    X = np.array(draw(grid)).reshape(n, d)
    if draw(st.booleans()):
        X += np.random.default_rng(draw(st.integers(0, 9))).standard_normal((n, d))
    X *= 10.0 ** draw(st.integers(-3, 3))
    if draw(st.booleans()):
        X[n // 2 :] = X[: n - n // 2]  # duplicate rows
    c = draw(st.integers(1, 2))
    if loss == "softmax":
        y = np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
        y[0] = 2
    else:
        values = st.sampled_from([-1.0, 1.0]) if loss in MARGIN else ENTRIES
        y = np.array(draw(st.lists(values, min_size=n * c, max_size=n * c))).reshape(n, c)
        y = y[:, 0] if c == 1 else y
    kw = {
        "loss": loss,
        "method": draw(st.sampled_from(methods)),
        "fit_intercept": draw(st.booleans()),
        "standardize": draw(st.booleans()),
        "gates": draw(st.integers(1, 6)),
        "beta": 10.0 ** draw(st.integers(-3, 2)),
        "rng": draw(st.integers(0, 3)),
        "maxiter": 3000,
    }
    if draw(st.booleans()):
        weights = st.lists(st.sampled_from([0.0, 0.5, 1.0, 4.0]), min_size=n, max_size=n)
        kw["sample_weight"] = np.array(draw(weights)) + (0.5 if n == 1 else 0)
        kw["sample_weight"][0] += 0.25
    return X, y, kw


def program_of(X, y, r, kw, radius=None):
    """The program that `r` solves, from the formulas: scaled design, patterns, targets."""
    s = kw.get("sample_weight")
    keep = np.ones(len(X), bool) if s is None else s > 0
    A, t, s = X[keep], y[keep], None if s is None else s[keep]
    mean, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
    if kw["standardize"]:
        mean = np.average(A, axis=0, weights=s)
        scale = np.sqrt(np.average((A - mean) ** 2, axis=0, weights=s))
        scale[scale <= 10 * np.finfo(float).eps * np.abs(mean)] = 1
        mean = mean if kw["fit_intercept"] else 0 * mean
    A = (A - mean) / scale
    if kw["fit_intercept"]:
        A = np.column_stack([A, np.ones(len(A))])
    Y = np.eye(y.max() + 1)[t] if kw["loss"] == "softmax" else t.reshape(len(A), -1)
    D = _cpu.gate_patterns(np.ascontiguousarray(A), r.gates)
    return _cpu.ReluProgram(
        np.ascontiguousarray(A),
        D,
        np.ascontiguousarray(Y.T, dtype=float),
        s,
        kw["loss"],
        PARAMETER.get(kw["loss"], 1.0),
        radius=radius,
    )


def check(X, y, kw, gap_tol):
    r = admm_relu(X, y, **kw)
    assert np.isfinite(r.fun) and r.dual_fun <= r.fun
    assert r.constr_violation <= 1e-10
    assert np.isfinite(r.x).all() and np.isfinite(r.predict(X)).all()
    if r.success:
        assert r.status == 0 and r.relative_gap <= gap_tol
    return r


@FEW
@given(problems(methods=("conic", "admm")))
def test_value_bound_and_network_agree(problem):
    X, y, kw = problem
    r = check(X, y, kw, 1e-2 if kw["method"] == "admm" else 1e-4)
    program = program_of(X, y, r, kw)
    scale = 1 + abs(r.fun)
    assert program.objective(r.x, kw["beta"]) == pytest.approx(r.fun, abs=1e-9 * scale)
    keep = np.ones(len(X), bool) if "sample_weight" not in kw else kw["sample_weight"] > 0
    predictions = np.ascontiguousarray(r.predict(X[keep]).reshape(keep.sum(), -1).T)
    value = program.loss(predictions) + kw["beta"] * r.penalty
    assert value == pytest.approx(r.fun, abs=1e-8 * scale)
    random = np.random.default_rng(0)
    for size in (1e-2, 1.0, 1e2):  # the bound holds for any feasible weights
        v = program.make_feasible(r.x + size * random.standard_normal(r.x.size))
        assert program.violation(v) <= 1e-10
        assert program.objective(v, kw["beta"]) >= r.dual_fun - 1e-10 * scale


@FEW
@given(problems(methods=("gated", "scp")))
def test_other_methods_are_certified_too(problem):
    X, y, kw = problem
    check(X, y, kw, 1e-4)


@FEW
@given(problems(losses=ROBUST), st.sampled_from([1e-3, 0.1, 0.5]))
def test_robust_value_and_bound(problem, eps):
    X, y, kw = problem
    y = y if y.ndim == 1 else y[:, 0]
    eps = eps * (1e-9 + np.abs(X).max(axis=0))
    r = check(X, y, {**kw, "robust_eps": eps}, 1e-4)
    plain = admm_relu(X, y, **{**kw, "gates": r.gates})
    assert r.fun >= plain.dual_fun * (1 - 1e-9)  # an adversary helps nobody
    moved = X + eps * np.random.default_rng(0).choice([-1, 1], X.shape)
    keep = np.ones(len(X), bool) if "sample_weight" not in kw else kw["sample_weight"] > 0
    predictions = np.ascontiguousarray(r.predict(moved[keep])[None])
    loss = program_of(X, y, r, kw).loss(predictions)
    assert loss + kw["beta"] * r.penalty <= r.fun + 1e-8 * (1 + abs(r.fun))


@FEW
@given(problems(), st.randoms(use_true_random=False))
def test_order_of_samples_and_threads(problem, random):
    X, y, kw = problem
    one = admm_relu(X, y, threads=1, **kw)
    many = admm_relu(X, y, threads=3, **kw)
    assert one.x.tobytes() == many.x.tobytes() and one.fun == many.fun
    assert one.dual_fun == many.dual_fun
    order = list(range(len(X)))
    random.shuffle(order)
    moved = {**kw, "gates": one.gates}
    if "sample_weight" in kw:
        moved["sample_weight"] = kw["sample_weight"][order]
    other = admm_relu(X[order], y[order], **moved)
    slack = 1e-9 * (1 + abs(one.fun))
    assert other.dual_fun <= one.fun + slack and one.dual_fun <= other.fun + slack


@FEW
@given(problems(), st.randoms(use_true_random=False))
def test_order_of_features(problem, random):
    """The same program in other coordinates: each answer obeys the certificate of the other."""
    X, y, kw = problem
    one = admm_relu(X, y, **kw)
    order = list(range(X.shape[1]))
    random.shuffle(order)
    columns = [*order, *range(len(order), one.gates.shape[1])]  # the intercept's comes last
    gates = one.gates[:, columns]
    other = admm_relu(X[:, order], y, **{**kw, "gates": gates})
    slack = 1e-9 * (1 + abs(one.fun))
    assert other.dual_fun <= one.fun + slack and one.dual_fun <= other.fun + slack
    moved = one.x.reshape(-1, gates.shape[1])[:, columns].ravel()
    program = program_of(X[:, order], y, other, kw)
    assert program.violation(moved) <= 1e-9
    assert program.objective(moved, kw["beta"]) == pytest.approx(one.fun, abs=slack)


@FEW
@given(problems(methods=("conic", "admm", "gated", "scp")))
def test_the_best_value_never_rises_and_the_bound_never_falls(problem):
    X, y, kw = problem
    seen = []
    result = admm_relu(X, y, record_history=True, callback=lambda intermediate_result: seen.append(
        intermediate_result.fun), **{**kw, "maxiter": 60})  # fmt: skip
    fun, dual = result.history["fun"], result.history["dual_fun"]
    assert (np.diff(fun) <= 0).all() and (np.diff(seen) <= 0).all()
    assert (np.diff(dual) >= 0).all() and (fun >= dual).all()
    assert result.fun <= np.min(fun, initial=np.inf)


@FEW
@given(problems(), st.integers(1, 40))
def test_cut_short_it_is_still_right(problem, maxiter):
    X, y, kw = problem
    full = admm_relu(X, y, **kw)
    cut = admm_relu(X, y, **{**kw, "maxiter": maxiter})
    assert cut.nit <= maxiter and cut.constr_violation <= 1e-10
    slack = 1e-9 * (1 + abs(full.fun))
    assert cut.dual_fun <= full.fun + slack and cut.fun >= full.dual_fun - slack
    assert cut.success == (cut.relative_gap <= 1e-4)
