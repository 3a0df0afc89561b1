"""Writes the tables of a page of docs/ from records, between the markers that name them.

    python bench/report.py bench/records/*.jsonl             # docs/benchmarks.md
    python bench/report.py --check bench/records/*.jsonl     # exit code 1 if that changes the page

A table stands between `<!-- table NAME -->` and `<!-- end -->`; `<!-- machine NAME ... -->` and
`<!-- end -->` hold the conditions under which the records of some tables were made. A table without
records is left as it is: it says itself where its numbers are from.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import _common as common
from _common import Record
from _tables import Table

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
MARKED = re.compile(r"(<!-- (table|machine) ([\w ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def all_tables() -> dict[str, Table]:
    """The tables of every script here."""
    scripts = [path for path in sorted(HERE.glob("*.py")) if not path.stem.startswith("_")]
    with_tables = [
        s for s in scripts if re.search(r"^TABLES\b", s.read_text("utf-8"), re.MULTILINE)
    ]
    return {
        table.name: table
        for script in with_tables
        for table in importlib.import_module(script.stem).TABLES
    }


def conditions(records: Sequence[Record]) -> str:
    """Machines, loads, versions of some records, in a sentence or two."""
    machines = sorted({one.conditions.get("machine", "?") for one in records})
    loads = sorted(one.conditions.get("load", 0.0) for one in records)
    versions: dict[str, set[str]] = {}
    for one in records:
        for name, version in one.conditions.get("versions", {}).items():
            versions.setdefault(name, set()).add(version)
    versions.pop("fastopt", None)
    listed = ", ".join(f"{name} {'/'.join(sorted(found))}" for name, found in versions.items())
    busy = f"{loads[0]:g} to {loads[-1]:g}" if loads[0] != loads[-1] else f"{loads[0]:g}"
    return f"{'; '.join(machines)}; load {busy}. {listed[:1].upper()}{listed[1:]}."


def written(text: str, records: Sequence[Record], known: dict[str, Table]) -> str:
    """The page with every marked part made anew."""

    def made(match: re.Match[str]) -> str:
        begin, kind, names, _, end = match.groups()
        for name in names.split():
            if name not in known:
                raise ValueError(f"the page wants a table {name}, which no script has")
        chosen = [one for one in records if one.table in names.split()]
        if not chosen:
            return match[0]
        body = conditions(chosen) if kind == "machine" else known[names].markdown(records)
        return f"{begin}\n{body}\n\n{end}"

    return MARKED.sub(made, text)


def unused(records: Iterable[Record], text: str) -> list[str]:
    """Tables of the records for which the page has no place."""
    places = {name for match in MARKED.finditer(text) for name in match[3].split()}
    return sorted({one.table for one in records} - places)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it would change")
    options = parser.parse_args(argv)
    try:
        records = common.read(options.records)
        old = options.page.read_text(encoding="utf-8")
        new = written(old, records, all_tables())
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    for name in unused(records, old):
        print(f"report: {options.page.name} has no place for table {name}", file=sys.stderr)
    if options.check:
        if new != old:
            print(f"report: {options.page} is not what the records say", file=sys.stderr)
        return int(new != old)
    options.page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
