"""bench/gpu.py, all but the times; needs the plugin pytest_cuda_emu."""

import ctypes
import json
import os
from pathlib import Path

import pytest

from fastopt import _backend

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import gpu

    monkeypatch.setattr(gpu, "torch_devices", lambda: [])
    return gpu


def test_a_table_and_records_name_the_device(gpu, capsys, tmp_path):
    file = tmp_path / "records.jsonl"
    assert gpu.main(["--quick", "--repeats", "1", "--jsonl", str(file)]) == 0
    out = capsys.readouterr().out
    device = _backend.info()["cuda"]["device"]
    assert out.startswith(f"device: {device}; CPU: ") and "ceilings: " in out
    records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert len(records) == 4 * len(gpu.QUICK)  # two devices, two precisions
    for record in records:
        assert record["row"] in out and record["column"] in out
        assert len(record["times"]) == 1 and record["clock"] == "wall"
    ours = [r["extra"] for r in records if r["column"].startswith("fastopt, cuda")]
    assert len(ours) == 2 * len(gpu.QUICK)
    assert all(r["device"] == device and r["floor"] > 0 for r in ours)


def test_without_a_device_it_says_so(gpu, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_EMU_NO_DEVICE", "1")
    assert gpu.main(["--quick"]) == 2
    assert "needs a CUDA device: no CUDA-capable device" in capsys.readouterr().err


def test_bytes_are_those_of_the_table(gpu):
    n, d = 1000, 20  # 4 blocks of 256 rows, 2 of 819
    values = 8 * n + 8 * n + 24 * 4 + 8 * n + 24 * 4 + 24 + 32 * n + 16 * n + 32
    mean = 8 * n * d + 8 * n + 2 * 8 * 2 * (d + 1) + 8 * d
    plain = 8 * n * d + values + mean + 8 * (2 * n * d + 3 * d)
    assert gpu.bytes_of(gpu.Particles("anisotropic", n, d, 1), 8) == plain
    assert gpu.bytes_of(gpu.Particles("memory", n, d, 1), 8) == plain + 16 * n + 8 * n * d


@pytest.mark.parametrize("sizes", [(40, 3, 6), (12, 5, 7)], ids=["weights", "samples"])
def test_flops_are_those_of_an_iteration(gpu, sizes):
    if "FASTOPT_CUDA_MODULE" not in os.environ:
        pytest.skip("the emulated device counts")
    count = ctypes.CDLL(os.environ["FASTOPT_CUDA_MODULE"]).cuda_emu_flops
    count.restype = ctypes.c_long
    counts = []
    for steps in (5, 6):
        before = count()
        gpu.admm_run(gpu.Network(*sizes, steps), "float64", "cuda")()
        counts.append(count() - before)
    assert counts[1] - counts[0] == gpu.flops_of(gpu.Network(*sizes, 1))


def test_the_rival_takes_its_steps(gpu):
    pytest.importorskip("torch")
    outcome = gpu.torch_run(gpu.Particles("anisotropic", 500, 3, 100), "float64", "cpu")()
    assert outcome.fun < 5 and outcome.seconds.wall > 0
