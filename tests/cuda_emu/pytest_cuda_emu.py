"""A pytest plugin that runs the Python tests on the CUDA backend.

    PYTHONPATH=tests/cuda_emu FASTOPT_CUDA_MODULE=<build>/tests/cuda_emu/_cuda*.so \\
        pytest -p pytest_cuda_emu

With FASTOPT_CUDA_MODULE the extension of that path, built on the emulated device, stands in for
``fastopt._cuda``; without it the installed one runs. `device=None` then means 'cuda'.
"""

import importlib.machinery
import importlib.util
import os
import sys

import fastopt
from fastopt import _backend


def _load(path: str) -> None:
    loader = importlib.machinery.ExtensionFileLoader("fastopt._cuda", path)
    spec = importlib.util.spec_from_loader("fastopt._cuda", loader, origin=path)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules["fastopt._cuda"] = module
    fastopt._cuda = module


if "FASTOPT_CUDA_MODULE" in os.environ:
    _load(os.environ["FASTOPT_CUDA_MODULE"])

_module = _backend.module
_backend.module = lambda device=None, solver="": _module(
    "cuda" if device is None and solver in _backend._ON_CUDA else device, solver
)


def pytest_report_header() -> str:
    return f"fastopt computes on: {_backend.info()['cuda']}"
