"""The examples in the docstrings and pages of admm_relu run."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(
    ("module", "names", "needs"),
    [
        ("fastopt._admm_relu", ["admm_relu", "admm_relu_path"], "numpy"),
        ("fastopt.sklearn", ["ConvexReLUClassifier", "ConvexReLURegressor"], "sklearn"),
        ("fastopt.torch", ["to_module"], "torch"),
    ],
)
def test_docstrings(module, names, needs):
    pytest.importorskip(needs)
    found = {
        test.name.rpartition(".")[2]: test
        for test in doctest.DocTestFinder().find(importlib.import_module(module))
        if test.examples
    }
    assert set(names) <= set(found)
    for test in found.values():
        assert doctest.DocTestRunner().run(test).failed == 0, test.name


def blocks():
    for page in ("admm_relu.md", "adversarial.md"):
        if (DOCS / page).is_file():
            text = (DOCS / page).read_text("utf-8")
            for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
                yield pytest.param(block, id=page)


@pytest.mark.skipif(not DOCS.is_dir(), reason="needs the source tree")
def test_there_are_blocks():
    assert {one.id for one in blocks()} >= {"admm_relu.md"}


@pytest.mark.parametrize("block", list(blocks()))
def test_a_block_runs(block):
    exec(compile(block, "docs", "exec"), {"__name__": "docs"})
