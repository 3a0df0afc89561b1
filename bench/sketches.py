"""Sketching operators beside scipy and scikit-learn; least squares beside scipy and numpy.

    python bench/sketches.py [operators] [lstsq] [--quick] [--repeats N] [--jsonl FILE]

The floor of an operator is one read of the data: A.sum(); of CSR the entries and their columns.
Missing peers are skipped.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import _common as common
import _tables as tables
import numpy as np
import scipy
import scipy.sparse as sp
from _common import Outcome, Record, Subject
from _floor import median_seconds
from _tables import Table, Target, find, ratio

from fastopt import lstsq, sketch

ROWS, COLUMNS, SIZE = 100_000, 200, 1000
SJLT, SCIPY, EXACT = "sjlt", "scipy clarkson_woodruff_transform", "exact A'A, NumPy"
SLOW = ("gaussian", "sklearn SparseRandomProjection")


def plain(call: Callable[[], Any]) -> Callable[[], Outcome]:
    return lambda: Outcome(common.timed(call)[1], violation=None)


def part_operators(o: argparse.Namespace) -> list[Record]:
    rows = 20_000 if o.quick else ROWS
    rng = np.random.default_rng(0)
    A = rng.standard_normal((rows, COLUMNS))
    root = rng.random(rows)
    S = sp.random_array((rows, COLUMNS), density=0.05, format="csr", rng=rng)
    kinds = [(kind, {}) for kind in ("countsketch", SJLT, "uniform", "leverage", "less", "srht")]
    kinds.insert(2, (SJLT, {"nonzeros": 8}))
    records = []
    for label, data in (("dense f64", A), ("dense f32", A.astype(np.float32)), ("CSR f64", S)):
        parts = [data.data, data.indices] if label == "CSR f64" else [data]
        floor = sum(median_seconds(part.sum) for part in parts)
        about = {"dtype": str(data.dtype), "extra": {"floor": floor}}
        subjects = []
        chosen = [*kinds, ("gaussian", {})] if label == "dense f64" and not o.quick else kinds
        for kind, more in chosen:
            name = kind + (f", {more['nonzeros']} entries" if more else "")
            call = lambda d=data, k=kind, m=more: sketch(  # noqa: E731
                d, SIZE, k, scale=root.astype(d.dtype), rng=0, threads=1, **m
            )
            subjects.append(Subject(name, plain(call), **about, once=kind in SLOW))
        if label == "dense f64":
            subjects += peers(A, root, about, o.quick)
        row = f"{label}, {rows} x {COLUMNS} to {SIZE} rows"
        records += common.alternate("sketch_operators", row, subjects, o.repeats)
    return records


def peers(A: Any, root: Any, about: dict[str, Any], quick: bool) -> list[Subject]:
    def transform() -> Any:
        return scipy.linalg.clarkson_woodruff_transform(A * root[:, None], SIZE, rng=0)

    found = [
        Subject(SCIPY, plain(transform), "scipy", **about),
        Subject(EXACT, plain(lambda: A.T @ A), "numpy", **about),
    ]
    if not quick and common.has("sklearn", "its sparse projection"):
        from sklearn.random_projection import SparseRandomProjection

        def project() -> Any:
            fitted = SparseRandomProjection(SIZE, random_state=0).fit(A.T)
            return fitted.transform(A.T)

        found.append(Subject(SLOW[1], plain(project), "scikit-learn", **about, once=True))
    return found


def gelsy(A: Any, b: Any) -> Any:
    return scipy.linalg.lstsq(A, b, lapack_driver="gelsy")[0]


def part_lstsq(o: argparse.Namespace) -> list[Record]:
    rng = np.random.default_rng(0)
    sizes = [(20_000, 50, 0), (10_000, 100, 6)]
    if not o.quick:
        sizes = [(100_000, 100, 0), (50_000, 300, 6), (20_000, 500, 10)]
    records = []
    for rows, n, decades in sizes:
        A = rng.standard_normal((rows, n)) * np.logspace(0, -decades, n)
        b = A @ (1 / np.logspace(0, -decades, n)) + rng.standard_normal(rows)
        solvers: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
            "fastopt.lstsq": (lambda A, b: lstsq(A, b, threads=1).x, ""),
            "scipy gelsy": (
                lambda A, b: scipy.linalg.lstsq(A, b, lapack_driver="gelsy")[0],
                "scipy",
            ),
            "numpy lstsq (gelsd)": (lambda A, b: np.linalg.lstsq(A, b, rcond=None)[0], "numpy"),
            "scipy sparse lsqr": (
                lambda A, b: sp.linalg.lsqr(A, b, atol=1e-14, btol=1e-14)[0],
                "scipy",
            ),
        }

        def run(solve: Callable[[Any, Any], Any], A: Any, b: Any) -> Outcome:
            x, spent = common.timed(lambda: solve(A, b))
            r = b - A @ x
            size = float(np.linalg.norm(r))
            quality = float(np.linalg.norm(A.T @ r / np.linalg.norm(A, axis=0)) / size)
            return Outcome(spent, fun=size, violation=None, extra={"gradient": quality})

        subjects = [
            Subject(name, lambda s=solve, A=A, b=b, run=run: run(s, A, b), peer)
            for name, (solve, peer) in solvers.items()
        ]
        row = f"{rows} x {n}, columns over {decades} decades"
        records += common.alternate("sketch_lstsq", row, subjects, min(o.repeats, 3))
    return records


def operator_targets(records: Sequence[Record]) -> list[Target]:
    row = f"dense f64, {ROWS} x {COLUMNS} to {SIZE} rows"
    one = find(records, row, SJLT)
    return [
        Target("SJLT, 4 entries, in reads of the data", one.median / one.extra["floor"], 3),
        Target("scipy's transform against it", ratio(find(records, row, SCIPY), one), 1, True),
    ] if one else []  # fmt: skip


TABLES = (
    Table(
        "sketch_operators",
        "sketches, rows scaled and S sampled on the way: ms",
        tables.listed(
            "data",
            ms=tables.spread(1e3),
            reads_of_the_data=lambda r, _: r.median / r.extra["floor"],
        ),
        operator_targets,
    ),
    Table(
        "sketch_lstsq",
        "least squares: seconds, the residual b - Ax, the scaled |A'r| / |r|",
        tables.listed(
            "size",
            s=tables.spread(1),
            to_fastopt=tables.against("fastopt.lstsq"),
            residual=lambda r, _: tables.number(r.fun, 9),
            gradient=tables.of("gradient"),
        ),
    ),
)
PARTS = {"operators": part_operators, "lstsq": part_lstsq}


def main(argv: Sequence[str] | None = None) -> int:
    parser = common.parser(__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")
    options = parser.parse_args(argv)
    common.check_names(parser, "part", options.parts, PARTS)
    print(common.machine())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in options.parts or PARTS:
            tables.publish(TABLES, PARTS[part](options), options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())
