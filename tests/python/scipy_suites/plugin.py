"""A pytest plugin that runs SciPy's own test modules against fastopt.

    python -m pytest -p scipy_suites.plugin --pyargs scipy.optimize.tests.test_optimize

with tests/python on the path. SciPy's code is run where it lies in the installed wheel: names in
the imported modules are swapped for stand-ins that call fastopt, and a test that passes without
having called one of them fails. `SKIPPED` names the tests that are left out, with reasons.
"""

from __future__ import annotations

import fnmatch
import importlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
import scipy
from scipy.optimize import _minimize as scipy_minimize

from . import stand_ins
from .skipped import MADE_FOR, SELECTED, SKIPPED

OURS = ["cbo", "sketch-newton"]
# Lists of methods that tests are parametrised over: ours stand in them while they are imported.
METHOD_LISTS = ("MINIMIZE_METHODS", "MINIMIZE_METHODS_NEW_CB")


def short(item: pytest.Item) -> str:
    """module::[class::]test[parameters]"""
    names = [one.name for one in item.listchain() if isinstance(one, (pytest.Class, pytest.Item))]
    return "::".join([item.path.stem, *names])


def pytest_configure(config: pytest.Config) -> None:
    kept = {name: getattr(scipy_minimize, name) for name in METHOD_LISTS}
    try:
        for name in METHOD_LISTS:
            setattr(scipy_minimize, name, list(OURS))
        for name in SELECTED:
            importlib.import_module(f"scipy.optimize.tests.{name}")
    finally:
        for name in METHOD_LISTS:
            setattr(scipy_minimize, name, kept[name])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unused = set(SKIPPED)
    chosen, left = [], []
    for item in items:
        name = short(item)
        module = name.partition("::")[0]
        if not any(fnmatch.fnmatchcase(name, f"{module}::{one}") for one in SELECTED[module]):
            left.append(item)
            continue
        chosen.append(item)
        for pattern, reason in SKIPPED.items():
            if fnmatch.fnmatchcase(name, pattern):
                unused.discard(pattern)
                item.add_marker(pytest.mark.skip(reason=reason))
    items[:] = chosen
    config.hook.pytest_deselected(items=left)
    modules = {short(item).partition("::")[0]: item.module for item in chosen}  # type: ignore[attr-defined]
    stale = sorted(one for one in unused if one.partition("::")[0] in modules)
    if stale and not config.getoption("keyword") and scipy.__version__.startswith(MADE_FOR):
        raise pytest.UsageError(f"the skip list names tests that SciPy does not have: {stale}")
    if "FASTOPT_SUITES_WITHOUT_STAND_INS" in os.environ:  # for the test of this plugin
        return
    for name, module in modules.items():
        stand_ins.swap(name, module)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[Any]:
    stand_ins.begin(short(item))
    answer = yield
    if not stand_ins.calls():
        pytest.fail("this test never called fastopt: its names were not swapped")
    return answer
