"""The types that users and our own code see: stubs of the core, and a strict user's script."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastopt
from fastopt import _backend

HERE = Path(__file__).parent
SCRIPT = HERE / "typed_use.py"

needs_mypy = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="needs mypy")


def mypy(module, *arguments, folder):
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    return done.returncode, done.stdout + done.stderr


@needs_mypy
@pytest.mark.slow_under_asan
def test_stubtest_finds_the_stubs_complete(tmp_path):
    code, said = mypy(
        "mypy.stubtest", "fastopt._cpu", "--allowlist", HERE / "stubtest_allowlist.txt",
        "--ignore-unused-allowlist", folder=tmp_path,
    )  # fmt: skip
    assert code == 0, said


def documented(function):
    """Parameter names of each overload, from the first lines that pybind11 writes."""
    lines = re.findall(r"^(?:\d+\. )?\w+\((.*)\) -> ", function.__doc__ or "", re.MULTILINE)
    return [re.findall(r"(?:^|, )(\w+): ", re.sub(r"\[[^()]*?\]", "", line)) for line in lines]


def stubbed():
    """(name, its object in the core, parameter names) of every function of the stub."""
    core = _backend.module()
    stub = Path(fastopt.__file__).with_name("_cpu.pyi")
    for node in ast.parse(stub.read_text("utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        owner = getattr(core, node.name) if isinstance(node, ast.ClassDef) else core
        for one in members:
            marks = {ast.unparse(mark) for mark in getattr(one, "decorator_list", [])}
            if isinstance(one, ast.FunctionDef) and marks <= {"overload"}:
                arguments = one.args
                names = [a.arg for a in arguments.args + arguments.kwonlyargs]
                yield f"{node.name}.{one.name}", getattr(owner, one.name), names


STUBBED = list(stubbed())


@pytest.mark.parametrize(
    ("name", "function", "names"), STUBBED, ids=[name for name, _, _ in STUBBED]
)
def test_parameters_of_the_stub_are_those_of_the_core(name, function, names):
    found = documented(function)
    if not found:  # a constructor that only the core calls
        assert name.endswith("__init__"), function.__doc__
        return
    assert names in found, found


@needs_mypy
@pytest.mark.slow_under_asan
def test_a_strict_users_script_is_clean(tmp_path):
    code, said = mypy("mypy", "--strict", "--cache-dir", tmp_path, SCRIPT, folder=tmp_path)
    assert code == 0, said


@needs_mypy
@pytest.mark.slow_under_asan
def test_mypy_sees_the_mistakes_of_a_user(tmp_path):
    """The package is typed, not just importable: names and arguments are checked."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import fastopt\n"
        "fastopt.cbi\n"
        "fastopt.cbo(abs, [(0, 1)], maxiter='many')\n"
        "fastopt.minimize(abs)\n"
        "x: int = fastopt.scipy_method('cbo')\n"
    )
    code, said = mypy("mypy", "--strict", "--cache-dir", tmp_path / "cache", wrong, folder=tmp_path)
    assert code == 1
    assert {int(line) for line in re.findall(r"wrong\.py:(\d+): error", said)} == {2, 3, 4, 5}, said


def test_the_script_uses_every_public_name():
    words = set(re.findall(r"\w+", SCRIPT.read_text("utf-8")))
    assert set(fastopt.__all__) <= words
    assert set(fastopt.problems.__all__) <= words
    assert set(fastopt.plot.__all__) <= words


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("typed_use", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("part", "library"),
    [
        ("global_search", None),
        ("newton", None),
        ("networks", None),
        ("several_processes", None),
        ("estimators", "sklearn"),
        ("tensors", "torch"),
        ("arrays", "jax"),
        ("pictures", "matplotlib"),
        ("progress", "tqdm"),
    ],
)
def test_the_script_runs(script, part, library):
    if library is not None:
        pytest.importorskip(library)
    assert getattr(script, part)()
