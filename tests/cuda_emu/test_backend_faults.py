"""Faults, threads and leaks of the solvers on the CUDA backend, seen from Python.

Needs the plugin pytest_cuda_emu beside this file.
"""

import ctypes
import gc
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, rosen, rosen_der, rosen_hess

from fastopt import admm_relu, admm_relu_path, cbo, problems, sketch, sketch_newton
from fastopt.problems import GLM

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(12, 2)), RNG.normal(size=12)
DATA = RNG.normal(size=(60, 4))
MODEL = GLM(DATA, np.where(DATA[:, 0] + RNG.normal(size=60) > 0, 1.0, -1.0), l2=1e-3)
PLANE = LinearConstraint(np.ones((1, 4)), 1, 1)


def particles(dynamics, **options):
    func = options.pop("func", problems.rastrigin(4))
    given = {"rng": 4, "n_particles": 20, "maxiter": 4, "polish": False, **options}
    return cbo(func, [(-5, 5)] * 4, dynamics=dynamics, device="cuda", **given)


def network(method, **options):
    given = {"beta": 0.3, "gates": 3, "rng": 2, "maxiter": 4, "gap_tol": 1e-15, **options}
    return admm_relu(X, Y, method=method, device="cuda", **given)


def path(**options):
    options.pop("record_history", None)
    given = {"betas": [0.3, 0.1], "gates": 3, "rng": 2, "maxiter": 4, "gap_tol": 1e-15, **options}
    return admm_relu_path(X, Y, device="cuda", **given).results[0]


def model(linear_solver, **options):
    return sketch_newton(MODEL, np.zeros(4), linear_solver=linear_solver, constraints=PLANE,
                         device="cuda", **options)  # fmt: skip


def general(**options):
    functions = {"fun": rosen, "jac": rosen_der, "hess": rosen_hess}
    given = {name: options.pop(name, function) for name, function in functions.items()}
    return sketch_newton(given.pop("fun"), [-1.2, 1.0, 0.5], device="cuda", **given, **options)


SOLVES = {
    "cbo, anisotropic": lambda **o: particles("anisotropic", **o),
    "cbo, memory": lambda **o: particles("memory", **o),
    "cbo, hopping": lambda **o: particles("hopping", **o),
    "cbo, polarized": lambda **o: particles("polarized", **o),
    "admm_relu, conic": lambda **o: network("conic", **o),
    "admm_relu, float32": lambda **o: network("conic", dtype="float32", **o),
    "admm_relu, gated": lambda **o: network("gated", **o),
    "admm_relu, scp": lambda **o: network("scp", **o),
    "admm_relu, admm": lambda **o: network("admm", **o),
    "admm_relu_path": path,
    "sketch_newton, ldl": lambda **o: model("ldl", **o),
    "sketch_newton, sketch-pcg": lambda **o: model("sketch-pcg", **o),
    "sketch_newton, general": general,
}


@pytest.fixture
def live():
    """live(): what the backend holds on the emulated device: memory, streams, handles."""
    if "FASTOPT_CUDA_MODULE" not in os.environ:
        pytest.skip("a real device does not count")
    count = ctypes.CDLL(os.environ["FASTOPT_CUDA_MODULE"]).cuda_emu_live
    count.restype = ctypes.c_long

    def now():
        gc.collect()
        return count()

    return now


@pytest.mark.parametrize("name", SOLVES)
def test_nothing_stays_on_the_device(name, live):
    run, calls = SOLVES[name], []
    before = live()

    def fail(xk):
        calls.append(xk)
        raise LookupError("mine")

    for _ in range(2):
        result = run(record_history=True)
        assert result.nit > 0
    with pytest.raises(LookupError, match="mine"):
        run(callback=fail)
    with pytest.raises(ValueError, match="maxiter"):
        run(maxiter=-1)
    run(callback=lambda xk: True)  # ends with the first iteration, the result is kept
    assert calls and live() == before


def test_a_sketch_leaves_nothing_on_the_device(live):
    before = live()
    kept = [sketch(DATA, 20, kind, rng=1, device="cuda") for kind in ("sjlt", "srht", "gaussian")]
    assert kept and live() == before


def test_what_stayed_would_be_seen(live):
    """A run that is still on holds memory on the device."""
    before, during = live(), []
    particles("anisotropic", callback=lambda xk: during.append(live()))
    assert min(during) > before == live()


@pytest.mark.parametrize("name", SOLVES)
def test_listeners_threads_and_earlier_runs_change_no_bit(name):
    run, seen = SOLVES[name], []
    first = run()
    for options in (
        {"threads": 2},
        {"record_history": True, "callback": lambda xk: seen.append(1)},
        {},
    ):
        again = run(**options)
        assert again.x.tobytes() == first.x.tobytes()
        assert (again.fun, again.nit) == (first.fun, first.nit)
    assert seen


@pytest.mark.parametrize("name", SOLVES)
def test_many_threads_of_the_user(name):
    run = SOLVES[name]
    alone = run().x.tobytes()
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(run) for _ in range(3)]
        assert [job.result().x.tobytes() for job in jobs] == [alone] * 3


def test_different_solves_at_once():
    alone = [run().x.tobytes() for run in SOLVES.values()]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(run) for run in SOLVES.values()]
        assert [job.result().x.tobytes() for job in jobs] == alone


@pytest.mark.parametrize("kind", [LookupError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("name", SOLVES)
def test_exceptions_of_the_callback_come_back_unchanged(name, at, kind):
    run, calls, error = SOLVES[name], [], kind("mine")

    def callback(xk):
        calls.append(1)
        if len(calls) == at:
            raise error

    with pytest.raises(kind) as caught:
        run(callback=callback)
    assert caught.value is error and len(calls) == at
    assert "callback" in [frame.name for frame in caught.traceback]
    assert run().nit > 0


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("where", ["fun", "jac", "hess", "func"])
def test_exceptions_of_other_functions_come_back_unchanged(where, at, live):
    error, calls, before = LookupError("mine"), [], live()
    plain = {"fun": rosen, "jac": rosen_der, "hess": rosen_hess, "func": rosen}[where]

    def failing(x):
        calls.append(1)
        if len(calls) == at:
            raise error
        return plain(x)

    with pytest.raises(LookupError) as caught:
        if where == "func":
            particles("memory", func=failing)
        else:
            general(**{where: failing})
    assert caught.value is error and len(calls) == at
    error.__traceback__ = None  # whose frames hold what the solve held
    del caught
    assert live() == before
    assert general().success


def test_solves_inside_solves():
    expected, seen = [run().x.tobytes() for run in SOLVES.values()], []

    def callback(xk):
        if not seen:
            seen.append([run().x.tobytes() for run in SOLVES.values()])

    for name in ("cbo, memory", "admm_relu, conic", "sketch_newton, ldl"):
        outer = SOLVES[name]().x.tobytes()
        assert SOLVES[name](callback=callback).x.tobytes() == outer
        assert seen.pop() == expected


@pytest.mark.parametrize("layout", ["F", "strided", "big-endian", "read-only", "list"])
def test_layout_and_type_change_nothing(layout):
    def other(values):
        if layout == "strided":
            return np.repeat(values, 2, axis=0)[::2]
        if layout == "list":
            return values.tolist()
        one = values.astype(">f8") if layout == "big-endian" else np.array(values, order="F")
        one.flags.writeable = layout != "read-only"
        return one

    options = {"beta": 0.3, "gates": 3, "rng": 2, "maxiter": 4, "device": "cuda"}
    calls = (
        lambda of: admm_relu(of(X), of(Y), method="conic", **options).x,
        lambda of: sketch(of(DATA), 20, rng=1, device="cuda"),
        lambda of: sketch_newton(GLM(of(DATA), of(MODEL.y)), of(np.zeros(4)), device="cuda").x,
    )
    for call in calls:
        assert call(other).tobytes() == call(np.array).tobytes()


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e150, 1e300, np.nan, np.inf])
@pytest.mark.parametrize("method", ["conic", "gated", "scp", "admm"])
def test_numbers_of_any_size_are_solved_or_refused(method, size):
    for X_, y_ in ((size * X, Y), (X, size * Y)):
        try:
            result = admm_relu(X_, y_, beta=0.3, gates=3, rng=1, maxiter=6, method=method,
                               device="cuda")  # fmt: skip
        except ValueError as error:
            assert str(error)
        else:
            assert np.isfinite(result.fun) and result.dual_fun <= result.fun
            assert not result.success or result.relative_gap <= 1e-2
