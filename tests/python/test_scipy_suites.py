"""SciPy's own test modules run against fastopt, by the plugin in scipy_suites/."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import scipy

pytestmark = [
    pytest.mark.skipif(find_spec("scipy.optimize.tests") is None, reason="a SciPy without tests"),
    pytest.mark.skipif(
        tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 17),
        reason="the lists of tests were made for SciPy 1.17",
    ),
]
HERE = Path(__file__).parent

# How many tests of each module pass at least: a module that SciPy empties shows.
LEAST = {
    "test_minimize_constrained": 50,
    "test__differential_evolution": 25,
    "test_optimize": 25,
}


def run_suite(*arguments, **environment):
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "scipy_suites.plugin",
         "-p", "no:cacheprovider", "--tb=short", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip


@pytest.mark.slow_under_asan
@pytest.mark.parametrize("module", LEAST)
def test_scipys_own_tests_pass(module):
    done = run_suite("--pyargs", f"scipy.optimize.tests.{module}")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= LEAST[module], done.stdout[-500:]
    assert "failed" not in done.stdout.splitlines()[-1]


def test_the_plugin_notices_a_swap_that_was_not_used():
    """Without the stand-ins SciPy's tests pass by SciPy's own solvers: that must be a failure."""
    suite = "scipy.optimize.tests.test_minimize_constrained"
    done = run_suite(
        "--pyargs", suite, "-k", "test_no_constraints", FASTOPT_SUITES_WITHOUT_STAND_INS="1"
    )
    assert done.returncode == 1
    assert "never called fastopt" in done.stdout
