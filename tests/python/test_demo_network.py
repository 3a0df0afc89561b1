"""The network demo: what it measures, says, claims and draws."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fastopt import _demo_network as demo


@pytest.fixture(scope="module")
def table():
    return demo.run(seed=0, quick=True)


def test_quick_run_holds_its_claims(table):
    assert demo.failures(table) == []
    assert 0 <= table.ours.gap <= demo.QUICK_GAP
    assert table.ours.bound <= table.ours.objective
    assert table.ours.test_accuracy >= demo.QUICK_ACCURACY
    assert table.n_train + table.n_test == 1797 and len(table.peers) == 1
    assert table.history["fun"][-1] == table.ours.objective


def test_text_and_json(table):
    text = demo.text(table)
    assert max(map(len, text.splitlines())) <= 100
    assert f"{table.ours.test_accuracy:.4f}" in text and "MLPClassifier, seed 0" in text
    back = json.loads(json.dumps(demo.as_dict(table), allow_nan=False))
    assert back["fits"][0]["solver"] == "fastopt admm_relu"
    assert back["fits"][1]["bound"] is None and back["failures"] == []
    assert back["fits"][0]["gap"] == table.ours.gap


def test_failures_name_what_is_wrong(table):
    worse = dataclasses.replace(table.ours, gap=0.5, test_accuracy=0.3)
    reasons = demo.failures(dataclasses.replace(table, ours=worse, violation=1.0))
    assert len(reasons) == 3 and "gap" in reasons[0] and "cones" in reasons[1]
    reasons = demo.failures(dataclasses.replace(table, quick=False, ours=worse))
    assert any("below MLPClassifier" in reason for reason in reasons)
    none = dataclasses.replace(table.ours, gap=math.nan)
    assert "gap" in demo.failures(dataclasses.replace(table, ours=none))[0]


def test_figure_draws_objective_bound_and_gap(table):
    pytest.importorskip("matplotlib")
    fig = demo.figure(table)
    values, gaps = fig.axes
    lines = {line.get_label(): line for line in values.lines}
    np.testing.assert_array_equal(lines["objective"].get_ydata(), table.history["fun"])
    np.testing.assert_array_equal(lines["objective"].get_xdata(), table.history["time"])
    bound = lines["bound"].get_ydata()
    assert bound[-1] == table.ours.bound and (bound > 0).all()
    gap, wanted = gaps.lines
    assert gap.get_ydata()[-1] == pytest.approx(table.ours.gap)
    assert set(wanted.get_ydata()) == {demo.QUICK_GAP}
    assert values.get_yscale() == gaps.get_yscale() == "log"
    assert {t.get_text() for t in values.get_legend().get_texts()} == {"objective", "bound"}
    picture = io.BytesIO()
    fig.savefig(picture, format="png")
    assert len(picture.getvalue()) > 10_000
    pixels = np.asarray(__import__("matplotlib.image").image.imread(io.BytesIO(picture.getvalue())))
    for colour in ((31, 119, 180), (44, 160, 44)):  # both curves are on the picture
        assert (np.abs(255 * pixels[..., :3] - colour).max(axis=-1) < 2).sum() > 100
