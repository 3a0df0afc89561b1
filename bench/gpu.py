"""Iterations on a GPU, beside the CPU, PyTorch, and what the device could do at best.

The ceilings are measured first, with events of the device: bytes a second of a copy on it, flops a
second of a matrix product. The floor of a row is the time at those rates for the bytes that an
iteration of cbo moves (the table of docs/cuda.md, which the tests compare with counted bytes) or
for the products of an iteration of admm_relu. Times are wall-clock time of an iteration, waits for
the host included: a longer run less a shorter one, on a native objective. PyTorch runs the plain
rule with a fixed alpha, which is less work, on the same GPU.

    python bench/gpu.py [--quick] [--repeats N] [--jsonl FILE]

--quick takes sizes at which a GPU has nothing to do: it shows that everything runs. Without a
device: exit code 2, and the reason.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _common as common
import _tables as tables
import numpy as np
from _common import Clock, Outcome, Record, Seconds, Subject
from _tables import Table

from fastopt import _backend, admm_relu, cbo, problems

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cuda.md"
HEADING = "## Memory traffic of an iteration of cbo"


# ---- cbo ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Particles:
    """Plain or memory dynamics with anisotropic noise at one size."""

    dynamics: str
    n: int
    d: int
    steps: int

    @property
    def title(self) -> str:
        return f"cbo, {self.dynamics}, N = {self.n}, d = {self.d}"


def product_of(text: str, names: dict[str, int]) -> int:
    """The value of a formula of docs/cuda.md, where what stands side by side is multiplied."""
    code = re.sub(r"(?<=[\w)])\s+(?=[\w(])", " * ", text.strip())
    return int(eval(code, {"__builtins__": {}}, names))


def bytes_of(case: Particles, itemsize: int) -> int:
    """What an iteration reads and writes, from the table of docs/cuda.md."""
    blocks = max(64, 16384 // case.d)
    names = {"n": case.n, "d": case.d, "T": itemsize, "isotropic": 0}
    names |= {"memory": int(case.dynamics == "memory")}
    names |= {"b": -(-case.n // 256), "p": -(-case.n // blocks)}
    table = PAGE.read_text("utf-8").partition(HEADING)[2].partition("\n## ")[0]
    rows = re.findall(r"^\|([^|]+)\|([^|]+)\|([^|]+)\|$", table, re.MULTILINE)[2:]
    return sum(product_of(text, names) for row in rows for text in row[1:])


def cbo_run(case: Particles, dtype: str, device: str) -> Callable[[], Outcome]:
    problem = problems.rastrigin(case.d)

    def timed(steps: int) -> tuple[Any, Seconds]:
        clock = Clock()
        result = cbo(
            problem,
            problem.bounds,
            n_particles=case.n,
            dynamics=case.dynamics,
            init="random",
            rng=1,
            maxiter=steps,
            tol=0.0,
            polish=False,
            dtype=dtype,
            device=device,
        )
        return result, clock.read()

    def run() -> Outcome:
        timed(1)  # after the other subjects: caches and threads are cold
        shorter = timed(1)[1]
        result, longer = timed(case.steps + 1)
        return Outcome(longer - shorter, case.steps, result.fun, nfev=result.nfev)

    return run


def torch_run(case: Particles, dtype: str, device: str) -> Callable[[], Outcome]:
    """The rule of dynamics='anisotropic' as one would write it with PyTorch, alpha fixed."""
    import torch

    alpha, drift, diffusion = 30.0, 0.01, 0.5
    kind = getattr(torch, dtype)

    def values(x: Any) -> Any:
        return (x * x - 10 * torch.cos(2 * torch.pi * x)).sum(1) + 10 * case.d

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def run() -> Outcome:
        torch.manual_seed(1)
        x = torch.rand(case.n, case.d, dtype=kind, device=device) * 10.24 - 5.12
        wait()
        clock = Clock()
        for _ in range(case.steps):
            f = values(x)
            c = torch.softmax(-alpha * f, 0) @ x
            away = x - c
            x = x - drift * away + diffusion * away.abs() * torch.randn_like(x)
            x = x.clamp(-5.12, 5.12)
        wait()
        spent = clock.read()
        return Outcome(spent, case.steps, float(values(x).min()), nfev=case.n * case.steps)

    return run


# ---- admm_relu -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """Squared loss, method 'conic', n samples of d features and P gates."""

    n: int
    d: int
    gates: int
    steps: int

    @property
    def title(self) -> str:
        return f"admm_relu, conic, n = {self.n}, d = {self.d}, P = {self.gates}"

    def data(self) -> tuple[Any, Any]:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((self.n, self.d))
        return X, np.maximum(X @ rng.standard_normal((self.d, 4)), 0) @ rng.standard_normal(4)


def admm_run(case: Network, dtype: str, device: str) -> Callable[[], Outcome]:
    X, y = case.data()

    def timed(steps: int) -> tuple[Any, Seconds]:
        clock = Clock()
        result = admm_relu(
            X,
            y,
            beta=0.01 * len(y),
            gates=case.gates,
            fit_intercept=False,
            rng=1,
            method="conic",
            polish=False,
            maxiter=steps,
            gap_tol=1e-300,
            dtype=dtype,
            device=device,
        )
        return result, clock.read()

    def run() -> Outcome:
        timed(1)  # after the other subjects: caches and threads are cold
        shorter = timed(1)[1]
        result, longer = timed(case.steps + 1)
        return Outcome(longer - shorter, case.steps, result.fun)

    return run


def flops_of(case: Network) -> int:
    """Of the products of an iteration: X v of all blocks and the dense system, which is one of the
    weights or, where the samples are fewer, of the samples, between F' and F.
    """
    weights = case.gates * case.d
    flops = 2 * case.n * 2 * weights + 2 * min(case.n, weights) ** 2
    return flops + (4 * case.n * weights if case.n < weights else 0)


# ---- the tables ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """What runs the kernels, and its ceilings a second."""

    name: str
    bytes: float
    flops: dict[str, float]


def find_device(copied: int, order: int) -> Device:
    """RuntimeError where there is no device."""
    facts = _backend.info()["cuda"]
    if not facts["available"]:
        raise RuntimeError(facts["reason"])
    rates = importlib.import_module("fastopt._cuda").cuda_rates(copied, order)
    return Device(facts["device"], rates["bytes"], {k: rates[k] for k in ("float64", "float32")})


def torch_devices() -> list[str]:
    if not common.has("torch", "PyTorch"):
        return []
    import torch

    if torch.cuda.is_available():
        return ["cuda"]
    print("PyTorch sees no GPU: no rows for it", file=sys.stderr)
    return []


def subject(
    name: str, dtype: str, run: Callable[[], Outcome], peer: str = "", **extra: Any
) -> Subject:
    """On as many threads as there are (0), which is what a device is to beat: wall-clock time."""
    return Subject(f"{name} f{dtype[5:]}", run, peer, 0, dtype, extra)


def measure_cbo(case: Particles, repeats: int, device: Device) -> list[Record]:
    subjects = []
    for dtype in ("float64", "float32"):
        moved = bytes_of(case, np.dtype(dtype).itemsize)
        ceiling: dict[str, Any] = {
            "floor": moved / device.bytes,
            "bytes": moved,
            "device": device.name,
        }
        subjects += [
            subject("fastopt, cuda", dtype, cbo_run(case, dtype, "cuda"), **ceiling),
            subject("fastopt, cpu", dtype, cbo_run(case, dtype, "cpu")),
        ]
        if case.dynamics == "anisotropic":
            subjects += [
                subject(f"PyTorch, {where}", dtype, torch_run(case, dtype, where), peer="torch")
                for where in torch_devices()
            ]
    return common.alternate("gpu", case.title, subjects, repeats, "iteration")


def measure_admm(case: Network, repeats: int, device: Device) -> list[Record]:
    subjects = []
    for dtype in ("float64", "float32"):
        flops = flops_of(case)
        ceiling: dict[str, Any] = {
            "floor": flops / device.flops[dtype],
            "flops": flops,
            "device": device.name,
        }
        subjects += [
            subject("fastopt, cuda", dtype, admm_run(case, dtype, "cuda"), **ceiling),
            subject("fastopt, cpu", dtype, admm_run(case, dtype, "cpu")),
        ]
    return common.alternate("gpu", case.title, subjects, repeats, "iteration")


def floor_ms(record: Record, _: Sequence[Record]) -> float | None:
    return record.extra["floor"] * 1e3 if "floor" in record.extra else None


def of_it(record: Record, _: Sequence[Record]) -> str:
    """The share of the ceiling that was reached."""
    return f"{record.extra['floor'] / record.median:.0%}" if "floor" in record.extra else ""


def times_cuda(record: Record, group: Sequence[Record]) -> float:
    """Against the device's row of the same precision."""
    ours = tables.find(group, record.row, f"fastopt, cuda f{record.dtype[5:]}")
    return tables.ratio(record, ours)


TABLES = (
    Table(
        "gpu",
        "one iteration on the device, wall-clock time",
        tables.listed(
            "",
            ms=tables.spread(1e3),
            floor=floor_ms,
            of_it=of_it,
            times_cuda=times_cuda,
        ),
    ),
)
SIZES = [
    Particles("anisotropic", 10_000, 100, 200),
    Particles("anisotropic", 1_000_000, 100, 20),
    Particles("memory", 1_000_000, 100, 20),
    Network(2_000, 50, 100, 100),
    Network(10_000, 100, 100, 40),
]
QUICK = [
    Particles("anisotropic", 120, 5, 30),
    Particles("memory", 120, 5, 30),
    Network(40, 3, 6, 30),
]


def main(argv: Sequence[str] | None = None) -> int:
    options = common.parser((__doc__ or "").splitlines()[0]).parse_args(argv)
    try:
        device = find_device(*((1 << 16, 32) if options.quick else (1 << 30, 8192)))
    except RuntimeError as error:
        print(f"bench/gpu.py needs a CUDA device: {error}", file=sys.stderr)
        return common.MISSING
    print(f"device: {device.name}; CPU: {common.machine()}")
    print(
        f"ceilings: {device.bytes / 1e9:.4g} GB/s, {device.flops['float64'] / 1e12:.3g} and "
        f"{device.flops['float32'] / 1e12:.3g} Tflop/s in double and single precision\n"
    )
    records = []
    for case in QUICK if options.quick else SIZES:
        measure = measure_cbo if isinstance(case, Particles) else measure_admm
        records += measure(case, options.repeats, device)  # type: ignore[arg-type]
    tables.publish(TABLES, records, options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())
