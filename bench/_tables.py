"""Tables made of records: as text for the terminal, in Markdown for the documentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _common as common
from _common import Record

Rows = list[list[str]]  # the header first
Cell = Callable[[Record, Sequence[Record]], Any]  # of a record and those of the same row


@dataclass(frozen=True)
class Target:
    """What the project wants of a number of a table."""

    label: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@dataclass(frozen=True)
class Table:
    """The records of one name, and how they become rows."""

    name: str
    title: str
    rows: Callable[[Sequence[Record]], Rows]
    targets: Callable[[Sequence[Record]], list[Target]] = field(default=lambda _: [])

    def of(self, records: Iterable[Record]) -> list[Record]:
        return [one for one in records if one.table == self.name]

    def text(self, records: Iterable[Record]) -> str:
        """Title, rows in aligned columns, targets; '' without records."""
        mine = self.of(records)
        if not mine:
            return ""
        lines = [self.title, *aligned(self.rows(mine))]
        if targets := known(self.targets(mine)):
            width = max(len(one.label) for one in targets)
            lines += ["targets", *(f"  {one.label:<{width}}  {_verdict(one)}" for one in targets)]
        return "\n".join(lines)

    def markdown(self, records: Iterable[Record]) -> str:
        mine = self.of(records)
        parts = [piped(self.rows(mine))]
        if targets := known(self.targets(mine)):
            header = ["target", "measured", "wanted", ""]
            body = [[one.label, number(one.value), _wanted(one), _met(one)] for one in targets]
            parts.append(piped([header, *body]))
        return "\n\n".join(parts)


def publish(tables: Iterable[Table], records: Iterable[Record], path: Path | None = None) -> None:
    """Appends the records to a file, if one is given, and prints the tables that they fill."""
    records = list(records)
    common.write(records, path)
    for table in tables:
        if text := table.text(records):
            print(text, flush=True)


def known(targets: Iterable[Target]) -> list[Target]:
    """Without those whose records are missing."""
    return [one for one in targets if not math.isnan(one.value)]


def _met(target: Target) -> str:
    return "met" if target.met else "missed"


def _wanted(target: Target) -> str:
    return f"{'>=' if target.at_least else '<='} {target.bound:g}"


def _verdict(target: Target) -> str:
    return f"{number(target.value):>8}  (target {_wanted(target)}: {_met(target).upper()})"


# ---- shapes ------------------------------------------------------------------------------------


def listed(first: str, **cells: Cell) -> Callable[[Sequence[Record]], Rows]:
    """One line a record: its row, its column, then what the cells say ('_' for ' ')."""

    def rows(records: Sequence[Record]) -> Rows:
        lines = []
        for row, group in by_row(records).items():
            for k, record in enumerate(group):
                shown = [cell(record, group) for cell in cells.values()]
                lines.append([row if k == 0 else "", record.column, *map(show, shown)])
        header = [first, "solver", *(name.replace("_", " ") for name in cells)]
        empty = [k for k in range(len(header)) if not any(line[k] for line in lines)]
        return [[c for k, c in enumerate(line) if k not in empty] for line in [header, *lines]]

    return rows


def crossed(first: str, cell: Cell) -> Callable[[Sequence[Record]], Rows]:
    """Rows down, columns across, one cell for each record."""

    def rows(records: Sequence[Record]) -> Rows:
        columns = list(dict.fromkeys(record.column for record in records))
        lines = []
        for row, group in by_row(records).items():
            found = {record.column: show(cell(record, group)) for record in group}
            lines.append([row, *(found.get(column, "") for column in columns)])
        return [[first, *columns], *lines]

    return rows


def by_row(records: Sequence[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.row, []).append(record)
    return groups


def find(records: Iterable[Record], row: str, column: str) -> Record | None:
    for record in records:
        if (record.row, record.column) == (row, column):
            return record
    return None


def ratio(slower: Record | None, faster: Record | None) -> float:
    return slower.median / faster.median if slower and faster and faster.median > 0 else math.nan


# ---- cells -------------------------------------------------------------------------------------


def show(value: Any) -> str:
    return value if isinstance(value, str) else number(value)


def number(value: float | None, digits: int = 3) -> str:
    """Short, without an exponent where that is readable; nothing for None and NaN."""
    if value is None or math.isnan(value):
        return ""
    if float(value).is_integer() and abs(value) < 1e9:
        return str(int(value))
    if 10 ** (digits - 1) <= abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def spread(scale: float) -> Cell:
    """Median (least-greatest) of the times."""

    def cell(record: Record, _: Sequence[Record]) -> str:
        if not record.times:
            return ""
        middle = number(record.median * scale)
        if len(record.times) == 1:
            return middle
        least, greatest = (number(t * scale) for t in (min(record.times), max(record.times)))
        return f"{middle} ({least}-{greatest})"

    return cell


def of(name: str) -> Cell:
    """A field, or an entry of costs, scores or extra; the mean where it is a list."""

    def cell(record: Record, _: Sequence[Record]) -> Any:
        value = getattr(record, name, None)
        for where in (record.costs, record.scores, record.extra):
            value = where.get(name, value)
        if isinstance(value, (list, tuple)):
            return sum(value) / len(value) if value else None
        return value

    return cell


def against(column: str) -> Cell:
    """How many times the record of this column in the same row this one takes."""

    def cell(record: Record, group: Sequence[Record]) -> str:
        times = ratio(record, find(group, record.row, column))
        return "" if math.isnan(times) else f"{number(times)}x"

    return cell


def rate_of(column: str) -> Cell:
    """This record's rate as a share of that column's in the same row."""

    def cell(record: Record, group: Sequence[Record]) -> str:
        share = ratio(find(group, record.row, column), record)
        return "" if math.isnan(share) else f"{share:.0%}"

    return cell


# ---- text --------------------------------------------------------------------------------------


def aligned(rows: Rows) -> list[str]:
    """First column to the left, the others to the right, a line beneath the header."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def piped(rows: Rows) -> str:
    cells = [[cell.replace("|", "abs") for cell in row] for row in rows]
    cells.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in cells)
