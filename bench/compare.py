"""Two files of records side by side: what changed beyond the noise.

    python bench/compare.py OLD NEW [--tables NAME ...] [--noise SHARE] [--json]

Records pair by table, row and column; several of one key count as repeats. Two sets of times differ
when the ratio of their medians leaves 1 by more than the noise: the larger of --noise (5 %) and
three standard errors of the ratio, which come from the median absolute deviations of the repeats
(a single time counts as 15 % noisy). Where there are peers in the row, a change of ours counts only
if it is one beside theirs as well, since their code did not change; the lesser of the two is held
against the noise. Peers that changed are shown too.

What was reached is compared too: the objective (1e-6, relative), the violation (ten times, above
1e-9), and `costs` and `scores` (1 %, or three standard errors of the means of several runs).

Exit code: 0 nothing worse or slower; 1 something is; 2 the files cannot be compared.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _common as common
import _tables as tables
from _common import Record

NOISE = 0.05  # what medians of repeats of one program differ by on a quiet machine
SINGLE = 0.15  # relative standard error of a time that was taken once
ACCURACY = 1e-6  # relative, of objectives
FEASIBLE = 1e-9
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Change:
    """One number of one record, then and now; `worse` is None for a peer's."""

    table: str
    row: str
    column: str
    what: str
    old: float
    new: float
    noise: float
    worse: bool | None

    def verdict(self) -> str:
        if self.worse is None:
            return "peer changed"
        good, bad = ("faster", "slower") if self.what == "time" else ("better", "worse")
        return bad if self.worse else good


# ---- noise -------------------------------------------------------------------------------------


def standard_error(values: Sequence[float]) -> float:
    """Of the median, relative: 1.4826 MAD is a standard deviation of normal noise."""
    middle = statistics.median(values)
    if len(values) < 3 or middle == 0:
        return SINGLE
    deviation = 1.4826 * statistics.median(abs(v - middle) for v in values)
    return 1.2533 * deviation / math.sqrt(len(values)) / middle


def error_of_mean(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


# ---- pairs -------------------------------------------------------------------------------------


def grouped(records: Iterable[Record]) -> dict[Key, list[Record]]:
    found: dict[Key, list[Record]] = {}
    for record in records:
        found.setdefault(record.key, []).append(record)
    return found


def times_of(records: Sequence[Record]) -> list[float]:
    return [t for one in records for t in one.times]


def numbers(value: Any) -> list[float]:
    return [float(v) for v in (value if isinstance(value, (list, tuple)) else [value])]


def drift(
    pairs: dict[Key, tuple[list[Record], list[Record]]], table: str, row: str
) -> tuple[float, float]:
    """By what the peers of a row changed (the machine, since their code did not), and its error."""
    peers = [
        (times_of(old), times_of(new))
        for (its_table, its_row, _), (old, new) in pairs.items()
        if (its_table, its_row) == (table, row) and old[0].peer and times_of(old) and times_of(new)
    ]
    if not peers:
        return 1.0, 0.0
    ratio = statistics.median(statistics.median(b) / statistics.median(a) for a, b in peers)
    errors = [math.hypot(standard_error(a), standard_error(b)) for a, b in peers]
    return ratio, statistics.median(errors)


def compare(old: Sequence[Record], new: Sequence[Record], noise: float = NOISE) -> list[Change]:
    """All changes beyond noise, in the order of the new records."""
    before, after = grouped(old), grouped(new)
    pairs = {key: (before[key], after[key]) for key in after if key in before}
    changes: list[Change] = []
    for key, (a, b) in pairs.items():
        ours = not b[0].peer
        machine = drift(pairs, *key[:2]) if ours else (1.0, 0.0)
        changes += filter(None, [time_change(key, a, b, noise, machine, ours)])
        if ours:
            changes += quality_changes(key, a, b)
    return changes


def time_change(
    key: Key,
    a: list[Record],
    b: list[Record],
    noise: float,
    machine: tuple[float, float],
    ours: bool,
) -> Change | None:
    then, now = times_of(a), times_of(b)
    if not then or not now or min(statistics.median(then), statistics.median(now)) <= 0:
        return None
    error = math.hypot(standard_error(then), standard_error(now), machine[1])
    allowed = max(noise, 3 * error)
    plain = math.log(statistics.median(now) / statistics.median(then))
    beside_peers = plain - math.log(machine[0])
    change = min(plain, beside_peers, key=abs)
    if plain * beside_peers <= 0 or abs(change) <= math.log1p(allowed):
        return None
    worse = change > 0 if ours else None
    return Change(*key, "time", statistics.median(then), statistics.median(now), allowed, worse)


def quality_changes(key: Key, a: list[Record], b: list[Record]) -> list[Change]:
    then, now = a[-1], b[-1]
    found = []
    if then.fun is not None and now.fun is not None:
        size = max(1e-300, abs(then.fun))
        if abs(now.fun - then.fun) > ACCURACY * size:
            found.append(Change(*key, "objective", then.fun, now.fun, ACCURACY, now.fun > then.fun))
    if then.violation is not None and now.violation is not None:
        low, high = sorted((then.violation, now.violation))
        if high > max(FEASIBLE, 10 * low):
            worse = now.violation > then.violation
            found.append(Change(*key, "violation", then.violation, now.violation, 10, worse))
    for kind, sign in (("costs", 1), ("scores", -1)):
        for name in getattr(now, kind):
            x = [v for one in a for v in numbers(getattr(one, kind).get(name, []))]
            y = [v for one in b for v in numbers(getattr(one, kind)[name])]
            if not x or not y:
                continue
            mean, other = statistics.fmean(x), statistics.fmean(y)
            allowed = max(0.01 * abs(mean), 3 * math.hypot(error_of_mean(x), error_of_mean(y)))
            if abs(other - mean) > allowed:
                found.append(Change(*key, name, mean, other, allowed, sign * (other - mean) > 0))
    return found


# ---- report ------------------------------------------------------------------------------------


def warnings(old: Sequence[Record], new: Sequence[Record]) -> list[str]:
    """What makes a comparison doubtful."""
    lines = []
    machines = [{one.conditions.get("machine") for one in side} for side in (old, new)]
    if machines[0] != machines[1]:
        lines.append(f"different machines: {sorted(map(str, machines[0] | machines[1]))}")
    for name, side in (("old", old), ("new", new)):
        load = max((one.conditions.get("load", 0.0) for one in side), default=0.0)
        if load > 2:
            lines.append(f"the {name} records were made on a busy machine (load up to {load})")
    return lines


def text(changes: Sequence[Change], paired: int, lost: int) -> str:
    rows = [["table, row, column", "", "old", "new", "ratio", "noise", ""]]
    for one in changes:
        ratio = f"{one.new / one.old:.3g}" if one.old else ""
        allowed = f"{one.noise:.0%}" if one.what == "time" else f"{one.noise:.2g}"
        name = f"{one.table}: {one.row}: {one.column}"
        values = [tables.number(v, 4) for v in (one.old, one.new)]
        rows.append([name, one.what, *values, ratio, allowed, one.verdict()])
    worse = sum(one.worse is True for one in changes)
    better = sum(one.worse is False for one in changes)
    end = f"{paired} pairs: {worse} slower or worse, {better} faster or better beyond the noise"
    if lost:
        end += f"; {lost} records of the old file have no pair"
    return "\n".join([*(tables.aligned(rows) if changes else []), end])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tables", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--noise", type=float, default=NOISE, help="least change of a time")
    parser.add_argument("--json", action="store_true", help="print the changes as JSON")
    options = parser.parse_args(argv)
    try:
        old, new = common.read([options.old]), common.read([options.new])
    except (OSError, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    if options.tables:
        old, new = ([one for one in side if one.table in options.tables] for side in (old, new))
    keys = [{one.key for one in side} for side in (old, new)]
    if not keys[0] & keys[1]:
        print("compare: no record of one file has a pair in the other", file=sys.stderr)
        return 2
    for line in warnings(old, new):
        print(f"compare: {line}", file=sys.stderr)
    changes = compare(old, new, options.noise)
    if options.json:
        print(json.dumps([{**asdict(one), "verdict": one.verdict()} for one in changes], indent=2))
    else:
        print(text(changes, len(keys[0] & keys[1]), len(keys[0] - keys[1])))
    return int(any(one.worse for one in changes))


if __name__ == "__main__":
    sys.exit(main())
