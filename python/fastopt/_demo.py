"""`fastopt demo`: what each solver makes of real data, beside what people use today.

A part of the demo is a module `_demo_<name>` with

    TITLE, REQUIRES          a line about it; the modules that it needs beside fastopt's own
    run(seed, quick)         -> table, the measured rows
    text(table)              -> str of at most 100 columns
    as_dict(table)           -> dict, ready for json
    failures(table)          -> list of str: why what is claimed does not hold
    figure(table)            -> matplotlib Figure
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

PARTS = ("nist", "network", "newton")


def part(name: str) -> ModuleType:
    """The module of one part."""
    return importlib.import_module(f"fastopt._demo_{name}")


def missing(name: str) -> list[str]:
    """Modules that a part needs and that are not installed."""
    return [one for one in part(name).REQUIRES if importlib.util.find_spec(one) is None]
