"""The CUDA backend, seen from Python; needs the plugin pytest_cuda_emu beside this file."""

import numpy as np
import pytest

from fastopt import _backend, _cpu, cbo, problems

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
