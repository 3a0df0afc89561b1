"""A fuzz target: arrays, options and checkpoint files that nobody would write.

    python tests/fuzz/border.py --cases 5000 [--seed 1] [--seconds 60]    the same cases each time
    python tests/fuzz/border.py [libFuzzer's flags] [corpus]    guided by coverage, with atheris

Every case (cases.py) must end with a result that stands a test of its own, or with a documented
error. What else comes out is a finding, printed with the bytes that lead to it; `--repeat HEX` runs
them again. A crash, a sanitizer's word or a case of ten minutes ends the process.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import inspect
import random
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

if "--cases" in sys.argv or "--repeat" in sys.argv:
    atheris = None
    import cases
else:
    import atheris

    with atheris.instrument_imports(include=["fastopt"]):
        import cases

HANG = 600  # seconds for one case, far more than the slowest takes on a busy machine


def one_input(data: bytes) -> None:
    source = cases.Bytes(data)
    case = source.pick(cases.CASES)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            case(source)
        except cases.DOCUMENTED as error:
            what = f"{type(error).__name__} without a message"
            cases.require(str(error) or type(error) is MemoryError, what)
        except cases.Enough:
            pass
        except Exception as error:
            if "not positive definite in this precision" in str(error):
                return  # admm_relu's RuntimeError
            raise cases.Finding(f"{case.__name__}: {type(error).__name__}: {error}") from error


def repeatable(count: int, seed: int, seconds: float, last: Path | None) -> int:
    """Case k depends on (seed, k) only. Returns the number of findings."""
    started, findings = time.monotonic(), 0
    for k in range(count):
        if time.monotonic() - started > seconds:
            print(f"stopped after {k} of {count} cases, which took {seconds:.0f} seconds")
            return findings
        random_source = random.Random(f"{seed} {k}")
        data = random_source.randbytes(random_source.choice((12, 40, 120)))
        if last is not None:
            last.write_text(data.hex())
        faulthandler.dump_traceback_later(HANG, exit=True)
        try:
            one_input(data)
        except cases.Finding as error:
            findings += 1
            print(f"FINDING in case {k}: {error}\n    --repeat {data.hex()}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    print(f"{count} cases, {findings} findings, {time.monotonic() - started:.0f} s")
    return findings


def plant(fault: str) -> None:
    """A fault that must be found, for .ci/must-fail."""
    right = cases.fastopt.lstsq

    def wrong(A: Any, b: Any, **options: Any) -> Any:
        result = right(A, b, **options)
        if fault == "answer":
            result.x = result.x + 1e-3 * np.abs(result.x)
        else:  # one byte past the end of a block
            libc = ctypes.CDLL(None)
            libc.malloc.restype = ctypes.c_void_p
            libc.memset(ctypes.c_void_p(libc.malloc(8)), 1, 9)
        return result

    wrong.__signature__ = inspect.signature(right)  # type: ignore[attr-defined]
    cases.fastopt.lstsq = wrong


def main() -> None:
    if atheris is not None:
        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, help="how many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many")
    parser.add_argument("--last", type=Path, help="file that holds the bytes of the running case")
    parser.add_argument("--repeat", metavar="HEX", help="run one case, given by its bytes")
    parser.add_argument("--plant", choices=("answer", "memory"), help="a fault, to be found")
    given = parser.parse_args()
    faulthandler.enable()
    if given.plant:
        plant(given.plant)
    if given.repeat:
        one_input(bytes.fromhex(given.repeat))
    elif repeatable(given.cases, given.seed, given.seconds, given.last):
        sys.exit(1)


if __name__ == "__main__":
    main()
