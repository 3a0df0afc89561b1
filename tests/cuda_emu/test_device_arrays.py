"""Arrays that live on the device, by DLPack; needs the plugin pytest_cuda_emu beside this file."""

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import NonlinearConstraint, OptimizeResult

from fastopt import _backend, admm_relu, admm_relu_path, cbo, lstsq, problems, sketch, sketch_newton
from fastopt.problems import GLM, WeightedGram

if "FASTOPT_CUDA_MODULE" not in os.environ:
    pytest.skip("the library foreign_arrays lives on the emulated device", allow_module_level=True)

import foreign_arrays as foreign

D = 4
BOUNDS = np.array([[-5.0, 5.0]] * D)
EMULATOR = ctypes.CDLL(os.environ["FASTOPT_CUDA_MODULE"])
for name in ("live", "waits", "calls"):
    getattr(EMULATOR, f"cuda_emu_{name}").restype = ctypes.c_long


def left():
    """What is alive on the device, and how many arrays are lent and taken."""
    return (
        EMULATOR.cuda_emu_live(),
        foreign.lent - foreign.returned,
        foreign.taken - foreign.given_back,
    )


def assert_left(before):
    if left() != before:
        gc.collect()  # what the frames of exceptions hold
    assert left() == before


def started(eager):
    """The library, from its start to its end, when nothing of it may be left."""
    gc.collect()
    before = left()
    foreign.start()
    foreign.eager = eager
    yield foreign
    EMULATOR.cuda_emu_fail_call(ctypes.c_long(0))
    foreign.stop()
    assert_left(before)


@pytest.fixture(params=[False, True], ids=["lazy", "eager"])
def xp(request):
    yield from started(request.param)


@pytest.fixture
def lazy():
    yield from started(False)


@pytest.fixture
def eager():
    yield from started(True)


def valley(x):
    """Of (d, n) arrays of any library, and with the same bits of each."""
    total = (x[0] - 0.5) * (x[0] - 0.5)
    for k in range(1, len(x)):
        step = x[k] - x[k - 1] * x[k - 1]
        total = total + step * step * 10.0
    return total


def run(xp, func=valley, **options):
    """The result where the bounds live on the device (xp: the library), or on the CPU (None)."""
    options = {"rng": 4, "maxiter": 6, "n_particles": 20, "vectorized": True, **options}
    if options.get("dynamics", "hybrid") == "hybrid":
        del options["n_particles"]
    bounds = BOUNDS if xp is None else xp.array(BOUNDS)
    return cbo(func, bounds, device="cpu" if xp is None else None, **options)


def number(array):
    assert isinstance(array, foreign.Array)
    return array.to_numpy()


def same(there, here):
    assert (there.fun, there.nfev, there.nit) == (here.fun, here.nfev, here.nit)
    for name in ("x", "population", "population_energies", "consensus"):
        assert number(there[name]).tobytes() == here[name].tobytes(), name


# ---- objectives --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"dynamics": "anisotropic"},
        {"dynamics": "isotropic", "dtype": "float32", "polish": False},
        {"dynamics": "memory", "memory_diffusion": 0.1, "batch_size": 12},
        {"dynamics": "hopping", "restarts": 1},
        {"dynamics": "polarized", "n_minimizers": 2},
        {"dynamics": "anisotropic", "integrality": [1, 0, 0, 1]},
        {"dynamics": "hybrid", "maxfev": 100},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_run_has_the_bits_of_the_cpu(xp, options):
    same(run(xp, **options), run(None, **options))


@pytest.mark.parametrize("dynamics", ["sampling", "anisotropic"])
def test_correlated_noise_agrees_within_rounding(xp, dynamics):
    options = {"dynamics": dynamics, "alpha": 1.0}
    if dynamics == "anisotropic":
        options["noise"] = "covariance"
    there, here = run(xp, **options), run(None, **options)
    np.testing.assert_allclose(number(there.population), here.population, rtol=1e-9)


def test_constraints_and_a_gradient(xp):
    ring = NonlinearConstraint(lambda x: x[0] ** 2 + x[1] ** 2, 1.0, 4.0)
    same(
        run(xp, dynamics="anisotropic", constraints=ring),
        run(None, dynamics="anisotropic", constraints=ring),
    )
    slope = {"dynamics": "anisotropic", "gradient": lambda x: x * 2.0, "gradient_weight": 0.01}
    same(run(xp, **slope), run(None, **slope))
    slope["gradient"] = lambda x: strange(x * 2.0, dl_type=(0, 64, 1))
    with pytest.raises(ValueError, match="the array that gradient returned must hold numbers"):
        run(xp, **slope)


def test_the_host_waits_as_often_as_for_a_native_objective(lazy):
    def waits(func, bounds, maxiter, **options):
        before = EMULATOR.cuda_emu_waits()
        cbo(func, bounds, rng=1, n_particles=40, maxiter=maxiter, polish=False, tol=0,
            dynamics="anisotropic", device="cuda", **options)  # fmt: skip
        return EMULATOR.cuda_emu_waits() - before

    def squares(x):
        total = x[0] * x[0]
        for k in range(1, D):
            total = total + x[k] * x[k]
        return total

    there = lazy.array(BOUNDS)
    more = [waits(squares, there, k, vectorized=True) for k in (5, 15)]
    native = [waits(problems.sphere(D), BOUNDS, k) for k in (5, 15)]
    assert more[1] - more[0] == native[1] - native[0]


def test_points_that_are_kept_do_not_change(xp):
    kept = []

    def keep(x):
        kept.append((x, x[0] + 0.0, x[D - 1] + 0.0))
        return valley(x)

    options = {"dynamics": "anisotropic", "polish": False}
    same(run(xp, keep, **options), run(None, **options))
    firsts = set()
    for x, first, last in kept:
        assert x[0].to_numpy().tobytes() == first.to_numpy().tobytes()
        assert x[D - 1].to_numpy().tobytes() == last.to_numpy().tobytes()
        firsts.add(first.to_numpy().tobytes())
    assert len(firsts) == len(kept)


def test_points_are_used_again_when_nobody_holds_them(lazy):
    addresses = []

    def look(x):
        addresses.append(x._address)
        return valley(x)

    run(lazy, look, dynamics="anisotropic", polish=False)
    assert len(addresses) == 6 and len(set(addresses)) == 1


@pytest.mark.parametrize("dynamics", ["anisotropic", "hybrid"])
def test_values_of_any_layout_and_place(xp, dynamics):
    options = {"dynamics": dynamics, "polish": False}
    here = run(None, lambda x: x[0] + 0.0, **options)
    same(run(xp, lambda x: x[0], **options), here)  # a view of the points
    same(run(xp, lambda x: x[0:1].T, **options), here)  # (n, 1)
    same(run(xp, lambda x: x[0].to_numpy(), **options), here)  # on the host


def test_an_exception_of_the_objective_comes_back(xp):
    def bad(x):
        raise KeyError("mine")

    for dynamics in ("anisotropic", "hybrid"):
        with pytest.raises(KeyError, match="mine"):
            run(xp, bad, dynamics=dynamics)


def strange(x, **attributes):
    for name, value in attributes.items():
        setattr(x, name, value)
    return x


@pytest.mark.parametrize("dynamics", ["anisotropic", "hybrid"])
@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x: None, "func returned None of type NoneType for S = "),
        (lambda x: valley(x)[1:], r"func returned an array of shape \(\d+,\) for S = "),
        (lambda x: x, r"func returned an array of shape \(4, \d+\) for S = "),
        (lambda x: strange(valley(x), dl_type=(0, 64, 1)), "float64 or float32.*Convert it"),
        (lambda x: strange(valley(x), dl_type=(2, 16, 1)), "float64 or float32; theirs.*16 bits"),
        (lambda x: strange(valley(x), dl_type=(2, 32, 4)), "4 lanes"),
        (lambda x: strange(valley(x), dl_device=(2, 1)), "func returned must live on CUDA"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_taken_are_errors_that_say_why(lazy, answer, words, dynamics):
    with pytest.raises(ValueError, match=words):
        run(lazy, answer, dynamics=dynamics)


@pytest.mark.filterwarnings("ignore:cbo. the 'workers' keyword overrides:UserWarning")
def test_one_point_at_a_time_is_refused(lazy):
    for options in ({"vectorized": False}, {"workers": 2}):
        with pytest.raises(ValueError, match=r"pass vectorized=True .* without workers, or device"):
            run(lazy, **options)
    there = cbo(lambda x: float(x @ x), lazy.array(BOUNDS), rng=1, device="cpu", maxfev=200)
    assert isinstance(there.x, foreign.Array)


def test_every_failing_call_is_an_exception_and_leaves_nothing(eager):
    def short():
        return run(eager, dynamics="anisotropic", maxiter=2, n_particles=4, polish=False)

    whole = number(short().population)
    start = EMULATOR.cuda_emu_calls()
    short()
    calls = EMULATOR.cuda_emu_calls() - start
    assert calls > 100
    before, failed = left(), 0
    for n in range(1, calls + 1):
        EMULATOR.cuda_emu_fail_call(ctypes.c_long(n))
        try:
            population = short().population
            EMULATOR.cuda_emu_fail_call(ctypes.c_long(0))
            assert number(population).tobytes() == whole.tobytes()
            del population
        except (RuntimeError, MemoryError):
            failed += 1
        EMULATOR.cuda_emu_fail_call(ctypes.c_long(0))
        assert_left(before)
    assert failed > calls / 3
    assert number(short().population).tobytes() == whole.tobytes()


@pytest.mark.parametrize("fault, mode", [("lends", "lazy"), ("takes", "eager")])
def test_a_library_that_does_not_wait_is_seen(fault, mode):
    """That the tests above would see a missing wait: each needs the one and the other mode."""
    here = Path(__file__)
    test = f"{here}::test_a_run_has_the_bits_of_the_cpu[{mode}-anisotropic]"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_cuda_emu", "-p", "no:cacheprovider",
         "-c", here.parents[2] / "pyproject.toml", "--rootdir", here.parents[2], test],
        env={**os.environ, "FOREIGN_FAULT": fault}, capture_output=True, text=True, timeout=300,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout + done.stderr


# ---- from_torch --------------------------------------------------------------------------------


@pytest.fixture
def torch(xp, monkeypatch):
    """foreign_arrays with the names that fastopt.torch asks of PyTorch."""
    import fastopt.torch

    monkeypatch.setattr(xp.Array, "requires_grad", False, raising=False)
    monkeypatch.setattr(xp.Array, "to", lambda x, dtype: x, raising=False)
    fake = SimpleNamespace(
        Tensor=xp.Array,
        from_dlpack=xp.from_dlpack,
        float64="float64",
        cuda=SimpleNamespace(is_available=lambda: True),
    )
    monkeypatch.setattr(fastopt.torch, "_torch", lambda: fake)
    return fastopt.torch


def test_from_torch_gets_tensors_of_the_device(torch):
    seen = []

    def rows(x):
        seen.append(type(x))
        return valley(x.T)

    options = {"rng": 4, "maxiter": 12, "n_particles": 40, "dynamics": "anisotropic"}
    there = cbo(torch.from_torch(rows), BOUNDS, device="cuda", **options)
    assert set(seen) == {foreign.Array}
    here = cbo(valley, BOUNDS, device="cpu", vectorized=True, **options)
    assert there.x.tobytes() == here.x.tobytes()  # NumPy's, as the inputs
    assert there.population.tobytes() == here.population.tobytes()
    with pytest.raises(ValueError, match=r"fn must return a torch\.Tensor; it returned a float"):
        cbo(torch.from_torch(lambda x: 1.0), BOUNDS, device="cuda", **options)


# ---- inputs and results ------------------------------------------------------------------------


def test_inputs_are_read_from_the_device_and_choose_it(xp):
    init, x0 = np.random.default_rng(1).uniform(-5, 5, (40, D)), np.full(D, 0.25)
    options = {"rng": 4, "maxiter": 5, "dynamics": "anisotropic", "vectorized": True}
    here = cbo(valley, BOUNDS, init=init, x0=x0, device="cpu", **options)
    first = {"init": xp.array(init.T).T, "x0": x0}
    then = {"init": init, "x0": xp.array(np.repeat(x0, 2))[::2]}
    for given in (first, then):
        same(cbo(valley, BOUNDS, **given, **options), here)
    native = cbo(problems.rastrigin(D), xp.array(BOUNDS), rng=1, maxiter=5, dynamics="hopping")
    assert number(native.x).shape == (D,) and isinstance(native.fun, float)


def test_every_array_of_numbers_goes_there(lazy):
    options = {"dynamics": "polarized", "runs": 2, "record_history": True}
    result = run(lazy, **options)
    here = run(None, **options)
    assert number(result.x).tobytes() == here.x.tobytes()
    assert number(result.fun).tobytes() == here.fun.tobytes()
    for name in ("population", "minimizers", "minimizer_values"):
        for there, one in zip(result[name], here[name], strict=True):
            assert number(there).tobytes() == one.tobytes()
    assert result.nfev.tolist() == here.nfev.tolist()
    assert isinstance(result.history[0]["fun"], np.ndarray)


def test_the_first_library_gets_the_results(xp):
    others = SimpleNamespace(from_dlpack=lambda x: ("other", xp.from_dlpack(x)))
    bounds = xp.array(BOUNDS)
    bounds.__array_namespace__ = lambda: others
    options = {"rng": 1, "maxiter": 2, "dynamics": "hopping"}
    assert cbo(problems.sphere(D), bounds, **options).x[0] == "other"
    x0 = xp.array(np.ones(D))
    assert isinstance(cbo(problems.sphere(D), bounds, x0=x0, **options).x, xp.Array)


@pytest.mark.parametrize(
    "attributes, words",
    [
        ({"dl_device": (2, 1)}, "x0 must live on CUDA device 0, the current one; it lives on CUDA"),
        ({"dl_type": (0, 64, 1)}, "x0 must hold numbers of type float64 or float32; theirs is"),
        ({"shape": (1, 2, 2), "strides": (4, 2, 1)}, "x0 must have at most two dimensions"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_read_are_errors_that_name_them(lazy, attributes, words):
    with pytest.raises(ValueError, match=words):
        cbo(problems.sphere(D), BOUNDS, x0=strange(lazy.array(np.ones(D)), **attributes))


class Odd:
    """On the device, by its own account."""

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream):
        raise BufferError("not today")


def test_libraries_without_what_it_takes(lazy):
    with pytest.raises(ValueError, match="has no from_dlpack by which results could be returned"):
        cbo(problems.sphere(D), BOUNDS, x0=Odd())
    odd = Odd()
    odd.__array_namespace__ = lambda: lazy
    with pytest.raises(ValueError, match="x0 cannot be read from its device: not today"):
        cbo(problems.sphere(D), BOUNDS, x0=odd)
    Odd.__dlpack__ = lambda self, stream: 3
    with pytest.raises(TypeError, match="x0: its __dlpack__ must return a capsule"):
        cbo(problems.sphere(D), BOUNDS, x0=odd)


# ---- what is lent ------------------------------------------------------------------------------


def device_array(numbers):
    cuda = _backend.module("cuda", "cbo")
    return cuda.DeviceArray(cuda.Queue(), numbers)


def test_what_is_lent_follows_the_standard(lazy):
    numbers = np.arange(6.0).reshape(2, 3)
    ours = device_array(numbers)
    assert ours.shape == (2, 3) and ours.dtype == np.float64
    assert device_array(numbers.astype(np.float32)).dtype == np.float32
    assert ours.__dlpack_device__() == (2, 0)
    for options in ({}, {"max_version": (1, 0), "dl_device": (2, 0), "copy": False}):
        assert 'capsule object "dltensor"' in repr(ours.__dlpack__(stream=1, **options))
    shared, copied = foreign.from_dlpack(ours), foreign.from_dlpack(Copying(ours))
    assert shared._address != copied._address
    del ours
    gc.collect()
    for one in (shared, copied):
        assert one.to_numpy().tobytes() == numbers.tobytes()


class Copying:
    def __init__(self, x):
        self.x = x

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()

    def __dlpack__(self, *, stream):
        return self.x.__dlpack__(stream=stream, copy=True)


@pytest.mark.parametrize("stream", [None, -1, 1, 2])
def test_streams_of_the_standard(lazy, stream):
    del lazy
    assert "dltensor" in repr(device_array(np.ones(3)).__dlpack__(stream=stream))


def test_wrong_requests_are_refused(lazy):
    ours = device_array(np.ones(3))
    for stream in (0, -2):
        with pytest.raises(ValueError, match="stream must be None, -1, 1, 2 or the handle"):
            ours.__dlpack__(stream=stream)
    with pytest.raises(BufferError, match="only where it lives"):
        ours.__dlpack__(dl_device=(1, 0))
    assert number(lazy.from_dlpack(device_array(np.zeros((0, 3))))).shape == (0, 3)


# ---- the other solvers -------------------------------------------------------------------------


def agree(there, here, *names):
    for name in names:
        np.testing.assert_allclose(number(there[name]), here[name], rtol=1e-12, atol=1e-12)


def test_sketches(xp):
    rng = np.random.default_rng(1)
    A, scale = rng.normal(size=(40, 3)), rng.uniform(1, 2, 40)
    for kind in ("sjlt", "srht", "gaussian", "uniform", "leverage", "less"):
        here = sketch(A, 10, kind, rng=1, device="cuda")
        assert number(sketch(xp.array(A), 10, kind, rng=1)).tobytes() == here.tobytes()
    with pytest.raises(ValueError, match="A must be a matrix with two dimensions"):
        sketch(xp.array(scale), 10)
    here = sketch(A.astype(np.float32), 10, rng=1, scale=scale, device="cpu")
    there = sketch(xp.array(A.T.astype(np.float32)).T, 10, rng=1, scale=xp.array(scale))
    assert number(there).tobytes() == here.tobytes()


def test_least_squares(xp):
    rng = np.random.default_rng(1)
    A, b = rng.normal(size=(40, 3)), rng.normal(size=40)
    there, here = lstsq(xp.array(A), xp.array(b)), lstsq(A, b)
    agree(there, here, "x")
    assert there.fun == here.fun


def test_newton(xp):
    rng = np.random.default_rng(2)
    A = rng.normal(size=(60, 3))
    y = np.where(A @ [1.0, -1.0, 0.5] + rng.normal(size=60) > 0, 1.0, -1.0)
    model, there = GLM(A, y, l2=0.1), GLM(xp.array(A), xp.array(y), l2=0.1)
    here = sketch_newton(model, np.zeros(3), device="cuda", linear_solver="ldl")
    for function, x0 in ((there, np.zeros(3)), (model, xp.array(np.zeros(3)))):
        result = sketch_newton(function, x0, linear_solver="ldl")
        agree(result, here, "x", "grad", "lagrangian_grad")
        assert isinstance(result.fun, float)
    line = {"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones((1, 3))}
    hess = {"hess": lambda x: WeightedGram(xp.array(A), np.ones(60), 1.0)}
    result = sketch_newton(
        lambda x: 0.5 * np.sum((A @ x) ** 2) + 0.5 * x @ x, xp.array(np.zeros(3)),
        jac=lambda x: A.T @ (A @ x) + x, constraints=line, **hess,
    )  # fmt: skip
    assert result.success and [number(one).shape for one in result.v] == [(1,)]


def test_networks(eager):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    options = {"beta": 0.3, "gates": 6, "rng": 2, "maxiter": 40}
    here = admm_relu(X, y, device="cuda", **options)
    there = admm_relu(eager.array(X), eager.array(y), **options)
    agree(there, here, "x", "theta", "gates", "W1", "b1", "W2", "b2")
    np.testing.assert_allclose(number(there.predict(eager.array(X))), here.predict(X), rtol=1e-12)
    assert isinstance(there.predict(X), np.ndarray) and isinstance(there.fun, float)
    again = admm_relu(eager.array(X), y, warm_start=there, **options)
    assert again.fun <= here.fun * (1 + 1e-6)
    path = admm_relu_path(X, eager.array(y), betas=[0.1, 1.0], gates=6, rng=2, maxiter=20)
    assert isinstance(path.results[0], OptimizeResult)
    assert number(path.results[1].W1).shape[1] == 3


def test_a_network_for_pytorch(lazy):
    torch = pytest.importorskip("torch")
    from fastopt.torch import to_module

    X = np.random.default_rng(1).normal(size=(20, 2))
    result = admm_relu(lazy.array(X), X[:, 0], beta=0.1, gates=4, rng=2, maxiter=20)
    module = to_module(result)
    out = module(torch.from_numpy(X)).detach().numpy()[:, 0]
    np.testing.assert_allclose(out, result.predict(X), rtol=1e-10)
