"""fastopt.problems: the NumPy reference, its known minima, and the native code against it."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from fastopt import problems

DIMS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33]
# Ackley's minimum is a tip, and the canyon's second derivatives jump there (its own test).
SMOOTH = [n for n in problems.names() if n not in ("ackley", "canyon")]
MOVABLE = [n for n in problems.names() if n not in ("schwefel", "michalewicz")]


def has(name: str, dim: int) -> bool:
    return dim == 2 if name == "canyon" else dim >= (2 if name == "rosenbrock" else 1)


CASES = [(n, d) for n in problems.names() for d in DIMS if has(n, d)]
SMOOTH_CASES = [(n, d) for n, d in CASES if n in SMOOTH]
MOVABLE_CASES = [(n, d) for n, d in CASES if n in MOVABLE]


def sample(problem: problems.NativeProblem, n: int, seed: int = 0) -> np.ndarray:
    """Points of the box, in the columns."""
    u = np.random.default_rng([seed, problem.dim]).random((problem.dim, n))
    return problem.lower[:, None] + (problem.upper - problem.lower)[:, None] * u


# ---- the reference ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [  # worked by hand from the formulas
        ("sphere", [3.0, 4.0], 25.0),
        ("ellipsoid", [2.0, 3.0, 1.0], 4.0 + 9e3 + 1e6),
        ("rastrigin", [0.5, 1.0], 0.25 + 20.0 + 1.0),
        ("rastrigin_mild", [0.5, 1.0], 0.25 + 5.0 + 1.0),
        ("ackley", [1.0, 1.0], 20.0 * (1.0 - np.exp(-0.2))),
        ("rosenbrock", [0.0, 0.0, 2.0], 1.0 + 400.0 + 1.0),
        ("griewank", [np.pi, 0.0], np.pi**2 / 4000.0 + 2.0),
        ("schwefel", [np.pi**2 / 4.0], 418.98288727243370628 - np.pi**2 / 4.0),
        ("levy", [3.0, -1.0], 1.0 + 0.25 * (1.0 + 10.0 * np.cos(1.0) ** 2) + 0.25),
        ("michalewicz", [np.pi / np.sqrt(2.0)], -np.sin(np.pi / np.sqrt(2.0))),
        ("styblinski_tang", [1.0, -1.0], -15.0),
        ("zakharov", [2.0, 1.0], 5.0 + 4.0 + 16.0),
        ("canyon", [0.0, 4.0 / 3.0], None),
    ],
)
def test_values_by_hand(name: str, point: list[float], value: float | None) -> None:
    if value is None:  # v = 4/3, b < 0 (gate shut), x = 0, cos(pi y 3/4) = cos(pi) = -1
        value = 25.0 * (1.0 - np.exp(-1.4 * 16.0 / 9.0)) + 0.2 * 16.0 / 9.0 + 2.325
    assert problems.get(name, len(point))(point) == pytest.approx(value, rel=1e-14)


def test_canyon_gate_opens_for_positive_b() -> None:
    x, y = -1.0, -4.25  # v = y - (-2) 25 / 8 - 2 = 0, b = 7.8
    expected = 0.4 + 0.2 * y**2 + 4.0 * np.e
    expected += 1.1625 * (2.0 - np.cos(0.75 * np.pi * x) - np.cos(0.75 * np.pi * y))
    assert problems.canyon()([x, y]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_known_minimum(name: str, dim: int) -> None:
    p = problems.get(name, dim)
    scale = max(1.0, abs(p.f_min), 419.0 * dim if name == "schwefel" else 0.0)
    assert p(p.x_min) == pytest.approx(p.f_min, abs=1e-14 * scale)
    assert np.all((p.lower <= p.x_min) & (p.x_min <= p.upper))
    assert np.all(p(sample(p, 2000)) > p.f_min)
    for size in (1e-1, 1e-3):
        near = p.x_min[:, None] + size * np.random.default_rng(1).standard_normal((dim, 50))
        assert np.all(p(near) >= p.f_min)


@pytest.mark.parametrize(("dim", "value"), [(2, -1.8013), (5, -4.687658), (10, -9.66015)])
def test_michalewicz_minimum_of_the_literature(dim: int, value: float) -> None:
    assert problems.michalewicz(dim).f_min == pytest.approx(value, abs=2e-5 if dim > 2 else 5e-5)


def test_michalewicz_minimizer_beats_a_fine_grid() -> None:
    p = problems.michalewicz(60)
    x = np.linspace(0.0, np.pi, 200_001)
    for k in (1, 2, 3, 4, 7, 22, 41, 60):
        grid = np.max(np.sin(x) * np.sin(k * x**2 / np.pi) ** 20)
        best = np.sin(p.x_min[k - 1]) * np.sin(k * p.x_min[k - 1] ** 2 / np.pi) ** 20
        assert grid <= best + 1e-15
        assert best == pytest.approx(grid, abs=1e-5)


@pytest.mark.parametrize(("name", "dim"), SMOOTH_CASES)
def test_gradient_vanishes_at_the_minimum(name: str, dim: int) -> None:
    p = problems.get(name, dim)
    h = 1e-5 * (p.upper[0] - p.lower[0])
    steps = h * np.eye(dim)
    right, left = (p(p.x_min[:, None] + sign * steps) for sign in (1.0, -1.0))
    curvature = (right + left - 2.0 * p.f_min) / h**2
    gradient = (right - left) / (2.0 * h)
    assert np.all(curvature > 0.0)
    # one Newton step would move by less than a hundredth of the difference's step
    tolerance = 1e-2 * h * curvature + 1e-15 * max(1.0, abs(p.f_min)) * dim / h
    assert np.all(np.abs(gradient) <= tolerance)


def test_gradient_of_the_canyon_vanishes_at_its_minimum() -> None:
    p = problems.canyon()

    def gradient(h: float) -> np.ndarray:
        right, left = (p(sign * h * np.eye(2)) for sign in (1.0, -1.0))
        return (right - left) / (2.0 * h)

    coarse, fine = gradient(1e-4), gradient(1e-5)  # in proportion to h: the limit is 0
    np.testing.assert_allclose(fine, coarse / 10.0, rtol=0.02)


# ---- calling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", problems.names())
def test_call_is_scipys(name: str) -> None:
    p = problems.get(name, 2)
    x = sample(p, 5)
    values = p(x)
    assert values.shape == (5,)
    assert values.dtype == np.float64
    for i in range(5):
        one = p(x[:, i].tolist())
        assert type(one) is float
        assert one == pytest.approx(values[i], rel=1e-15)
    assert p(np.empty((2, 0))).shape == (0,)


def test_call_checks_the_shape() -> None:
    p = problems.sphere(3)
    for bad in (np.zeros(4), np.zeros((2, 3)), np.zeros((3, 1, 1)), 1.0):
        with pytest.raises(ValueError, match=r"x: expected shape \(3,\)"):
            p(bad)


def test_get_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"name: expected one of sphere, .*; got 'sphear'"):
        problems.get("sphear", 2)
    with pytest.raises(ValueError, match="dim: 'rosenbrock' needs at least 2 coordinates, got 1"):
        problems.rosenbrock(1)
    with pytest.raises(ValueError, match="dim: 'canyon' needs exactly 2 coordinates, got 3"):
        problems.canyon(3)
    with pytest.raises(ValueError, match="dim: 'sphere' needs at least 1"):
        problems.sphere(0)
    with pytest.raises(TypeError):
        problems.sphere(2.5)  # type: ignore[arg-type]


def test_factories_and_fields() -> None:
    for name in problems.names():
        p = getattr(problems, name)(2)
        assert (p.name, p.dim) == (name, 2)
        assert p.bounds == list(zip(p.lower, p.upper, strict=True))
        assert name in repr(p)
        assert p._native_spec() == (name, 2, None, None)
        with pytest.raises(AttributeError):
            p.dim = 3
        with pytest.raises(ValueError, match="read-only"):
            p.x_min[0] = 1.0


def test_pickle() -> None:
    p = problems.levy(4).shifted(rng=1).rotated(2)
    q = pickle.loads(pickle.dumps(p))
    x = sample(p, 7)
    np.testing.assert_array_equal(p(x), q(x))
    np.testing.assert_array_equal(p.x_min, q.x_min)


# ---- shifted and rotated ------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_shifted(name: str, dim: int) -> None:
    p = problems.get(name, dim)
    q = p.shifted(rng=5)
    moved = q.x_min - p.x_min
    assert np.all(moved != 0.0)
    assert np.all((q.lower < q.x_min) & (q.x_min < q.upper))
    x = sample(p, 20)
    scale = np.max(np.abs(p(x)))
    np.testing.assert_allclose(q(x + moved[:, None]), p(x), rtol=1e-9, atol=1e-11 * scale)
    assert q(q.x_min) == pytest.approx(q.f_min, abs=1e-12 * max(1.0, abs(q.f_min), scale))
    assert q.f_min == p.f_min
    if name in MOVABLE:
        assert q.bounds == p.bounds
    else:
        np.testing.assert_allclose(q.lower - p.lower, moved)


@pytest.mark.parametrize(("name", "dim"), MOVABLE_CASES)
def test_shifted_and_rotated(name: str, dim: int) -> None:
    p = problems.get(name, dim)
    q = p.shifted(rng=3).rotated(4)
    assert q.rotation is not None
    np.testing.assert_allclose(q.rotation @ q.rotation.T, np.eye(dim), atol=1e-14)
    # f(x_min + Q (x - x_min)): turned about the minimiser, which is where `shifted` has put it
    np.testing.assert_array_equal(q.x_min, p.shifted(rng=3).x_min)
    worst = np.max(p(sample(p, 50)))
    assert q(q.x_min) == pytest.approx(p.f_min, abs=1e-13 * worst + 1e-12)
    around = 0.01 * np.random.default_rng(0).standard_normal((dim, 20))
    turned = p.x_min[:, None] + q.rotation @ around
    np.testing.assert_allclose(
        q(q.x_min[:, None] + around), p(turned), rtol=1e-8, atol=1e-13 * worst + 1e-12
    )


@pytest.mark.parametrize("name", MOVABLE)
def test_order_of_moves(name: str) -> None:
    p = problems.get(name, 2)
    q = p.rotated(7).shifted(0.25).rotated(8).shifted([-0.5, 0.125])
    np.testing.assert_allclose(q.x_min, p.x_min + np.array([-0.25, 0.375]))
    worst = np.max(p(sample(p, 50)))
    assert q(q.x_min) == pytest.approx(p.f_min, abs=1e-13 * worst + 1e-12)


def test_random_moves_reproduce() -> None:
    p = problems.ackley(6)
    np.testing.assert_array_equal(p.shifted(rng=1).x_min, p.shifted(rng=1).x_min)
    np.testing.assert_array_equal(p.rotated(1).rotation, p.rotated(1).rotation)
    assert np.any(p.shifted(rng=1).x_min != p.shifted(rng=2).x_min)
    rng = np.random.default_rng(1)
    assert np.any(p.shifted(rng=rng).x_min != p.shifted(rng=rng).x_min)


def test_moves_name_what_is_wrong() -> None:
    p = problems.sphere(3)
    with pytest.raises(ValueError, match="shift: expected 3 finite numbers"):
        p.shifted([1.0, 2.0])
    with pytest.raises(ValueError, match="shift: expected 3 finite numbers"):
        p.shifted(np.nan)
    with pytest.raises(ValueError, match="out of the box"):
        p.shifted([0.0, 6.0, 0.0])
    with pytest.raises(ValueError, match="rng: only used"):
        p.shifted(1.0, rng=1)
    for name in ("schwefel", "michalewicz"):
        with pytest.raises(ValueError, match=f"minimum of '{name}'"):
            problems.get(name, 3).rotated(1)


# ---- native code against the reference ----------------------------------------------------------


def native(problem: problems.NativeProblem, x: np.ndarray) -> np.ndarray:
    cpu = pytest.importorskip("fastopt._cpu", reason="the extension is not built")
    name, dim, shift, rotation = problem._native_spec()
    objective = cpu.native_objective(name, dim, shift, rotation)
    rows = np.ascontiguousarray(x.T)
    values: np.ndarray = np.asarray(objective.evaluate(rows))
    np.testing.assert_array_equal(rows, x.T)  # the points are left as they were
    return values


def moved_versions(name: str, dim: int) -> list[problems.NativeProblem]:
    p = problems.get(name, dim)
    versions = [p, p.shifted(rng=11)]
    return [*versions, p.rotated(12), versions[1].rotated(13)] if name in MOVABLE else versions


@pytest.mark.parametrize(("name", "dim"), [*CASES, ("rastrigin", 1500), ("griewank", 1030)])
def test_native_equals_numpy_in_double(name: str, dim: int) -> None:
    for p in moved_versions(name, dim) if dim < 100 else [problems.get(name, dim)]:
        x = sample(p, 150 if dim < 100 else 3)
        expected = p(x)
        scale = np.mean(np.abs(expected))
        # moved points are rounded first; what follows amplifies that by the condition of f
        rtol, atol = (1e-13, 1e-13) if p.shift is None else (1e-11, 1e-11)
        np.testing.assert_allclose(native(p, x), expected, rtol=rtol, atol=atol * scale)


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_native_equals_numpy_in_single(name: str, dim: int) -> None:
    p = problems.get(name, dim)
    x = sample(p, 150).astype(np.float32)
    expected = p(x)
    # Michalewicz' phases k x^2 / pi are known to their rounding error, hence with k / 10^7
    atol = 1e-5 * (dim if name == "michalewicz" else np.mean(np.abs(expected)))
    np.testing.assert_allclose(native(p, x), expected, rtol=1e-5, atol=atol)


@pytest.mark.parametrize(("name", "dim"), CASES)
def test_native_minimum(name: str, dim: int) -> None:
    for p in moved_versions(name, dim):
        worst = np.max(np.abs(p(sample(p, 50))))
        value = native(p, p.x_min[:, None])[0]
        assert value == pytest.approx(p.f_min, abs=1e-13 * worst + 1e-12)


def test_native_bits_do_not_depend_on_the_batch() -> None:
    for name in problems.names():
        for p in moved_versions(name, 2 if name == "canyon" else 17):
            x = sample(p, 100)
            together = native(p, x)
            alone = np.concatenate([native(p, x[:, i : i + 1]) for i in range(0, 100, 9)])
            np.testing.assert_array_equal(together[::9], alone)


def bits() -> str:
    """A hash of every native function's values over dimensions, dtypes, shifts and rotations."""
    digest = hashlib.sha256()
    for name, dim in CASES:
        for p in moved_versions(name, dim):
            for dtype in (np.float64, np.float32):
                digest.update(native(p, sample(p, 70).astype(dtype)).tobytes())
    return digest.hexdigest()


def test_native_bits_are_those_of_every_instruction_set() -> None:
    pytest.importorskip("fastopt._cpu", reason="the extension is not built")
    folder = os.path.dirname(os.path.abspath(__file__))
    code = "from test_problems import bits; import fastopt._cpu as c; print(bits(), c.isa())"
    seen: dict[str, str] = {}
    for level in ("baseline", "avx2", "avx512"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, "FASTOPT_ISA": level},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        value, used = done.stdout.split()
        seen[used] = value
    assert "baseline" in seen
    assert len(set(seen.values())) == 1, seen
