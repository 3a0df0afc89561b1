"""The command line: `fastopt info | demo | bench`, the same as `python -m fastopt`.

Exit codes: 0 all well; 1 a check failed; 2 wrong usage, or something needed is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

FAILED, MISSING = 1, 2

# Optional face -> what it needs
FACES = {
    "fastopt.plot and `fastopt demo --plot`": "matplotlib",
    "fastopt.tqdm": "tqdm",
    "fastopt.sklearn": "sklearn",
    "fastopt.torch": "torch",
    "numba objectives": "numba",
    "fastopt.distributed": "mpi4py",
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
    """Fit the NIST sets and compare with the certified values."""
    from fastopt import _demo, _nist

    names = options.sets or (_demo.QUICK if options.quick else _nist.NAMES)
    unknown = [name for name in names if name not in _nist.NAMES]
    if unknown:
        raise CommandError(f"no such set: {', '.join(unknown)}; there are {', '.join(_nist.NAMES)}")
    if options.plot is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise CommandError(
                "--plot needs matplotlib, which is not installed: pip install 'fastopt[demo]'"
            )
        if not options.plot.resolve().parent.is_dir():
            raise CommandError(f"--plot: there is no folder {options.plot.resolve().parent}")
    table = []
    if not options.json:
        print(_demo.header(), flush=True)
    for row in _demo.rows(names, options.seed):
        table.append(row)
        if not options.json:
            print(_demo.line(row), flush=True)
            if options.values:
                print(_demo.values(row), flush=True)
    if options.json:
        _print_json(_demo.as_dict(table, options.seed))
    else:
        print(_demo.summary_text(table))
    if options.plot is not None:
        try:
            _demo.figure(table).savefig(options.plot)
        except (OSError, ValueError) as error:  # not writable, or an unknown file type
            raise CommandError(f"--plot {options.plot}: {error}") from error
        if not options.json:
            print(f"plot written to {options.plot}")
    reasons = _demo.failures(table)
    for reason in reasons:
        print(f"fastopt demo: {reason}", file=sys.stderr)
    return FAILED if reasons else 0


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
    """Name -> script of every benchmark: the files of bench/ with a function main."""
    return {
        path.stem: path
        for path in sorted(find_bench().glob("*.py"))
        if re.search(r"^def main\(", path.read_text("utf-8"), re.MULTILINE)
    }


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fastopt_bench_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # it is a .py file
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _run_script(path: Path, argv: list[str]) -> int:
    sys.path.insert(0, str(path.parent))  # scripts share helpers
    try:
        return int(_load(path).main(argv) or 0)
    except ModuleNotFoundError as error:
        raise CommandError(f"bench {path.stem}: {error}: pip install '.[bench]'") from error
    finally:
        sys.path.remove(str(path.parent))


def bench(options: argparse.Namespace) -> int:
    """Run benchmark scripts of the source tree; each prints its table."""
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
        argv += ["--jsonl", str(records)] if records is not None else []
        for name in options.names or scripts:
            with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
                worst = max(worst, _run_script(scripts[name], argv))
        if options.json:
            with open(records, encoding="utf-8") as file:
                file.seek(begin)
                _print_json([json.loads(text) for text in file])
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
        help="fit the NIST regression sets without starting points, beside scipy",
        description="Fits the NIST StRD nonlinear regression sets from wide boxes, without a "
        "starting point, by fastopt.cbo and by scipy's differential_evolution, and counts the "
        "digits agreed with NIST's certified values. Exit code 1 if cbo misses the certified "
        "minimum of a set that it claims to reach (the closing lines name those that it does not "
        "claim), or reaches fewer sets than differential_evolution.",
    )
    two.add_argument("sets", nargs="*", metavar="SET", help="sets to fit (default: all 27)")
    two.add_argument("--quick", action="store_true", help="six of the sets")
    two.add_argument(
        "--values", action="store_true", help="print the parameters beside the certified ones"
    )
    two.add_argument("--seed", type=int, default=0, help="seed of both solvers (default 0)")
    two.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw fits and convergence (.png, .pdf, .svg)"
    )
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
