"""The command line: `fastopt info | demo | bench`, the same as `python -m fastopt`.

Exit codes: 0 all well; 1 a check failed; 2 wrong usage, or something needed is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FAILED, MISSING = 1, 2

# Optional face -> what it needs
FACES = {
    "fastopt.plot, `fastopt demo --plot`": "matplotlib",
    "fastopt.tqdm": "tqdm",
    "fastopt.sklearn": "sklearn",
    "fastopt.torch": "torch",
    "fastopt.jax": "jax",
    "numba objectives": "numba",
}


class CommandError(Exception):
    """Wrong usage or something missing; the message says what to do."""


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


def info(options: argparse.Namespace) -> int:
    """What this installation is and what it found."""
    from fastopt import __version__, _backend

    report = dict(_backend.info())
    report["engine_version"] = report["version"]
    report["version"] = __version__
    report["optional"] = {
        module: importlib.util.find_spec(module) is not None for module in FACES.values()
    }
    if options.json:
        _print_json(report)
        return 0
    cuda, version, engine = report["cuda"], report["version"], report["engine_version"]
    lines = {
        "version": version if engine == version else f"{version} (compiled engine {engine})",
        "kernels": f"{report['isa']} (this CPU has: {', '.join(report['isa_available'])})",
        "BLAS": report["blas"],
        "threads": report["threads"],
        "CUDA": "available" if cuda["available"] else f"not available: {cuda['reason']}",
    }
    for key, text in lines.items():
        print(f"{key:<10}{text}")
    print("optional")
    for face, module in FACES.items():
        state = "present" if report["optional"][module] else "not installed"
        print(f"  {module:<12}{state:<15}for {face}")
    return 0


def demo(options: argparse.Namespace) -> int:
    """Each solver on real data, beside what people use today."""
    from fastopt import _demo, _nist

    sets = [word for word in options.what if word in _nist.NAMES]
    named = [word for word in options.what if word in _demo.PARTS]
    unknown = [word for word in options.what if word not in sets + named]
    if unknown:
        raise CommandError(
            f"no such part or NIST set: {', '.join(unknown)}; the parts are "
            f"{', '.join(_demo.PARTS)}, the sets {', '.join(_nist.NAMES)}"
        )
    if sets and "nist" not in named:
        named.append("nist")
    _check_plot(options.plot)
    reports: dict[str, Any] = {}
    reasons: list[str] = []
    chosen = named or list(_demo.PARTS)
    for name in chosen:
        if lacking := _demo.missing(name):
            reason = f"{name} needs {', '.join(lacking)}: pip install 'fastopt[demo]'"
            if name in named:
                raise CommandError(reason)
            print(f"left out: {reason}", file=sys.stderr)
            continue
        part = _demo.part(name)
        if not options.json:
            print(f"{part.TITLE}\n", flush=True)
        if name == "nist":
            table = _nist_rows(options, sets)
        else:
            table = part.run(options.seed, options.quick)
            if not options.json:
                print(part.text(table))
        reports[name] = part.as_dict(table)
        reasons += part.failures(table)
        if options.plot is not None:
            _draw(part.figure(table), _plot_file(options.plot, name, len(chosen)), options.json)
        if not options.json:
            print(flush=True)
    if options.json:
        _print_json({"seed": options.seed, **reports})
    for reason in reasons:
        print(f"fastopt demo: {reason}", file=sys.stderr)
    return FAILED if reasons else 0


def _nist_rows(options: argparse.Namespace, sets: list[str]) -> list[Any]:
    """The NIST part, its rows printed as they come."""
    from fastopt import _demo_nist

    if options.json:
        return _demo_nist.run(options.seed, options.quick, sets)

    def report(row: _demo_nist.Row) -> None:
        print(_demo_nist.line(row), flush=True)
        if options.values:
            print(_demo_nist.values(row), flush=True)

    print(_demo_nist.header(), flush=True)
    table = _demo_nist.run(options.seed, options.quick, sets, report)
    print(_demo_nist.summary_text(table))
    return table


def _check_plot(file: Path | None) -> None:
    """Before the work: what would keep a plot from being written."""
    if file is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandError(
            "--plot needs matplotlib, which is not installed: pip install 'fastopt[demo]'"
        )
    if not file.resolve().parent.is_dir():
        raise CommandError(f"--plot: there is no folder {file.resolve().parent}")


def _plot_file(file: Path, part: str, parts: int) -> Path:
    """fits.png of one part is fits.png, of several fits-nist.png and so on."""
    return file if parts == 1 else file.with_stem(f"{file.stem}-{part}")


def _draw(figure: Any, file: Path, quiet: bool) -> None:
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:  # not writable, or an unknown file type
        raise CommandError(f"--plot {file}: {error}") from error
    if not quiet:
        print(f"plot written to {file}")


def find_bench() -> Path:
    """The folder bench/ of the source tree: beside this package's source, else in ./bench."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        project = root / "pyproject.toml"
        if (
            (root / "bench").is_dir()
            and project.is_file()
            and re.search(r'^name\s*=\s*"fastopt"', project.read_text("utf-8"), re.MULTILINE)
        ):
            return root / "bench"
    raise CommandError(
        "the benchmarks are part of the source tree, which is not here: "
        "run `fastopt bench` inside a checkout of fastopt"
    )


def bench_scripts() -> dict[str, Path]:
    """Name -> script of every benchmark: the files of bench/ with tables."""
    return {
        path.stem: path
        for path in sorted(find_bench().glob("*.py"))
        if re.search(r"^TABLES\b", path.read_text("utf-8"), re.MULTILINE)
        and not path.stem.startswith("_")
    }


def _run_script(path: Path, argv: list[str], quiet: bool) -> int:
    """In a process of its own, where BLAS has one thread and memory no past."""
    environment = dict(os.environ)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(name, "1")
    here = str(Path(__file__).resolve().parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.getenv("PYTHONPATH")]))
    sys.stdout.flush()
    command = [sys.executable, str(path), *argv]
    return subprocess.run(command, env=environment, stdout=2 if quiet else None).returncode


def bench(options: argparse.Namespace) -> int:
    """Run benchmark scripts of the source tree; each prints its tables."""
    scripts = bench_scripts()
    unknown = [name for name in options.names if name not in scripts]
    if unknown:
        raise CommandError(f"no such benchmark: {', '.join(unknown)}; there are {_names(scripts)}")
    if options.list:
        _print_json(list(scripts)) if options.json else print("\n".join(scripts))
        return 0
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        records = options.jsonl
        if options.json and records is None:
            records = Path(folder) / "records.jsonl"
        begin = records.stat().st_size if records is not None and records.exists() else 0
        argv = ["--quick"] * options.quick
        argv += ["--jsonl", str(records.resolve())] if records is not None else []
        for name in options.names or scripts:
            if not options.json:
                print(f"\n===== {name}\n", flush=True)
            code = _run_script(scripts[name], argv, options.json)
            if code == MISSING and not options.names:  # it said what it lacks
                print(f"left out: {name}", file=sys.stderr)
                continue
            worst = max(worst, code if code in (0, MISSING) else FAILED)
        if options.json:
            lines = []
            if records.exists():
                with open(records, encoding="utf-8") as file:
                    file.seek(begin)
                    lines = [json.loads(text) for text in file]
            _print_json(lines)
    return worst


def _names(scripts: dict[str, Path]) -> str:
    return ", ".join(scripts) or "none"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastopt",
        description="Optimisation engine: what is installed, what it does, how fast.",
        epilog="exit codes: 0 all well; 1 a check failed; 2 wrong usage or something missing",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="info|demo|bench")

    one = commands.add_parser("info", help="version, kernels, BLAS, threads, CUDA, optional parts")
    one.set_defaults(run=info)

    two = commands.add_parser(
        "demo",
        help="each solver on real data, beside what people use today",
        description="Runs each solver on real data beside the usual tools: cbo fits the NIST StRD "
        "nonlinear regression sets from wide boxes, without a starting point. Exit code 1 if "
        "something that is claimed does not hold, for example when cbo misses the certified "
        "minimum of a set that it claims to reach.",
    )
    two.add_argument(
        "what", nargs="*", metavar="PART|SET", help="parts of the demo, or NIST sets (default: all)"
    )
    two.add_argument("--quick", action="store_true", help="a short version of each part")
    two.add_argument(
        "--values", action="store_true", help="NIST: the parameters beside the certified ones"
    )
    two.add_argument("--seed", type=int, default=0, help="seed of all solvers (default 0)")
    two.add_argument("--plot", type=Path, metavar="FILE", help="draw each part (.png, .pdf, .svg)")
    two.set_defaults(run=demo)

    three = commands.add_parser("bench", help="run the benchmarks of the source tree")
    three.add_argument("names", nargs="*", metavar="NAME", help="benchmarks (default: all)")
    three.add_argument("--list", action="store_true", help="only list the benchmarks")
    three.add_argument("--quick", action="store_true", help="a short version of each")
    three.add_argument("--jsonl", type=Path, metavar="FILE", help="append one record per line")
    three.set_defaults(run=bench)

    for command in (one, two, three):
        command.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with these arguments (sys.argv's if None); returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except CommandError as error:
        print(f"fastopt {options.command}: {error}", file=sys.stderr)
        return MISSING


if __name__ == "__main__":
    sys.exit(main())
