"""The scripts of the figures in docs/ draw what they say."""

import importlib.util
import json
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


def record(method, function, hits):
    return {"bench": "bbob", "method": method, "function": function, "dim": 3, "instance": 1,
            "seed": 0, "hits": hits}  # fmt: skip


RUNS = [
    record("a", 1, [1, 2, 3, 4, 40, 60, 80]),
    record("a", 2, [5, 9]),
    record("b", 1, [1, 2, 3, 4, 20]),
    record("b", 2, [1, 2, 3, 4, 5, 6, 160]),
]


def test_every_figure_is_written_and_the_documents_show_it(figures, tmp_path):
    records = tmp_path / "runs.jsonl"
    records.write_text("".join(f"{json.dumps(run)}\n" for run in RUNS))
    written = figures.draw(tmp_path, records)
    assert {path.stem for path in written} == {"cbo", "admm_relu", "sketch_newton", "bbob"}
    for path in written:
        assert path.stat().st_size > 10_000 and "</svg>" in path.read_text("utf-8")
    text = "".join(page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md"))
    shown = set(re.findall(r"\(figures/(\w+)\.svg\)", text))
    assert shown == {path.stem for path in written} - {"bbob"}


def test_profiles_count_what_was_reached(figures):
    assert figures.evaluations(RUNS, 1e-3) == {"a": [40, float("inf")], "b": [20, 5]}
    drawn = figures.bbob(RUNS)
    left, middle, right = drawn.axes
    ends = {one.get_label(): one.get_ydata()[-1] for one in left.get_lines()}
    assert ends == {"a": 0.5, "b": 1.0}
    (b,) = [one for one in middle.get_lines() if one.get_label() == "b"]
    assert 160 / 4 in b.get_xdata() and b.get_ydata()[-1] == 0.5
    assert right.get_xscale() == "log"


def test_a_missing_run_is_named(figures):
    with pytest.raises(SystemExit, match="b has no run"):
        figures.evaluations(RUNS[:3], 1e-8)
