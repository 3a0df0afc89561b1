"""A pytest plugin that runs Python tests on the CUDA backend.

    PYTHONPATH=tests/cuda_emu FASTOPT_CUDA_MODULE=<build>/tests/cuda_emu/_cuda*.so \\
        pytest -p pytest_cuda_emu

With FASTOPT_CUDA_MODULE the extension of that path, built on the emulated device, stands in for
``fastopt._cuda``; without it the installed one runs. `device=None` then means 'cuda'.

``--suite=K/N tests/python`` runs the K-th of N parts of what emu_suite.py takes of that suite, and
counts the tests that launched kernels: fewer in a file than stands there is a failure, since a
test that stays on the CPU says nothing about CUDA.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import emu_suite
import pytest

import fastopt
from fastopt import _backend

MODULE = os.environ.get("FASTOPT_CUDA_MODULE")


def _load(path: str) -> None:
    loader = importlib.machinery.ExtensionFileLoader("fastopt._cuda", path)
    spec = importlib.util.spec_from_loader("fastopt._cuda", loader, origin=path)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules["fastopt._cuda"] = module
    fastopt._cuda = module


if MODULE:
    _load(MODULE)

_module = _backend.module
_backend.module = lambda device=None, solver="": _module(
    "cuda" if device is None and solver in _backend._ON_CUDA else device, solver
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", metavar="K/N", help="run the K-th of N parts of tests/python")


def pytest_report_header() -> str:
    return f"fastopt computes on: {_backend.info()['cuda']}"


def pytest_configure(config: pytest.Config) -> None:
    part = config.getoption("suite")
    if not part:
        return
    if not MODULE:
        raise pytest.UsageError("--suite counts on the emulated device: set FASTOPT_CUDA_MODULE")
    config.pluginmanager.register(Suite(MODULE, *map(int, part.split("/"))), "cuda-emu-suite")


class Suite:
    """Chooses the tests of one part, and counts those that launch kernels."""

    def __init__(self, module: str, part: int, parts: int) -> None:
        self.floors = dict(list(emu_suite.FLOORS.items())[part - 1 :: parts])
        self.launches = ctypes.CDLL(module).cuda_emu_launches
        self.launches.restype = ctypes.c_long
        self.launched: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.unknown: list[str] = []  # files of which emu_suite.py says nothing

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        name = collection_path.name
        if not name.startswith("test_") or name in self.floors:
            return None
        if name not in emu_suite.FLOORS and name not in emu_suite.LEFT_OUT:
            self.unknown.append(name)
        return True

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        kept, gone, used = [], [], set()
        for item in items:
            test = f"{item.path.name}::{item.name}"
            names = {test, test.partition("[")[0], *getattr(item, "fixturenames", ())}
            found = sorted(names & emu_suite.LEFT_OUT.keys())
            (gone if found else kept).append(item)
            used.update(found)
            self.left_out.update(emu_suite.LEFT_OUT[name] for name in found[:1])
        items[:] = kept
        config.hook.pytest_deselected(items=gone)
        tests = {name for name in emu_suite.LEFT_OUT if name.partition("::")[0] in self.floors}
        if stale := sorted(tests - used):
            raise pytest.UsageError(f"emu_suite.py leaves out what does not exist: {stale}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        before = self.launches()
        result = yield
        self.launched[item.path.name] += self.launches() > before
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            return (yield)
        except ValueError as error:  # what CUDA does not do is refused by name
            if "use device='cpu'" not in str(error):
                raise
            self.refused[item.path.name] += 1
            pytest.skip(str(error))

    def complaints(self) -> list[str]:
        return [
            f"{name}: {self.launched[name]} tests launched kernels, emu_suite.py expects {floor}"
            for name, floor in self.floors.items()
            if self.launched[name] < floor
        ]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.complaints() and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        line = terminalreporter.line
        for reason, count in sorted(self.left_out.items()):
            line(f"left out: {count} tests: {reason}")
        for name, count in sorted(self.refused.items()):
            line(f"refused by the CUDA backend: {count} tests of {name}")
        if self.unknown:
            line(f"not run, since emu_suite.py does not know them: {sorted(self.unknown)}")
        line(f"tests that launched kernels: {dict(self.launched)}")
        for complaint in self.complaints():
            line(complaint, red=True)
