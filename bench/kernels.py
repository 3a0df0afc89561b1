"""The C++ micro-benchmarks of bench/cpp as records: each kernel on each instruction set.

They are built by `cmake --preset bench && cmake --build --preset bench`.

    python bench/kernels.py [--quick] [--repeats N] [--filter REGEX] [--jsonl FILE]

A time is of one number, coordinate or particle where the benchmark counts them, else of one call.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _common as common
import _tables as tables
from _common import Record
from _tables import Table

FOLDER = Path(__file__).resolve().parents[1] / "build" / "bench" / "bench" / "cpp"
PROGRAMS = ("bench_kernels", "bench_admm_relu", "bench_sketch")
LEVELS = ("baseline", "avx2", "avx512")
EXCERPT = (
    "^(philox_words|uniform_f|normal_f|rastrigin_f|ackley_f|move_anisotropic.*10000"
    "|move_memory.*10000|consensus.*10000|polar.*|cone_projection|prox|masked|forward|tiled|symm"
    "|plain_gemm|BM_)"
)


def run(program: Path, repeats: int, pattern: str, least: float) -> list[dict[str, Any]]:
    """What Google Benchmark says of each repeat."""
    command = [
        str(program),
        "--benchmark_format=json",
        f"--benchmark_filter={pattern}",
        f"--benchmark_min_time={least}",
        f"--benchmark_repetitions={repeats}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return [] if not done.stdout.strip() else list(json.loads(done.stdout)["benchmarks"])


def records_of(lines: Sequence[dict[str, Any]]) -> list[Record]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line.get("run_type", "iteration") == "iteration":
            found.setdefault(line["run_name"], []).append(line)
    records = []
    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    for name, repeats in found.items():
        row, _, level = name.rpartition("/")
        if level not in LEVELS:
            row, level = name, "in force"
        counted = "per_item" in repeats[0]
        rates = {k: repeats[-1][k] for k in ("GF/s", "GB/s") if k in repeats[0]}
        records.append(
            Record(
                "kernels",
                row.removeprefix("BM_"),
                level,
                times=[
                    one["per_item"] if counted else one["cpu_time"] * units[one["time_unit"]]
                    for one in repeats
                ],
                per="item" if counted else "call",
                dtype="float32" if "f32" in name or "float" in name else "float64",
                extra=rates,
            )
        )
    return records


def cell(record: Record, _: Sequence[Record]) -> str:
    units = {"ns": 1e9, "us": 1e6, "ms": 1e3}
    unit = next((one for one, scale in units.items() if record.median * scale < 1000), "ms")
    rates = (f", {tables.number(value)} {name}" for name, value in record.extra.items())
    return f"{tables.number(record.median * units[unit])} {unit}{''.join(rates)}"


TABLES = (
    Table(
        "kernels",
        "C++ kernels: median of an item (number, coordinate, particle) or of a call",
        tables.crossed("kernel", cell),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = common.parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--filter", default=EXCERPT, help="regular expression of benchmarks; . for all of them"
    )
    options = parser.parse_args(argv)
    programs = [FOLDER / name for name in PROGRAMS if (FOLDER / name).is_file()]
    if not programs:
        hint = "cmake --preset bench && cmake --build --preset bench"
        print(f"the C++ benchmarks are not built: no rows for kernels ({hint})", file=sys.stderr)
        return common.MISSING
    repeats, least = (1, 0.005) if options.quick else (options.repeats, 0.05)
    records = []
    for program in programs:
        records += records_of(run(program, repeats, options.filter, least))
    print(common.machine())
    tables.publish(TABLES, records, options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())
