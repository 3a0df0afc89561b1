"""The command line: output, JSON and exit codes."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from scipy.optimize import OptimizeResult

import fastopt
from fastopt import __main__ as cli
from fastopt import _backend, _demo, _demo_nist, _nist


def run(capsys, *argv):
    code = cli.main(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def without_matplotlib(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )


@pytest.fixture
def lost_cbo(monkeypatch):
    """A cbo that stays in a corner of the box, from where least_squares does not save it."""

    def corner(fun, bounds, budget, seed):
        x = np.array(bounds)[:, 0]
        return OptimizeResult(x=x, fun=fun(x), message="stayed in the corner")

    monkeypatch.setitem(_demo_nist.SOLVERS, _demo_nist.CBO, corner)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A source tree with two benchmarks and a helper; the package lies elsewhere."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "fastopt"\n')
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "helper.py").write_text("RECORD = {'seconds': 1.5}\n")
    (bench / "compare.py").write_text("def main(argv):\n    return 1\n")  # has no tables
    (bench / "_shared.py").write_text("TABLES = ()\n")
    scripts = {
        "good": """
            import json
            from helper import RECORD
            print("table", sys.argv[1:], os.environ["OPENBLAS_NUM_THREADS"])
            if "--jsonl" in sys.argv:
                with open(sys.argv[sys.argv.index("--jsonl") + 1], "a") as file:
                    file.write(json.dumps(RECORD) + "\\n")
        """,
        "lame": """
            print("no_such_peer is not installed", file=sys.stderr)
            sys.exit(2)
        """,
        "worse": "sys.exit(7)",
    }
    for name, code in scripts.items():
        head = "import os, sys\nTABLES = ()\n"
        (bench / f"{name}.py").write_text(head + textwrap.dedent(code))
    monkeypatch.setattr(cli, "__file__", "/nowhere/site-packages/fastopt/__main__.py")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- info ------------------------------------------------------------------------------------


def test_info(capsys):
    code, out, _ = run(capsys, "info")
    assert code == 0
    assert out.startswith(f"version   {fastopt.__version__}")
    for word in ("kernels", "BLAS", "threads", "CUDA", "matplotlib"):
        assert word in out


def test_info_json(capsys):
    code, out, _ = run(capsys, "info", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["version"] == fastopt.__version__
    assert report["engine_version"] == _backend.info()["version"]
    assert report["isa"] in report["isa_available"]
    assert isinstance(report["cuda"]["available"], bool)
    assert report["threads"] >= 1
    expected = importlib.util.find_spec("sklearn") is not None
    assert report["optional"]["sklearn"] is expected


def test_info_shows_an_engine_of_another_version(capsys, monkeypatch):
    monkeypatch.setattr(fastopt, "__version__", "9.8")
    engine = _backend.info()["version"]
    assert f"version   9.8 (compiled engine {engine})" in run(capsys, "info")[1]
    monkeypatch.setattr(fastopt, "__version__", engine)
    assert f"version   {engine}\n" in run(capsys, "info")[1]


def test_info_names_what_is_not_installed(capsys, without_matplotlib):
    _, out, _ = run(capsys, "info", "--json")
    assert json.loads(out)["optional"]["matplotlib"] is False


# --- demo ------------------------------------------------------------------------------------


def test_demo_reaches_the_certified_values(capsys):
    code, out, err = run(capsys, "demo", "Misra1a", "BoxBOD", "Rat43")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [text.split()[0] for text in lines[4:7]] == ["Misra1a", "BoxBOD", "Rat43"]
    assert "1.2455e-01 | 1.2455e-01" in lines[4]
    assert all(len(text) <= 100 for text in lines)
    (totals,) = (text.split() for text in lines if text.startswith("fastopt.cbo "))
    assert totals[1:3] == ["3", "3"]
    assert "missed" not in out.split("sets reached, of 3")[1]


def test_demo_json(capsys):
    code, out, _ = run(capsys, "demo", "Misra1a", "--json", "--seed", "3")
    printed = json.loads(out)
    assert code == 0
    assert printed["seed"] == 3
    report = printed["nist"]
    (entry,) = report["sets"]
    assert entry["set"] == "Misra1a"
    assert set(entry["fits"]) == {"cbo", "differential_evolution"}
    fit = entry["fits"]["cbo"]
    np.testing.assert_allclose(fit["b_finished"], entry["certified"], rtol=1e-8)
    problem = _nist.load("Misra1a")
    assert fit["rss"] == problem.rss(np.array(fit["b"]))
    assert fit["digits"] == problem.digits(np.array(fit["b"]))
    assert 0 < fit["nfev"] <= 2 * 20_000
    assert entry["claimed"] is True and report["failures"] == []
    assert report["summary"]["cbo"]["reached_finished"] == 1


def test_demo_values(capsys):
    code, out, _ = run(capsys, "demo", "BoxBOD", "--values")
    assert code == 0
    certified = _nist.load("BoxBOD").data.certified
    rows = {text.split()[0]: text.split()[1:] for text in out.splitlines() if text.strip()}
    for k in range(2):
        given, cbo, de = map(float, rows[f"b{k + 1}"])
        assert given == certified[k]
        assert cbo == pytest.approx(given, rel=1e-6) and de == pytest.approx(given, rel=1e-6)


def test_demo_values_show_equal_terms_in_nists_order():
    """The two peaks of Gauss1 the other way round are the same fit, and are shown as such."""
    problem = _nist.load("Gauss1")
    certified = problem.data.certified
    fit = _demo_nist.fit(problem, _demo_nist.CBO, seed=0, budget=200)
    swapped = dataclasses.replace(fit, b_finished=certified[[0, 1, 5, 6, 7, 2, 3, 4]])
    text = _demo_nist.values(_demo_nist.Row(problem, {_demo_nist.CBO: swapped}))
    shown = [list(map(float, row.split()[1:])) for row in text.splitlines()[1:]]
    np.testing.assert_array_equal(shown, np.column_stack([certified, certified]))


def test_demo_seed_reproduces(capsys):
    def numbers(seed):
        report = json.loads(run(capsys, "demo", "BoxBOD", "--json", "--seed", seed)[1])["nist"]
        return [(f["b"], f["nfev"]) for f in report["sets"][0]["fits"].values()]

    assert numbers("1") == numbers("1")
    assert numbers("1") != numbers("2")


def test_demo_quick_is_six_sets_of_27(monkeypatch):
    seen = []
    monkeypatch.setattr(_demo_nist, "fit", lambda problem, solver, seed: seen.append(problem.name))
    _demo_nist.run(0, quick=True)
    assert seen[::2] == list(_demo_nist.QUICK) and len(seen) == 2 * 6
    seen.clear()
    _demo_nist.run(0, quick=False)
    assert seen[::2] == list(_nist.NAMES)


def test_every_part_of_the_demo_keeps_to_the_protocol():
    for name in _demo.PARTS:
        part = _demo.part(name)
        assert isinstance(part.TITLE, str) and len(part.TITLE) <= 100
        assert all(isinstance(one, str) for one in part.REQUIRES)
        for function in ("run", "text", "as_dict", "failures", "figure"):
            assert callable(getattr(part, function))


def test_demo_leaves_out_what_cannot_run(capsys, monkeypatch):
    monkeypatch.setattr(_demo_nist, "REQUIRES", ("no_such_module",))
    code, out, err = run(capsys, "demo", "nist")
    assert (code, out) == (2, "")
    assert "nist needs no_such_module: pip install 'fastopt[demo]'" in err
    monkeypatch.setattr(_demo, "PARTS", ("nist",))
    code, _, err = run(capsys, "demo")
    assert code == 0 and "left out: nist needs no_such_module" in err


def test_demo_parts_have_plots_of_their_own(tmp_path):
    from fastopt.__main__ import _plot_file

    assert _plot_file(tmp_path / "a.png", "nist", 1) == tmp_path / "a.png"
    assert _plot_file(tmp_path / "a.png", "nist", 3) == tmp_path / "a-nist.png"


def test_demo_exits_1_when_cbo_misses(capsys, lost_cbo):
    code, out, err = run(capsys, "demo", "Eckerle4")
    assert code == 1
    assert err.splitlines() == [
        "fastopt demo: cbo missed Eckerle4, which it claims to reach",
        "fastopt demo: cbo reached 0 sets, differential_evolution 1",
    ]
    assert " * |" in out.splitlines()[4]
    assert "reached by differential_evolution alone: Eckerle4" in out


def test_demo_does_not_claim_the_hard_sets(capsys, lost_cbo, monkeypatch):
    """A hard set that both miss is no failure; one that only the peer reaches is."""
    assert set(_demo_nist.HARD) < set(_nist.NAMES)
    peer = _demo_nist.SOLVERS[_demo_nist.DE]
    monkeypatch.setitem(_demo_nist.SOLVERS, _demo_nist.DE, _demo_nist.SOLVERS[_demo_nist.CBO])
    code, out, err = run(capsys, "demo", "Gauss1")
    assert (code, err) == (0, "")
    assert "missed by both: Gauss1\nnot claimed by cbo: Gauss1" in out
    monkeypatch.setattr(_demo_nist, "HARD", ("Eckerle4",))
    monkeypatch.setitem(_demo_nist.SOLVERS, _demo_nist.DE, peer)
    code, _, err = run(capsys, "demo", "Eckerle4")
    assert code == 1
    assert err == "fastopt demo: cbo reached 0 sets, differential_evolution 1\n"


def test_demo_unknown_set(capsys):
    code, out, err = run(capsys, "demo", "Misra")
    assert (code, out) == (2, "")
    assert "no such part or NIST set: Misra; the parts are nist" in err
    assert "the sets Misra1a" in err


def test_demo_plot(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    for name, magic in (("fits.png", b"\x89PNG"), ("fits.svg", b"<?xml"), ("fits.pdf", b"%PDF")):
        file = tmp_path / name
        code, out, _ = run(capsys, "demo", "BoxBOD", "Nelson", "--plot", str(file))
        assert code == 0
        assert f"plot written to {file}" in out
        assert file.read_bytes().startswith(magic)


def test_demo_figure_shows_every_set():
    pytest.importorskip("matplotlib")
    table = _demo_nist.run(0, False, ["BoxBOD", "Nelson", "Misra1a", "Rat42"])
    fig = _demo_nist.figure(table)
    axes = fig.axes
    titles = [a.get_title().split(":")[0] for a in axes[:8:2]]
    assert titles == ["BoxBOD", "Nelson", "Misra1a", "Rat42"]
    assert axes[1].get_title("left") == axes[1].get_title("right") == "reached"
    assert len(axes[0].lines) == 3  # data and two fits
    end = axes[1].lines[0].get_xdata()[-1]
    assert end == table[0].fits[_demo_nist.CBO].nfev
    assert not axes[8].axison


def test_demo_plot_without_matplotlib(capsys, tmp_path, without_matplotlib):
    code, out, err = run(capsys, "demo", "BoxBOD", "--plot", str(tmp_path / "a.png"))
    assert (code, out) == (2, "")
    assert "pip install 'fastopt[demo]'" in err


def test_demo_plot_into_no_folder(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = run(capsys, "demo", "BoxBOD", "--plot", str(tmp_path / "none" / "a.png"))
    assert (code, out) == (2, "")
    assert "there is no folder" in err


def test_demo_plot_of_unknown_kind(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    code, _, err = run(capsys, "demo", "BoxBOD", "--plot", str(tmp_path / "a.nonsense"))
    assert code == 2
    assert "nonsense" in err


def test_recorder_counts_points():
    recorder = _demo_nist.Recorder(lambda z: np.sum(z**2, axis=0))
    recorder(np.ones((2, 5)))
    recorder(np.full(2, 0.5))
    recorder(np.full((2, 3), 2.0))
    assert recorder.nfev == 9
    assert recorder.trace == [(5, 2.0), (6, 0.5)]


@pytest.mark.parametrize("solver", {**_demo_nist.SOLVERS, **_demo_nist.PEERS})
def test_every_solver_keeps_its_budget(solver):
    fit = _demo_nist.fit(_nist.load("Misra1a"), solver, seed=0, budget=900)
    assert 50 < fit.nfev <= 900 + 100 * 3  # the polish of scipy's solvers comes on top
    assert fit.rss < 1e4
    assert [n for n, _ in fit.trace] == sorted(n for n, _ in fit.trace)


# --- bench -----------------------------------------------------------------------------------


def test_bench_lists_scripts_with_tables(capsys, checkout):
    assert run(capsys, "bench", "--list") == (0, "good\nlame\nworse\n", "")
    assert json.loads(run(capsys, "bench", "--list", "--json")[1]) == ["good", "lame", "worse"]


def test_bench_passes_its_options_on(capfd, checkout, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    code, out, _ = run(capfd, "bench", "good", "--quick", "--jsonl", "records.jsonl")
    file = checkout / "records.jsonl"
    assert code == 0
    assert out == f"\n===== good\n\ntable ['--quick', '--jsonl', '{file}'] 1\n"
    assert json.loads(file.read_text()) == {"seconds": 1.5}


def test_bench_json(capfd, checkout):
    code, out, err = run(capfd, "bench", "good", "--json")
    assert code == 0
    assert json.loads(out) == [{"seconds": 1.5}]
    assert err.startswith("table")
    # with a file of older records, only the new ones are printed
    (checkout / "old.jsonl").write_text('{"seconds": 9}\n')
    _, out, _ = run(capfd, "bench", "good", "--json", "--jsonl", "old.jsonl")
    assert json.loads(out) == [{"seconds": 1.5}]


def test_bench_exit_codes(capfd, checkout):
    assert run(capfd, "bench", "good", "worse")[0] == 1
    code, _, err = run(capfd, "bench", "lame")
    assert code == 2 and "no_such_peer is not installed" in err
    code, _, err = run(capfd, "bench", "best")
    assert code == 2 and "no such benchmark: best; there are good, lame, worse" in err


def test_bench_of_all_goes_on_after_one_that_lacks_its_peer(capfd, checkout):
    (checkout / "bench" / "worse.py").write_text("TABLES = ()\nprint('worse ran')\n")
    code, out, err = run(capfd, "bench")
    assert code == 0
    assert "left out: lame" in err and "worse ran" in out


def test_bench_outside_a_checkout(capsys, checkout, monkeypatch):
    monkeypatch.chdir(checkout / "bench")
    code, out, err = run(capsys, "bench")
    assert (code, out) == (2, "")
    assert "inside a checkout of fastopt" in err
    (checkout / "pyproject.toml").write_text('[project]\nname = "other"\n')
    monkeypatch.chdir(checkout)
    assert run(capsys, "bench")[0] == 2


# --- usage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv", [[], ["nonsense"], ["info", "--nonsense"], ["demo", "--seed", "x"]]
)
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    assert "usage: fastopt" in capsys.readouterr().err


def test_python_m(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fastopt", "demo", "BoxBOD", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["nist"]["summary"]["cbo"]["sets"] == 1
    wrong = subprocess.run(
        [sys.executable, "-m", "fastopt", "bench", "nonsense"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("fastopt bench: ")
