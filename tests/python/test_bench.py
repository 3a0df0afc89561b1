"""Records of bench/, their comparison, and the page that is made of them."""

import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
RECORDS = sorted((BENCH / "records").glob("*.jsonl"))

pytestmark = pytest.mark.skipif(not BENCH.is_dir(), reason="needs the source tree")


@pytest.fixture(scope="module")
def bench():
    """bench/ as the scripts see it: import_module('compare') and so on."""
    sys.path.insert(0, str(BENCH))
    try:
        names = ("_common", "_tables", "compare", "report", "kernels", "gpu")
        names += ("distributed_cbo", "distributed_convex")
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture
def record(bench):
    def make(column="ours", peer="", times=(1.0, 1.01, 0.99, 1.0, 1.02), **more):
        return bench["_common"].Record("speed", "case", column, peer, list(times), **more)

    return make


def file_of(tmp_path, name, records):
    path = tmp_path / name
    path.write_text("".join(one.as_json() + "\n" for one in records))
    return str(path)


def scaled(record, factor, **more):
    return dataclasses.replace(record, times=[factor * t for t in record.times], **more)


# --- records ---------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was(bench, record):
    one = record(fun=0.5, violation=0.0, nit=7, nfev=70, dtype="float32", scores={"ok": [True]},
                 extra={"where": ["f15"], "unknown": None})  # fmt: skip
    line = json.loads(one.as_json())
    assert {"machine", "load", "versions", "threads", "clock"} <= set(line)
    assert line["clock"] == "cpu" and {"python", "numpy", "fastopt"} <= set(line["versions"])
    back = bench["_common"].from_json(one.as_json())
    assert dataclasses.replace(back, conditions={}) == one
    assert back.as_json() == bench["_common"].from_json(back.as_json()).as_json()


def test_what_is_not_finite_or_not_known_is_left_out(record):
    line = json.loads(record(fun=float("nan"), nit=None, extra={}).as_json())
    assert not {"fun", "nit", "extra", "peer"} & set(line)


def test_a_line_that_is_no_record_is_named(bench, tmp_path, record):
    path = tmp_path / "records.jsonl"
    for wrong in ("{", '{"table": "speed"}', "[1]", '{"nonsense": 1}'):
        path.write_text(f"{record().as_json()}\n\n{wrong}\n")
        with pytest.raises(ValueError, match=r"records\.jsonl, line 3: not a record"):
            bench["_common"].read([path])


def test_subjects_take_turns_after_a_warm_up(bench):
    common, seen = bench["_common"], []

    def subject(name, once=False):
        def run():
            seen.append(name)
            return common.Outcome(common.Seconds(2.0, 1.0), steps=4, fun=3.0)

        return common.Subject(name, run, once=once)

    subjects = [subject("a"), subject("b"), subject("slow", once=True)]
    records = common.alternate("t", "r", subjects, repeats=2)
    assert seen == ["a", "b", "a", "b", "slow", "a", "b"]
    assert [len(one.times) for one in records] == [2, 2, 1]
    assert records[0].times == [0.25, 0.25] and records[0].wall == 0.5 and records[0].fun == 3.0


def test_kernels_reads_what_google_benchmark_says(bench):
    line = {"run_type": "iteration", "time_unit": "ns", "cpu_time": 5e3}
    lines = [
        {**line, "run_name": "normal_f32/avx2", "per_item": 1e-9},
        {**line, "run_name": "normal_f32/avx2", "per_item": 3e-9},
        {**line, "run_name": "BM_ldl/200", "GF/s": 7.0},
        {**line, "run_name": "BM_ldl/200", "run_type": "aggregate"},
    ]
    normal, ldl = bench["kernels"].records_of(lines)
    assert (normal.row, normal.column, normal.dtype) == ("normal_f32", "avx2", "float32")
    assert normal.times == [1e-9, 3e-9]
    assert (ldl.row, ldl.column, ldl.times) == ("ldl/200", "in force", [5e3 * 1e-9])
    assert "7 GF/s" in bench["kernels"].TABLES[0].text([ldl])


def test_cbo_on_ranks_beside_its_model(bench):
    script, seconds = bench["distributed_cbo"], bench["_common"].Seconds
    work = script.Work(divided=0.04, items=100, same=0.002, exchanges=3, numbers=1000)
    here = script.Machine(cores=2, overhead=1e-5, latency=0.0, bandwidth=1e9)
    assert script.predicted(work, here, 1) == pytest.approx(0.042)
    assert script.predicted(work, here, 2) == pytest.approx(0.022 + 3 * 2e-5 + 4e-6)
    times = {1: [seconds(0.05, 0.04), seconds(0.06, 0.042)], 4: [seconds(0.04, 0.02)]}
    records = [script.record_of("case", k, found, work, here) for k, found in times.items()]
    header, _, alone, four = script.TABLES[0].text(records).splitlines()[1:]
    assert header.split("  ")[-1] == "work divided"
    assert alone.split() == ["case", "cbo,", "1", "rank", "50", "42", "100%", "40", "100%"]
    assert four.split()[:4] == ["cbo,", "4", "ranks", "40"]
    assert four.split()[-3:] == ["31%", "20", "50%"]
    assert "31%" not in script.TABLES[0].text(records[1:])  # of one rank nothing is known


def test_convex_solvers_on_ranks(bench, monkeypatch):
    script = bench["distributed_convex"]
    one = {"wall": 0.2, "cpu": 0.1, "exchanges": 10.0, "numbers": 366.0, "once": 1.5, "nit": 30}
    answers = [[{**one, "x": 1}, {**one, "x": 2}], [{**one, "cpu": 0.3, "x": 1}, {**one, "x": 3}]]
    monkeypatch.setattr(script._ranks, "on", lambda *_: answers)
    record, solutions = script.measure(0, 2, quick=True, repeats=2)
    assert record.times == [0.3, 0.1] and solutions == [2, 3]  # of the busiest, of the last run
    assert record.row == "admm_relu, gates: n = 300, d = 5, P = 512"
    assert (record.column, record.clock, record.nit) == ("admm_relu, 2 ranks", "cpu", 30)


def test_a_gpu_is_beside_the_cpu_of_the_same_precision(bench, record):
    rows = [
        dataclasses.replace(record(column, times=[t], threads=0, dtype=f"float{column[-2:]}"),
                            table="gpu", extra=extra)
        for column, t, extra in (
            ("fastopt, cuda f64", 0.002, {"floor": 0.001}),
            ("fastopt, cpu f64", 0.02, {}),
            ("fastopt, cuda f32", 0.001, {"floor": 0.0009}),
            ("fastopt, cpu f32", 0.03, {}),
        )
    ]  # fmt: skip
    lines = bench["gpu"].TABLES[0].text(rows).splitlines()[3:]
    assert [line.split()[-1] for line in lines] == ["1", "10", "1", "30"]
    assert [line.split()[-2] for line in lines][::2] == ["50%", "90%"]


def test_a_script_writes_records_and_prints_their_tables(tmp_path):
    done = subprocess.run(
        [sys.executable, "rates.py", "--quick", "--repeats", "1", "--jsonl", tmp_path / "r.jsonl"],
        cwd=BENCH, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    names = {"rates", "rates_objective", "rates_machine", "gil"}
    assert {one["table"] for one in lines} == names
    assert all(len(one["times"]) == 1 and one["times"][0] > 0 for one in lines)
    assert "normal, float64" in done.stdout and "GF/s, gemm" in done.stdout
    idle = next(line for line in done.stdout.splitlines() if "  idle  " in line)
    assert idle.split()[-1] == "100%"
    ours = {one["column"] for one in lines if one["table"] == "gil"}
    assert {"cbo", "admm_relu", "sketch_newton", "lstsq", "sketch"} < ours


# --- compare ---------------------------------------------------------------------------------


def verdicts(bench, old, new, **options):
    return [(one.what, one.verdict()) for one in bench["compare"].compare(old, new, **options)]


def test_noise_is_no_change(bench, record):
    one = record()
    assert verdicts(bench, [one], [one]) == []
    assert verdicts(bench, [one], [scaled(one, 1.03)]) == []
    wild = record(times=[1.0, 1.6, 0.7, 1.3, 0.8])
    assert verdicts(bench, [wild], [scaled(wild, 1.3)]) == []


def test_changes_of_time_beyond_noise(bench, record):
    one = record()
    assert verdicts(bench, [one], [scaled(one, 1.2)]) == [("time", "slower")]
    assert verdicts(bench, [one], [scaled(one, 0.8)]) == [("time", "faster")]
    assert verdicts(bench, [one], [scaled(one, 1.2)], noise=0.3) == []
    single = record(times=[1.0])
    assert verdicts(bench, [single], [scaled(single, 1.2)]) == []
    assert verdicts(bench, [single], [scaled(single, 3)]) == [("time", "slower")]


def test_a_slower_machine_is_seen_by_its_peers(bench, record):
    old = [record(), record("theirs", "other")]
    same = [scaled(one, 2) for one in old]
    assert verdicts(bench, old, same) == [("time", "peer changed")]
    assert verdicts(bench, old, [old[0], same[1]]) == [("time", "peer changed")]
    assert verdicts(bench, old, [same[0], old[1]]) == [("time", "slower")]
    assert verdicts(bench, old, [scaled(old[0], 4), same[1]])[0] == ("time", "slower")
    assert verdicts(bench, old, [scaled(old[0], 0.5), same[1]])[0] == ("time", "faster")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"fun": 1.0}, {"fun": 1.001}, [("objective", "worse")]),
        ({"fun": -1.0}, {"fun": -1.001}, [("objective", "better")]),
        ({"fun": 1.0}, {"fun": 1.0 + 1e-9}, []),
        ({"violation": 1e-15}, {"violation": 1e-12}, []),
        ({"violation": 1e-15}, {"violation": 1e-6}, [("violation", "worse")]),
        ({"costs": {"bytes": 100}}, {"costs": {"bytes": 200}}, [("bytes", "worse")]),
        ({"scores": {"solved": 40}}, {"scores": {"solved": 38}}, [("solved", "worse")]),
        ({"scores": {"auc": [0.2, 0.6, 0.4]}}, {"scores": {"auc": [0.3, 0.5, 0.3]}}, []),
        ({"scores": {"auc": [0.2, 0.3] * 9}}, {"scores": {"auc": [0.5, 0.6] * 9}},
         [("auc", "better")]),
    ],
)  # fmt: skip
def test_what_was_reached_is_compared(bench, record, before, after, expected):
    assert verdicts(bench, [record(**before)], [record(**after)]) == expected
    theirs = [record("theirs", "other", **values) for values in (before, after)]
    assert verdicts(bench, theirs[:1], theirs[1:]) == []


def test_repeats_may_be_records_of_their_own(bench, record):
    old = [record(times=[t]) for t in (1.0, 1.01, 0.99, 1.0)]
    assert verdicts(bench, old, [scaled(one, 1.2) for one in old]) == [("time", "slower")]


def test_compare_exit_codes(bench, record, tmp_path, capsys):
    main = bench["compare"].main
    old = file_of(tmp_path, "old", [record(), record("lost")])
    slow = file_of(tmp_path, "slow", [scaled(record(), 2)])
    assert main([old, old]) == 0
    assert "2 pairs: 0 slower or worse" in capsys.readouterr().out
    assert main([slow, old]) == 0
    assert main([old, slow]) == 1
    out = capsys.readouterr().out
    assert "slower" in out and "1 records of the old file have no pair" in out
    assert main([old, slow, "--json"]) == 1
    (change,) = json.loads(capsys.readouterr().out)
    assert (change["column"], change["verdict"], change["new"]) == ("ours", "slower", 2.0)
    other = file_of(tmp_path, "other", [dataclasses.replace(record(), table="else")])
    assert main([old, other]) == 2
    assert main([old, slow, "--tables", "else"]) == 2
    assert main([old, str(tmp_path / "none")]) == 2
    assert "compare: " in capsys.readouterr().err


def test_doubts_are_said(bench, record):
    quiet = record(conditions={"machine": "a", "load": 0.5})
    busy = record(conditions={"machine": "b", "load": 7.0})
    assert bench["compare"].warnings([quiet], [quiet]) == []
    text = "\n".join(bench["compare"].warnings([quiet], [busy]))
    assert "different machines" in text and "new records" in text and "7.0" in text


def test_real_records(bench):
    records = bench["_common"].read(RECORDS)
    for table in {one.table for one in records} - {"rates_machine"}:
        assert any(one.table == table and not one.peer for one in records), table
    compare = bench["compare"].compare
    assert compare(records, records) == []
    slower = [one if one.peer else scaled(one, 3) for one in records]
    changed = {(c.table, c.row, c.column) for c in compare(records, slower) if c.worse}
    steady = {one.key for one in records if not one.peer and len(one.times) >= 5}
    assert len(steady) > 20 and len(steady & changed) > 0.9 * len(steady)


# --- report ----------------------------------------------------------------------------------

PAGE = """# Page
<!-- machine rates -->
<!-- end -->
<!-- table rates -->
old
<!-- end -->
<!-- table nist -->
by hand
<!-- end -->
"""


def test_report_fills_the_page(bench, record, tmp_path, capsys):
    rates = [
        dataclasses.replace(record(column, peer), table="rates")
        for column, peer in (("fastopt", ""), ("NumPy", "numpy"))
    ]
    records = file_of(tmp_path, "records", rates)
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    main = bench["report"].main
    assert main([records, "--page", str(page), "--check"]) == 1
    assert page.read_text() == PAGE
    assert main([records, "--page", str(page)]) == 0
    text = page.read_text()
    assert "| case | fastopt | " in text and "| NumPy | " in text and "by hand" in text
    assert "cores" in text and "Python 3." in text and "old" not in text
    assert main([records, "--page", str(page), "--check"]) == 0
    page.write_text(PAGE.replace("table nist", "table nothing"))
    assert main([records, "--page", str(page)]) == 2
    assert "a table nothing, which no script has" in capsys.readouterr().err


def test_the_page_is_what_the_records_say(bench):
    assert bench["report"].main(["--check", *map(str, RECORDS)]) == 0


def test_the_page_has_a_place_for_every_table(bench):
    report = bench["report"]
    text = report.PAGE.read_text("utf-8")
    places = [match[3] for match in report.MARKED.finditer(text) if match[2] == "table"]
    assert sorted(places) == sorted(report.all_tables())


def test_records_are_small_enough_to_keep():
    assert RECORDS
    for path in RECORDS:
        assert path.stat().st_size < 100_000, path.name
