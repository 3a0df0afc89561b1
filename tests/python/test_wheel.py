"""What is installed: complete, self-contained, for any CPU, and nothing else."""

import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import fastopt
from fastopt import _backend

PACKAGE = Path(fastopt.__file__).parent
try:
    DISTRIBUTION = importlib.metadata.distribution("fastopt")
except importlib.metadata.PackageNotFoundError:
    DISTRIBUTION = None

pytestmark = pytest.mark.skipif(
    DISTRIBUTION is None or "site-packages" not in PACKAGE.parts,
    reason="needs an installed fastopt: pip install '.[test]'",
)


def files():
    return {str(path) for path in DISTRIBUTION.files if "__pycache__" not in str(path)}


def test_the_parts_are_there():
    names = files()
    assert {"fastopt/__init__.py", "fastopt/py.typed", "fastopt/_cpu.pyi"} <= names
    assert any(n.startswith("fastopt/_cpu.") and n.endswith(".so") for n in names)
    assert any(n.startswith("fastopt/libscipy_openblas") for n in names)
    assert sum(n.startswith("fastopt/data/nist_strd/") and n.endswith(".dat") for n in names) > 20


def test_nothing_else_is_there():
    outside = {
        n for n in files() if not n.startswith(("fastopt/", "fastopt-")) and not n.startswith("..")
    }
    assert outside == set()
    scripts = {Path(n).name for n in files() if n.startswith("..")}
    assert scripts <= {"fastopt", "fastopt.exe"}
    for name in files():
        assert not name.endswith((".cpp", ".hpp", ".inl", ".cu", ".a", ".o", ".cmake")), name
        assert "cuda" not in name.lower()


def test_version_and_requirements():
    assert fastopt.__version__ == DISTRIBUTION.version == _backend.info()["version"]
    needed = [r for r in DISTRIBUTION.requires if "extra ==" not in r]
    assert sorted(r.split(">")[0].split(" ")[0] for r in needed) == ["numpy", "scipy"]
    assert DISTRIBUTION.metadata["Requires-Python"] == ">=3.10"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_blas_is_the_packages_own(fresh_python):
    loaded = fresh_python("""
        import fastopt, sys
        with open("/proc/self/maps") as maps:
            print(*sorted({line.split()[-1] for line in maps
                           if "openblas" in line and "/fastopt/" in line}))
    """)
    assert Path(loaded).parent == PACKAGE


def test_blas_stays_single_threaded_whatever_the_environment_says(fresh_python):
    code = """
        import os, threading
        from fastopt import cbo, problems
        before = len(os.listdir("/proc/self/task"))
        cbo(problems.sphere(300), [(-1, 2)] * 300, dynamics="anisotropic", noise="covariance",
            n_particles=64, maxiter=3, threads=1, rng=1, polish=False)
        print(len(os.listdir("/proc/self/task")) - before)
    """
    if not Path("/proc/self/task").is_dir():
        pytest.skip("counts the threads in /proc/self/task")
    assert fresh_python(code, OPENBLAS_NUM_THREADS="4", OMP_NUM_THREADS="4") == "0"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 levels")
def test_one_build_has_every_instruction_set(fresh_python):
    available = _backend.info()["isa_available"]
    assert available[0] == "baseline"
    for level in available:
        out = fresh_python("from fastopt import _backend; print(_backend.module().isa())",
                           FASTOPT_ISA=level)  # fmt: skip
        assert out == level


def test_the_command_is_installed(tmp_path):
    command = Path(sys.executable).with_name("fastopt")
    assert command.exists()
    done = subprocess.run([command, "info", "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["version"] == fastopt.__version__
    assert report["cuda"]["available"] in (True, False)
