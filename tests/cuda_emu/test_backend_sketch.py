"""sketch on the CUDA backend, seen from Python; needs the plugin pytest_cuda_emu."""

import numpy as np
import pytest
import scipy.sparse

from fastopt import sketch

RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(300, 6))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "kind", ["sjlt", "countsketch", "srht", "uniform", "leverage", "less", "gaussian"]
)
def test_a_sketch_has_the_bits_of_the_cpu(kind, dtype):
    options = {"rng": 3, "scale": np.abs(DATA[:, 0])}
    gpu, cpu = (sketch(DATA.astype(dtype), 40, kind, device=d, **options) for d in ("cuda", "cpu"))
    assert gpu.dtype == cpu.dtype == dtype
    if kind == "gaussian":  # a product, which cuBLAS adds in its own order
        np.testing.assert_allclose(gpu, cpu, rtol=1e-5, atol=1e-5)
    else:
        assert gpu.tobytes() == cpu.tobytes()


def test_data_without_columns():
    assert sketch(np.ones((5, 0)), 3, device="cuda").shape == (3, 0)


def test_sparse_data_run_on_the_cpu_only():
    with pytest.raises(ValueError, match=r"sparse data.*device='cpu'"):
        sketch(scipy.sparse.csr_matrix(DATA), 20, device="cuda")
