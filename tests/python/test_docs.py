"""The code in README runs as it stands, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.is_file(), reason="needs the source tree")


def blocks():
    if not README.is_file():
        return []
    return re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_there_is_a_block_for_each_solver():
    for solver in ("cbo", "admm_relu", "sketch_newton"):
        assert sum(f"import {solver}\n" in block for block in blocks()) == 1


@pytest.mark.parametrize("block", blocks())
def test_a_block_runs(block):
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target
