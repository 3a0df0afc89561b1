"""Writes the last column of the table in docs/reliability.md from what a run of the tests said.

    pytest --junitxml=build/tests.xml; .ci/run | tee build/ci.log     # or a part of them
    python tests/last_results.py build/tests.xml build/ci.log         # the rows that they tell of
    python tests/last_results.py --check                              # changes nothing; 1 if wrong

A row names tests, `test_x.py` or `test_x.py::test_y`, whose counts are added; and jobs of .ci/run,
job `ctest asan`, whose closing lines are quoted. A row of which a run tells nothing stays as it is.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
FOLDERS = ("tests/python", "tests/cuda_emu", "tests/cpp", "tests")
TABLE = re.compile(r"(?<=<!-- last results -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)
TEST = re.compile(r"`(test_\w+|wheels)\.(py|cpp|sh)(?:::(test_\w+))?`")
JOB = re.compile(r"job `([^`]+)`")
ENDS = ("passed", "failed", "skipped")
# What a log says of a job without its name: the words that stand for all such lines.
UNNAMED = {
    "wheels": (r"^Python (\S+): .*: works$", "works on Python {}"),
    "kernel lines": (r"^(\d+ of \d+) kernel lines executed$", "{}"),
}

Outcomes = dict[tuple[str, str], Counter[str]]  # of (test_x, test_y)


def rows(text: str) -> list[list[str]]:
    """The cells of each row below the header."""
    match = TABLE.search(text)
    if match is None:
        raise ValueError(f"{PAGE.name} has no table between `last results` and `end`")
    return [cells(line) for line in match[1].splitlines() if line.startswith("|")][2:]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def read_tests(path: Path) -> Outcomes:
    """What a JUnit file of pytest counts."""
    found: Outcomes = {}
    for case in ElementTree.parse(path).iter("testcase"):
        test = case.get("name", "").partition("[")[0]
        end = next((one.tag for one in case if one.tag in ("failure", "error", "skipped")), "")
        end = {"": "passed", "skipped": "skipped"}.get(end, "failed")
        key = case.get("classname", "").rpartition(".")[2], test
        found.setdefault(key, Counter())[end] += 1
    return found


def counted(shown: str, found: Outcomes) -> str:
    """`27 passed, 1 skipped` of the tests that a cell names; '' if none of them ran."""
    total: Counter[str] = Counter()
    for file, kind, test in TEST.findall(shown):
        if kind == "py":
            for (where, name), ends in found.items():
                if where == file and test in ("", name):
                    total += ends
    return ", ".join(f"{total[end]} {end}" for end in ENDS if total[end])


def quoted(shown: str, log: str) -> str:
    """The closing lines of the jobs that a cell names; '' if the log has none of them."""
    parts = []
    for job in JOB.findall(shown):
        if job in UNNAMED:
            pattern, words = UNNAMED[job]
            lines = list(dict.fromkeys(re.findall(pattern, log, re.MULTILINE)))
            parts += [words.format(", ".join(lines))] if lines else []
        else:
            pattern = rf"^{re.escape(job)}: =* ?(.+?)(?: in [\d.]+s.*|, \d+ s)?$"
            parts += re.findall(pattern, log, re.MULTILINE)[-1:]
    return "; ".join(parts)


def written(text: str, found: Outcomes, log: str) -> str:
    """The page with the last cell of each row made anew that something is told of."""

    def renewed(line: str) -> str:
        row = cells(line)
        if len(row) != 4 or not (TEST.search(row[2]) or JOB.search(row[2])):
            return line
        told = [one for one in (counted(row[2], found), quoted(row[2], log)) if one]
        wanted = any(kind == "py" for _, kind, _ in TEST.findall(row[2])) + bool(JOB.search(row[2]))
        return f"| {' | '.join([*row[:3], '; '.join(told)])} |" if len(told) == wanted else line

    return TABLE.sub(lambda table: "\n".join(map(renewed, table[0].split("\n"))), text)


def complaints(text: str) -> list[str]:
    """Tests that do not exist, rows without a result or with a failure."""
    wrong = []
    for file, kind, test in TEST.findall(text):
        name = f"{file}.{kind}"
        paths = [p for folder in FOLDERS if (p := ROOT / folder / name).is_file()]
        if not any(not test or f"def {test}(" in p.read_text("utf-8") for p in paths):
            wrong.append(f"there is no {name}{'::' + test if test else ''}")
    for row in rows(text):
        if len(row) != 4 or not re.search(r"\d", row[3]) or re.search(r"\b[1-9]\d* failed", row[3]):
            wrong.append(f"no result, or a failure: {' | '.join(row)}")
    return wrong


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="*", help="JUnit files (.xml) and logs of .ci/run")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a row is wrong")
    options = parser.parse_args(argv)
    text = options.page.read_text(encoding="utf-8")
    if not options.check:
        found: Outcomes = {}
        for path in options.runs:
            if path.suffix == ".xml":
                found.update(read_tests(path))
        logs = [p.read_text("utf-8") for p in options.runs if p.suffix != ".xml"]
        text = written(text, found, "\n".join(logs))
        options.page.write_text(text, encoding="utf-8")
    wrong = complaints(text)
    for line in wrong:
        print(f"{options.page.name}: {line}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
