"""The demo of sketch_newton: right answers, honest failures, and a figure that shows the runs."""

import dataclasses
import json

import numpy as np
import pytest

from fastopt import _demo_newton as demo

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def table():
    problems = demo.breast_cancer(), demo.a9a_like(1, rows=2000)
    solvers = demo.OURS, demo.TRUST
    return [demo.Row(p, {s: demo.solve(p, s) for s in solvers}) for p in problems]


def test_the_problems_are_what_they_claim():
    cancer = demo.breast_cancer()
    A = cancer.model.A
    assert A.shape == (569, 30) and np.allclose(A.mean(axis=0), 0) and np.allclose(A.std(axis=0), 1)
    np.testing.assert_array_equal(cancer.C[1], 1)
    a9a = demo.a9a_like(0)
    A = a9a.model.A
    assert A.shape == (32561, 123) and set(A.sum(axis=1)) == {14.0}
    group = A[:, [sum(demo.A9A_LEVELS[: demo.A9A_GROUPS])]].toarray().ravel() == 1
    assert 0 < group.sum() < len(group)
    x = np.random.default_rng(0).standard_normal(123)
    scores = A @ x
    assert a9a.C[-1] @ x == pytest.approx(scores[group].mean() - scores[~group].mean())
    assert np.mean(a9a.model.y > 0) == pytest.approx(0.24, abs=1e-3)


def test_answers_hold_in_numpy(table):
    for row in table:
        ours = row.runs[demo.OURS]
        assert ours.success and ours.reached
        assert ours.trace[0][1] > 1e-3 and ours.trace[-1][1] == max(ours.kkt, ours.violation)
        assert len(ours.trace) == ours.nit + 1
        times = [when for when, _ in ours.trace]
        assert times == sorted(times) and times[-1] <= ours.seconds
    x = demo.SOLVERS[demo.OURS](table[0].problem, lambda xk: None).x
    A, y = table[0].problem.model.A, table[0].problem.model.y
    p = 1 / (1 + np.exp(y * (A @ x)))
    gradient = -A.T @ (y * p) / len(y) + 1e-3 * x
    rest = np.linalg.lstsq(table[0].problem.C.T, gradient, rcond=None)[1]
    assert rest.sum() < demo.TOL**2 and abs(x.sum()) < demo.TOL


def test_text_and_json(table):
    text = demo.text(table)
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "breast_cancer: 569 x 30, 2 equalities" in text and "trust-constr" in text
    record = json.loads(json.dumps(demo.as_dict(table)))
    assert [p["problem"] for p in record["problems"]] == ["breast_cancer", "a9a-sized"]
    assert record["problems"][0]["runs"][demo.OURS]["reached"] is True


def test_failures_speak_up(table):
    ours, theirs = table[0].runs[demo.OURS], table[0].runs[demo.TRUST]

    def reasons(**changed):
        runs = {demo.OURS: dataclasses.replace(ours, **changed), demo.TRUST: theirs}
        return " ".join(demo.failures([demo.Row(table[0].problem, runs)]))

    assert "KKT 1.0e-06" in reasons(kkt=1e-6)
    assert "sketch_newton ended" in reasons(success=False)
    assert "faster" in reasons(seconds=theirs.seconds + 1)
    assert "lower minimum" in reasons(fun=theirs.fun + 1)
    assert reasons(seconds=0.0) == ""


def test_a_run_that_takes_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr(demo, "LIMIT", 0.0)
    one = demo.solve(demo.breast_cancer(), demo.SLSQP)
    assert not one.success and one.nit == 1 and not one.reached


def test_quick_leaves_out_one_run(monkeypatch):
    asked = []
    monkeypatch.setattr(demo, "solve", lambda problem, solver: asked.append((problem.name, solver)))
    demo.run(0, quick=True)
    assert len(asked) == 5 and ("a9a-sized", demo.SLSQP) not in asked
    asked.clear()
    demo.run(0, quick=False)
    assert len(asked) == 6


def test_the_figure_shows_the_runs(table):
    pytest.importorskip("matplotlib")
    fig = demo.figure(table)
    panels = fig.get_axes()
    assert len(panels) == 2
    for axes, row in zip(panels, table, strict=True):
        assert axes.get_xscale() == axes.get_yscale() == "log"
        assert row.problem.name in axes.get_title()
        lines = {line.get_label(): line for line in axes.get_lines()}
        for solver, one in row.runs.items():
            drawn = lines[solver].get_xydata()
            assert len(drawn) == len(one.trace)
            np.testing.assert_allclose(drawn[1:, 0], [max(t, 1e-4) for t, _ in one.trace[1:]])
            np.testing.assert_allclose(drawn[:, 1], [max(r, 1e-17) for _, r in one.trace])
    assert {t.get_text() for t in panels[0].get_legend().get_texts()} == {demo.OURS, demo.TRUST}
    fig.canvas.draw()
