"""The CUDA backend, seen from Python; needs the plugin pytest_cuda_emu beside this file."""

import ctypes

import numpy as np
import pytest
from pytest_cuda_emu import MODULE

from fastopt import _admm_data, _backend, _cpu, admm_relu, admm_relu_path, cbo, problems

EXACT = [
    {"dynamics": "anisotropic"},
    {"dynamics": "isotropic", "truncation": 1.0},
    {"dynamics": "memory", "memory_diffusion": 0.1},
    {"dynamics": "memory", "noise": "isotropic", "memory_diffusion": 0.1, "batch_size": 20},
    {"dynamics": "hopping"},
    {"dynamics": "polarized"},
    {"dynamics": "polarized", "n_minimizers": 2},
    {"dynamics": "hybrid", "maxfev": 500},
]
ROUNDED = [
    {"dynamics": "anisotropic", "noise": "covariance"},
    {"dynamics": "sampling", "alpha": 1.0},
]


def run(device, **options):
    problem = options.pop("problem", problems.rastrigin(6))
    options = {"rng": 4, "maxiter": 15, "n_particles": 60, **options}
    return cbo(problem, [(-5, 5)] * 6, device=device, **options)


def test_the_plugin_took_the_cuda_module():
    assert _backend.module(None, "cbo") is _backend.module("cuda", "cbo") is not _cpu
    assert _backend.module("cpu", "cbo") is _cpu
    assert _backend.info()["cuda"]["available"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", EXACT, ids=str)
def test_a_native_run_has_the_bits_of_the_cpu(options, dtype):
    gpu, cpu = (run(device, dtype=dtype, **options) for device in ("cuda", "cpu"))
    assert gpu.nfev == cpu.nfev
    assert gpu.x.tobytes() == cpu.x.tobytes()
    assert gpu.population.tobytes() == cpu.population.tobytes()
    assert gpu.population_energies.tobytes() == cpu.population_energies.tobytes()


@pytest.mark.parametrize("options", ROUNDED, ids=str)
def test_correlated_noise_agrees_within_rounding(options):
    gpu, cpu = (run(device, **options) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(gpu.population, cpu.population, rtol=1e-9)


def test_an_objective_in_python_has_the_bits_of_the_cpu():
    def bowl(x):
        return np.sum(x**2)

    gpu, cpu = (run(device, problem=bowl, dynamics="memory") for device in ("cuda", "cpu"))
    assert gpu.x.tobytes() == cpu.x.tobytes()


def test_an_exception_of_the_objective_comes_back_and_the_next_run_works():
    def bad(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run("cuda", problem=bad, dynamics="anisotropic")
    assert np.isfinite(run("cuda", dynamics="anisotropic").fun)


def test_a_missing_device_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setenv("CUDA_EMU_NO_DEVICE", "1")
    with pytest.raises(RuntimeError, match="no CUDA-capable device"):
        run("cuda", dynamics="anisotropic")
    assert not _backend.info()["cuda"]["available"]


# ---- admm_relu ---------------------------------------------------------------------------------


def samples(loss, outputs=1, n=40, d=3):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(n, d)), rng.normal(size=(n, outputs))
    if loss in ("logistic", "hinge", "squared_hinge"):
        y = np.where(y > 0, 1.0, -1.0)
    if loss == "softmax":
        y = rng.integers(0, 3, size=(n, 1))
    return X, y if outputs > 1 else y[:, 0]


def both(X, y, function=admm_relu, **options):
    options = {"gates": 6, "rng": 2, "beta": 0.3, "maxiter": 40, **options}
    if function is admm_relu_path:
        del options["beta"]
    return (function(X, y, device=device, **options) for device in ("cuda", "cpu"))


def agree(gpu, cpu, rtol):
    assert gpu.nit == cpu.nit or rtol > 1e-6  # in single precision rounding may move the end
    assert gpu.status == cpu.status and gpu.method == cpu.method
    np.testing.assert_allclose(gpu.fun, cpu.fun, rtol=rtol)
    np.testing.assert_allclose(gpu.beta_max, cpu.beta_max, rtol=1e-10)
    if np.isfinite(cpu.dual_fun):
        np.testing.assert_allclose(gpu.dual_fun, cpu.dual_fun, rtol=max(rtol, 1e-7), atol=1e-7)
    assert gpu.dual_fun <= gpu.fun
    assert gpu.constr_violation < 1e-9


@pytest.mark.parametrize("method", ["conic", "gated", "scp", "admm"])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_networks_agree_with_the_cpu(method, outputs, dtype):
    gpu, cpu = both(*samples("squared", outputs), method=method, dtype=dtype)
    agree(gpu, cpu, 1e-9 if dtype == "float64" else 1e-5)
    X = samples("squared", outputs)[0]
    np.testing.assert_allclose(gpu.predict(X), cpu.predict(X), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("polish", [True, False])
@pytest.mark.parametrize(
    "loss", ["logistic", "softmax", "hinge", "squared_hinge", "huber", "quantile"]
)
def test_every_loss_agrees_with_the_cpu(loss, polish):
    gpu, cpu = both(*samples(loss), loss=loss, method="conic", polish=polish, maxiter=20)
    agree(gpu, cpu, 1e-9)
    np.testing.assert_allclose(gpu.theta, cpu.theta, rtol=1e-5, atol=1e-6)


def test_weights_history_and_the_callback():
    X, y = samples("logistic")
    seen = []
    options = {
        "loss": "logistic",
        "method": "conic",
        "sample_weight": np.linspace(0.5, 2, len(y)),
        "record_history": True,
        "callback": lambda intermediate_result: seen.append(intermediate_result.fun),
    }
    gpu, cpu = both(X, y, **options)
    agree(gpu, cpu, 1e-9)
    np.testing.assert_allclose(gpu.history["fun"], cpu.history["fun"], rtol=1e-8)
    np.testing.assert_allclose(seen[: len(seen) // 2], seen[len(seen) // 2 :], rtol=1e-8)


def test_many_columns_take_the_dense_system_of_rows():
    X, y = samples("squared", n=20, d=8)
    gpu, cpu = both(X, y, method="conic", rho=1.0)
    agree(gpu, cpu, 1e-9)


def test_wide_data_begin_with_the_published_splitting():
    X, y = samples("squared", n=12, d=101)
    gpu, cpu = both(X, y, gates=2, maxiter=10, gap_tol=1e-3)
    assert gpu.method == "admm+conic"
    agree(gpu, cpu, 1e-6)


def test_one_column():
    X, y = samples("squared", d=1)
    gpu, cpu = both(X, y, fit_intercept=False, method="conic")
    agree(gpu, cpu, 1e-9)


def test_a_path_and_a_warm_start():
    X, y = samples("squared")
    gpu, cpu = both(X, y, admm_relu_path, betas=[0.1, 1.0, 100.0], maxiter=500)
    assert gpu.success and cpu.success
    np.testing.assert_allclose(gpu.fun, cpu.fun, rtol=1e-4)
    assert list(gpu.n_neurons) == list(cpu.n_neurons)
    gpu, cpu = both(X, y, warm_start=cpu.results[0], beta=0.1, method="conic", gates=1)
    np.testing.assert_allclose(gpu.fun, cpu.fun, rtol=1e-4)


def test_generated_gates():
    X, y = samples("squared")
    gpu, cpu = both(X, y, gates="generate", maxiter=100)
    np.testing.assert_allclose(gpu.fun, cpu.fun, rtol=2e-4)


ROBUST = {"robust_eps": [0.05, 0.0, 0.1], "method": "conic"}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge", "squared_hinge"])
def test_adversarial_training_agrees_with_the_cpu(loss, dtype):
    gpu, cpu = both(*samples(loss), loss=loss, dtype=dtype, **ROBUST)
    assert cpu.n_neurons > 0
    agree(gpu, cpu, 1e-9 if dtype == "float64" else 1e-5)


def test_an_adversarial_path():
    X, y = samples("squared")
    gpu, cpu = both(X, y, admm_relu_path, betas=[0.3, 1.0], maxiter=400, **ROBUST)
    assert gpu.success and cpu.success
    np.testing.assert_allclose(gpu.fun, cpu.fun, rtol=2e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "conic"},
        {"method": "conic", "dtype": "float32"},
        {"method": "gated", "outputs": 2},
        {"method": "scp"},
        {"method": "admm"},
        {"method": "conic", "loss": "logistic"},
        {**ROBUST, "loss": "hinge"},
    ],
    ids=str,
)
def test_conjugate_gradients_agree_with_the_cpu(options, monkeypatch):
    monkeypatch.setattr("fastopt._admm_run.largest_system", lambda *_: 5)
    given = dict(options)
    data = samples(given.get("loss", "squared"), given.pop("outputs", 1))
    gpu, cpu = both(*data, **given)
    agree(gpu, cpu, 1e-5 if options.get("dtype") == "float32" else 1e-9)


@pytest.fixture
def device_bytes():
    """device_bytes(n): the emulated device has so many."""
    if not MODULE:
        pytest.skip("the memory of a GPU is what it is")
    library = ctypes.CDLL(MODULE)

    def limit(n):
        library.cuda_emu_memory_limit(ctypes.c_size_t(n))

    yield limit
    limit(0)


@pytest.mark.parametrize("method", ["conic", "gated", "admm"])
def test_what_is_said_to_fit_on_the_device_does(method, device_bytes, monkeypatch):
    """Beyond its memory, whatever the host has, conjugate gradients solve the system."""
    orders = []

    def largest(*given):
        orders.append(_admm_data.largest_system(*given))
        return orders[-1]

    monkeypatch.setattr("fastopt._admm_run.largest_system", largest)
    X, y = samples("squared", n=300)
    options = {"method": method, "gates": 30, "maxiter": 2}
    sizes = (300, 4, 30, 1, method, 8)
    device_bytes(_admm_data.memory_needed(*sizes, cuda=True) + 90_000)
    gpu, _ = both(X, y, **options)
    assert orders[0] < 120 <= orders[1]
    assert np.isfinite(gpu.fun)
    device_bytes(_admm_data.memory_needed(*sizes, cuda=True) + 600_000)
    assert np.isfinite(next(both(X, y, **options)).fun)
    assert orders[2] >= 120
    device_bytes(20_000)
    with pytest.raises(MemoryError, match=r"GiB available on the device: take fewer samples"):
        next(both(X, y, **options))


class Alone:
    """A communicator of one process."""

    rank, size = 0, 1

    def allgather(self, array):
        return array[None]

    def allreduce(self, array):
        return array


def test_what_runs_on_the_cpu_only_says_so():
    X, y = samples("squared")
    with pytest.raises(ValueError, match=r"comm.*device='cpu'"):
        admm_relu(X, y, beta=0.1, comm=Alone(), gates=4, rng=1, method="conic", device="cuda")
