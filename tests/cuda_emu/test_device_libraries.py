"""Objectives of each library of arrays that is here: PyTorch and CuPy where they see the GPU that
fastopt computes on, foreign_arrays on the emulated device. The bits are those of NumPy."""

import os

import numpy as np
import pytest

from fastopt import cbo, sketch

D, N = 4, 300


def torch_cuda():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    return lambda a: torch.from_numpy(a).cuda(), lambda x: x.cpu().numpy(), torch.Tensor


def cupy():
    cupy = pytest.importorskip("cupy")
    return cupy.asarray, cupy.asnumpy, cupy.ndarray


def emulated():
    import foreign_arrays as foreign

    foreign.start()
    return foreign.array, lambda x: x.to_numpy(), foreign.Array


@pytest.fixture(params=[emulated] if "FASTOPT_CUDA_MODULE" in os.environ else [torch_cuda, cupy])
def library(request):
    yield request.param()
    if request.param is emulated:
        import foreign_arrays

        foreign_arrays.stop()


def valley(x):
    """Products and sums one after another, so that nothing is fused or added in another order."""
    total = (x[0] - 0.5) * (x[0] - 0.5)
    for k in range(1, len(x)):
        step = x[k] - x[k - 1] * x[k - 1]
        total = total + step * step * 10.0
    return total


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_run_has_the_bits_of_numpy(library, dtype):
    there, back, kind = library
    bounds = np.array([[-5.0, 5.0]] * D)
    kept = []

    def keep(x):
        assert isinstance(x, kind)
        kept.append((x, x[0] * x[1]))
        return valley(x)

    options = {"rng": 4, "maxiter": 20, "n_particles": N, "dynamics": "memory", "dtype": dtype}
    gpu = cbo(keep, there(bounds), vectorized=True, polish=False, **options)
    cpu = cbo(valley, bounds, vectorized=True, polish=False, device="cpu", **options)
    assert isinstance(gpu.x, kind) and gpu.fun == cpu.fun
    for name in ("x", "population", "population_energies", "consensus"):
        assert back(gpu[name]).tobytes() == cpu[name].tobytes(), name
    for x, product in kept:  # what was kept has not changed
        assert back(x[0] * x[1]).tobytes() == back(product).tobytes()


def test_a_sketch_of_columns(library):
    there, back, kind = library
    A = np.random.default_rng(1).normal(size=(7, 500))
    sketched = sketch(there(A).T, 40, rng=1)  # not by rows
    assert isinstance(sketched, kind)
    assert back(sketched).tobytes() == sketch(A.T, 40, rng=1, device="cpu").tobytes()
