"""The examples in docstrings give what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

import fastopt

NAMES = sorted(path.stem for path in Path(fastopt.__file__).parent.glob("*.py"))
NEEDS = {
    "sklearn": "sklearn",
    "_demo_network": "sklearn",
    "torch": "torch",
    "jax": "jax",
    "_progress": "tqdm",
}


@pytest.mark.parametrize("name", NAMES)
def test_examples(name):
    if name == "__main__":
        return
    pytest.importorskip(NEEDS.get(name, "numpy"))
    module = importlib.import_module("fastopt" if name == "__init__" else f"fastopt.{name}")
    failed, _ = doctest.testmod(module)
    assert failed == 0


@pytest.mark.parametrize("name", [one for one in fastopt.__all__ if not one.startswith("_")])
def test_every_public_name_has_an_example(name):
    assert ">>> " in (getattr(fastopt, name).__doc__ or "") or name == "problems"
