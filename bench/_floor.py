"""What no implementation on these kernels can go below: rates of this machine, now."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import seconds_of

from fastopt import _backend

BLOCK = 16384  # coordinates: what one block of work holds, in the cache


def median_seconds(call: Callable[[], Any], calls: int = 1) -> float:
    return statistics.median(seconds_of(call, calls=calls))


def least_seconds(call: Callable[[], Any], calls: int = 1) -> float:
    return min(seconds_of(call, calls=calls))


@dataclass(frozen=True)
class Floor:
    """Nanoseconds per coordinate."""

    normal: float  # one normal, 32 random bits, for either dtype of the particles
    objective: float  # one coordinate of the objective
    byte: float  # one byte moved, for arrays of the size of the particles

    def of_step(self, itemsize: int, normals: int = 1, passes: int = 4) -> float:
        """Evaluation and consensus read the particles, the move reads and writes them."""
        return self.normal * normals + self.objective + self.byte * itemsize * passes


def measure_floor(name: str, n: int, d: int, dtype: str) -> Floor:
    """Rates of the generator, of the native objective and of memory, one thread, now.

    From the least of several times, which other programs disturb least.
    """
    module = _backend.module(None)
    draw = least_seconds(lambda: module.fill_normal(BLOCK, 1, 2, dtype="float32"), calls=20)
    rows = max(1, BLOCK // d)
    block = np.random.default_rng(0).uniform(-3, 3, (rows, d)).astype(dtype)
    target = np.empty_like(block)
    objective = module.native_objective(name, d)
    evaluation = least_seconds(lambda: objective.evaluate(block, threads=1), calls=20)
    copy = least_seconds(lambda: np.copyto(target, block), calls=20)  # evaluate() copies its points
    size = max(n * d, 4 * BLOCK)  # a smaller array is in the cache like this one
    points, other = np.zeros(size, dtype), np.ones(size, dtype)
    moved = least_seconds(lambda: np.copyto(other, points), calls=max(1, 10**7 // size))
    return Floor(
        normal=draw / BLOCK * 1e9,
        objective=(evaluation - copy) / block.size * 1e9,
        byte=moved / (2 * points.nbytes) * 1e9,
    )


def gemm_rate() -> float:
    """Flops a second of NumPy's double-precision matrix product, one thread."""
    a = np.random.default_rng(0).standard_normal((1024, 1024))
    return 2 * 1024**3 / min(seconds_of(lambda: a @ a))


def read_rate() -> float:
    """Bytes a second that one thread reads from memory."""
    big = np.ones(20_000_000)
    return big.nbytes / min(seconds_of(big.sum))
