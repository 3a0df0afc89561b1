"""Which lines of the device kernels did the emulated tests execute?

    python tests/cuda_emu/kernel_lines.py <folder of the objects with .gcda files>

Every line of *_cuda.cuh and of backend/{launch,reduce}.cuh that holds code must have run, in any of
its instantiations. Exit code 1, and the lines, where some have not. Lines of the functors that the
CPU shares are counted, but only reported: the CPU's tests execute them too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUST = ("_cuda.cuh", "backend/launch.cuh", "backend/reduce.cuh")
SHARED = ("_functors.inl",)


def executed(folder: Path) -> dict[str, Counter[int]]:
    """Counts by file and line, added over translation units and instantiations."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    data = sorted(folder.rglob("*.gcda"))
    if not data:
        raise SystemExit(f"{folder}: no .gcda files")
    for path in data:
        out = subprocess.run(
            ["gcov", "--json-format", "--stdout", path], check=True, capture_output=True, cwd=folder
        ).stdout
        for line in out.splitlines():
            report = json.loads(line)
            for file in report["files"]:
                name = str(Path(report["current_working_directory"], file["file"]).resolve())
                for entry in file["lines"]:
                    counts[name][entry["line_number"]] += entry["count"]
    return counts


def main(argv: list[str]) -> int:
    counts = executed(Path(argv[0]).resolve())
    missing, total = [], 0
    for name, lines in sorted(counts.items()):
        path = Path(name)
        if not path.is_relative_to(ROOT / "csrc") or not name.endswith(MUST + SHARED):
            continue
        source = path.read_text("utf-8").splitlines()
        never = [n for n in sorted(lines) if lines[n] == 0]
        print(f"{len(lines) - len(never):4d} of {len(lines):4d}  {path.relative_to(ROOT)}")
        if name.endswith(SHARED):
            continue
        total += len(lines)
        missing += [f"{path.relative_to(ROOT)}:{n}: {source[n - 1].strip()}" for n in never]
    if not total:
        raise SystemExit("no line of a kernel was found: were these objects compiled here?")
    for line in missing:
        print(line)
    print(f"{total - len(missing)} of {total} kernel lines executed")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
