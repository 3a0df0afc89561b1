"""The code in README and docs/ runs as it stands, and links lead somewhere."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))] if README.is_file() else []

pytestmark = pytest.mark.skipif(not PAGES, reason="needs the source tree")

# Libraries of the blocks that show what was before, or a face of ours: without them a block is
# skipped, and their own warnings are theirs.
FOREIGN = {"cbx", "cma", "cvxpy", "cyipopt", "jax", "matplotlib", "mpi4py", "numba", "scnn",
           "sklearn", "torch", "tqdm"}  # fmt: skip

# What blocks of a page take for granted.
DATA = """
import numpy as np
_rng = np.random.default_rng(0)
X = _rng.standard_normal((60, 3))
y = np.sign(X[:, 0] + X[:, 1] ** 2 - 1)
X_new = X[:5]
"""
GIVEN = {"admm_relu.md": DATA, "adversarial.md": DATA}


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def cases():
    """(page, number of the block, code that comes before it, the block).

    Blocks above the first second-level heading of a page are its preparation.
    """
    for page in PAGES:
        head = re.split(r"^## ", page.read_text("utf-8"), maxsplit=1, flags=re.MULTILINE)[0]
        prepared = "" if page == README else GIVEN.get(page.name, "")
        for number, block in enumerate(python_blocks(page)):
            yield pytest.param(page, prepared, block, id=f"{page.stem}-{number}")
            if f"```python\n{block}" in head:
                prepared += block


def test_there_is_a_block_for_each_solver():
    for solver in ("cbo", "admm_relu", "sketch_newton"):
        blocks = python_blocks(README)
        assert sum(f"import {solver}\n" in block for block in blocks) == 1


@pytest.mark.parametrize(("page", "prepared", "block"), list(cases()))
def test_a_block_runs(page, prepared, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a block may save a picture
    foreign = FOREIGN & set(re.findall(r"^(?:from|import) (\w+)", block, re.MULTILINE))
    for library in foreign:
        pytest.importorskip(library)
    try:
        with warnings.catch_warnings():
            if foreign:
                warnings.simplefilter("ignore")
            names: dict[str, object] = {"__name__": "page"}
            exec(compile(prepared, page.name, "exec"), names)
            exec(compile(block, page.name, "exec"), names)
    except ImportError as error:
        missing = re.search(r"pip install (\S+)$", str(error))
        assert missing and missing[1] in FOREIGN, error
        pytest.skip(f"needs {missing[1]}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        drawn = target.startswith("figures/")  # when the site is made: test_figures.py
        assert drawn or "://" in target or (page.parent / target).exists(), target


LAST_RESULTS = ROOT / "tests" / "last_results.py"


def last_results(*arguments):
    command = [sys.executable, LAST_RESULTS, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_tests_that_are_named_exist_and_have_results():
    done = last_results("--check")
    assert done.returncode == 0, done.stderr


CLAIMS = """`test_nowhere.py`
<!-- last results -->

| claim | of | shown by | last result |
|---|---|---|---|
| one | cbo | `test_docs.py::test_links_lead_to_files`, `test_api.py` | - |
| two | cbo | `test_fork.py`, job `ctest asan` | - |
| three | cbo | job `pytest`, job `wheels` | 7 passed |
| four | cbo | `test_leaks.py` | 9 passed |

<!-- end -->
"""
JUNIT = """<testsuites><testsuite>
<testcase classname="tests.python.test_docs" name="test_links_lead_to_files[a]"/>
<testcase classname="tests.python.test_docs" name="test_links_lead_to_files[b]">
<skipped/></testcase>
<testcase classname="tests.python.test_docs" name="test_a_block_runs"/>
<testcase classname="tests.python.test_api" name="test_x"/>
<testcase classname="tests.python.test_fork" name="test_x"><failure/></testcase>
</testsuite></testsuites>"""
LOG = """pytest: ======== 5 passed, 1 skipped in 3.21s (0:00:03) =======
ctest asan: 100% tests passed, 0 tests failed out of 43
Python 3.11: a.whl: 9.2 MB: works
Python 3.12: b.whl: 9.2 MB: works
"""


def test_results_are_made_of_what_a_run_says(tmp_path):
    page, junit, log = tmp_path / "page.md", tmp_path / "tests.xml", tmp_path / "log"
    page.write_text(CLAIMS), junit.write_text(JUNIT), log.write_text(LOG)
    done = last_results(junit, log, "--page", page)
    results = [line.split(" | ")[-1].rstrip(" |") for line in page.read_text().splitlines()[5:9]]
    assert results == [
        "2 passed, 1 skipped",
        "1 failed; 100% tests passed, 0 tests failed out of 43",
        "5 passed, 1 skipped; works on Python 3.11, 3.12",
        "9 passed",  # of which this run says nothing
    ]
    assert done.returncode == 1 and "there is no test_nowhere.py" in done.stderr
    assert "no result, or a failure: two" in done.stderr


TOOLS = ["differential_evolution", "dual_annealing", "CMA-ES", "CBXpy", "scnn", "cvxpy",
         "trust-constr", "SLSQP", "IPOPT"]  # fmt: skip


@pytest.mark.parametrize("tool", TOOLS)
def test_the_guide_shows_each_tool_before_and_after(tool):
    text = (ROOT / "docs" / "coming_from.md").read_text("utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = [one for one in section if one.startswith(f"{tool}\n")]
    before, after = found.split("After:")
    assert "Before" in before and before.count("```python") == after.count("```python") == 1
    assert "fastopt" not in before.split("```python")[1] and "fastopt" in after


@pytest.mark.parametrize("solver", ["cbo", "admm_relu", "sketch_newton"])
def test_a_page_says_when_not_to_use_the_solver(solver):
    text = (ROOT / "docs" / f"{solver}.md").read_text("utf-8")
    assert "\n## When not to use it\n" in text


def test_the_site_holds_every_page():
    """mkdocs.yml names each page of docs/, and the reference every public name."""
    import fastopt

    site = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in PAGES[1:]:
        assert f": {page.name}\n" in site, page.name
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    for name in {*fastopt.__all__, "plot", "sklearn", "torch", "jax"} - {"__version__"}:
        assert f"\n::: fastopt.{name}\n" in reference, name
