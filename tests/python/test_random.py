"""The random numbers as Python sees them: known answers, distribution, golden hashes, keys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fastopt import _backend, cbo, problems

core = _backend.module()
KEY = 0x12345678, 0x9ABCDEF0
ONES = 0xFFFFFFFF


def draw(kind, n, dtype="float64", **where):
    return getattr(core, f"fill_{kind}")(
        n, *KEY, **{"iteration": 3, "stream": 5, **where}, dtype=dtype
    )


def fnv(array):
    """FNV-1a of the bytes, as in tests/cpp/hash.hpp."""
    value = 0xCBF29CE484222325
    for byte in array.tobytes():
        value = (value ^ byte) * 0x100000001B3 & (2**64 - 1)
    return value


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_known_answers(counter, key, words):
    assert list(core.philox(counter, key)) == words


@pytest.mark.parametrize(
    ("kind", "dtype", "golden"),
    [
        ("normal", "float32", 0x65A4CD8F9FC1828E),
        ("normal", "float64", 0xBE4A804825CAF89A),
        ("uniform", "float32", 0xF8EE4493CDA51BE8),
        ("uniform", "float64", 0x74A193265C9F44C8),
    ],
)
def test_golden_hashes_are_those_of_the_cpp_tests(kind, dtype, golden):
    values = draw(kind, 10007, dtype, first=5)
    assert values.dtype == dtype
    assert fnv(values) == golden


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kolmogorov_smirnov(dtype):
    n = 200_000
    assert stats.kstest(draw("normal", n, dtype), "norm").pvalue > 1e-3
    assert stats.kstest(draw("uniform", n, dtype), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_and_tails(dtype):
    n = 1 << 21
    z = draw("normal", n, dtype).astype(np.float64)
    for power, mean, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((z**power).mean() - mean) < 4 * np.sqrt(variance / n), power
    beyond = np.count_nonzero(np.abs(z) > 4)
    expected = 2 * n * stats.norm.sf(4)
    assert abs(beyond - expected) < 4 * np.sqrt(expected)


@given(
    first=st.integers(0, 2**40),
    start=st.integers(0, 200),
    count=st.integers(0, 200),
    dtype=st.sampled_from(["float32", "float64"]),
    kind=st.sampled_from(["normal", "uniform"]),
)
def test_any_part_of_a_draw_is_that_part(first, start, count, dtype, kind):
    whole = draw(kind, 400, dtype, first=first)
    part = draw(kind, count, dtype, first=first + start)
    assert part.tobytes() == whole[start : start + count].tobytes()


def test_a_dtype_that_is_not_offered():
    with pytest.raises(ValueError, match="'float64' or 'float32', got 'float16'"):
        draw("normal", 3, "float16")


def test_hopping_particles_are_normal_around_the_consensus():
    """From the seed to the particles: what the dynamics is made of reaches the objective."""
    seen = []

    def watch(x):
        seen.append(x.copy())
        return np.abs(x).sum(axis=0)

    cbo(watch, [(-100, 100)] * 2, dynamics="hopping", diffusion=1.0, n_particles=20_000, maxiter=2,
        vectorized=True, rng=5, polish=False)  # fmt: skip
    steps = seen[1] - seen[1].mean(axis=1, keepdims=True)
    for row in steps:
        assert stats.kstest(row, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(steps)[0, 1]) < 4 / np.sqrt(20_000)


def test_latin_hypercube_has_one_particle_in_each_stratum():
    n = 500
    seen = []

    def watch(x):
        seen.append(x.copy())
        return x.sum(axis=0)

    cbo(watch, [(-3, 5), (0, 1), (2, 2.5)], dynamics="anisotropic", n_particles=n, maxiter=1,
        vectorized=True, rng=5, polish=False)  # fmt: skip
    lower, upper = np.array([[-3], [0], [2]]), np.array([[5], [1], [2.5]])
    strata = np.floor((seen[0] - lower) / (upper - lower) * n).astype(int)
    for row in strata:
        assert sorted(row) == list(range(n))


def test_the_key_comes_from_the_generator():
    def run(rng):
        options = {"dynamics": "hopping", "n_particles": 20, "maxiter": 3, "polish": False}
        return cbo(problems.ackley(4), [(-3, 5)] * 4, rng=rng, **options).x.tobytes()

    assert run(3) == run(3) == run(np.random.default_rng(3)) != run(4)
    generator = np.random.default_rng(3)
    assert run(generator) == run(3)
    assert run(generator) != run(3)  # it has advanced
    assert run(None) != run(None)
