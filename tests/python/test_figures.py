"""The scripts of the figures in docs/ draw what they say."""

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "bench" / "_figures.py"

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the source tree")


@pytest.fixture(scope="module")
def figures():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        spec = importlib.util.spec_from_file_location("figures_of_docs", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return module


RUNS = {"a": [[40, None], [80, None]], "b": [[20, 5], [None, 160]]}  # to 1e-3, to 1e-8


@pytest.fixture(scope="module")
def records(figures):
    extra = {"functions": [1, 2], "instances": [1], "seeds": 1, "budget": 500}
    runs = [
        figures.Record("bbob", "3-D, separable f1-f5", name, extra={
            **extra, "evaluations to 0.001": loose, "evaluations to 1e-08": tight})
        for name, (loose, tight) in RUNS.items()
    ]  # fmt: skip
    steps = [
        figures.Record("cbo_speed", "anisotropic", name, times=times, extra={"moved": 1000})
        for name, times in {"ours": [1e-6, 2e-6, 3e-6], "theirs": [2e-5]}.items()
    ]
    return runs + steps


def test_every_figure_is_written_and_the_documents_show_it(figures, records, tmp_path):
    written = figures.draw(tmp_path, records)
    names = {path.stem for path in written}
    assert names == {"cbo", "admm_relu", "sketch_newton", "bbob", "speed"}
    for path in written:
        assert path.stat().st_size > 10_000 and "</svg>" in path.read_text("utf-8")
    text = "".join(page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md"))
    assert set(re.findall(r"\(figures/(\w+)\.svg\)", text)) == names


def test_the_site_has_the_records_of_its_figures(figures):
    tables = {one.table for one in figures.read(figures.RECORDS.glob("*.jsonl"))}
    assert set(figures.COMPARISONS) <= tables


def test_profiles_count_what_was_reached(figures, records):
    runs = records[:2]
    assert figures.evaluations(runs, 1e-3) == {"a": [40, float("inf")], "b": [20, 5]}
    assert figures.dimensions(runs) == [3, 3]
    drawn = figures.bbob(runs)
    left, middle, right = drawn.axes
    ends = {one.get_label(): one.get_ydata()[-1] for one in left.get_lines()}
    assert ends == {"a": 0.5, "b": 1.0}
    (b,) = [one for one in middle.get_lines() if one.get_label() == "b"]
    assert 160 / 4 in b.get_xdata() and b.get_ydata()[-1] == 0.5
    assert right.get_xscale() == "log"


def test_bars_are_medians_in_nanoseconds(figures, records):
    (axes,) = figures.speed(records[2:]).axes
    widths = [bar.get_width() for bars in axes.containers for bar in getattr(bars, "patches", [])]
    assert widths == pytest.approx([2, 20])


def test_a_missing_run_is_named(figures, records):
    other = dataclasses.replace(records[0], row="3-D, moderate f6-f9")
    with pytest.raises(SystemExit, match="b has no run of 3-D, moderate"):
        figures.evaluations([*records[:2], other], 1e-8)
