"""Arrays that live on a CUDA device, where this fastopt cannot read them: errors that say so."""

import numpy as np
import pytest

from fastopt import _backend, admm_relu, admm_relu_path, cbo, lstsq, problems, sketch, sketch_newton
from fastopt.problems import GLM, WeightedGram

REASON = "this build has no CUDA backend"


class DeviceArray:
    """On the device, by its own account, and unreadable for NumPy as CuPy's arrays are."""

    def __dlpack_device__(self):
        return 2, 0

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(_backend, "_cuda_info", lambda: {"available": False, "reason": REASON})


A, y, there = np.eye(3), np.ones(3), DeviceArray()
CALLS = {
    "x0": lambda: cbo(problems.sphere(2), [(-1, 1)] * 2, x0=there),
    "bounds": lambda: cbo(problems.sphere(2), there),
    "init": lambda: cbo(problems.sphere(2), [(-1, 1)] * 2, init=there, dynamics="hopping"),
    "X": lambda: admm_relu(there, y, beta=1.0),
    "y": lambda: admm_relu_path(A, there, betas=[1.0]),
    "sample_weight": lambda: admm_relu(A, y, beta=1.0, sample_weight=there),
    "gates": lambda: admm_relu(A, y, beta=1.0, gates=there),
    "A": lambda: sketch(there, 2),
    "scale": lambda: sketch(A, 2, scale=there),
    "b": lambda: lstsq(A, there),
    "w": lambda: WeightedGram(A, there),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("no_cuda")
def test_an_input_on_the_device_is_refused_by_name(name):
    with pytest.raises((ValueError, RuntimeError), match=REASON) as caught:
        CALLS[name]()
    said = str(caught.value)
    assert said.startswith(f"{name} is an array on a CUDA device (a ")
    assert "DeviceArray), which cannot be read here" in said
    assert "x.cpu() of PyTorch or cupy.asnumpy(x)" in said


@pytest.mark.usefixtures("no_cuda")
def test_so_it_is_for_newton_and_its_models():
    for call in (
        lambda: sketch_newton(np.sum, there),
        lambda: sketch_newton(np.sum, there, device="cpu"),
        lambda: GLM(there, y),
        lambda: GLM(A, there),
    ):
        with pytest.raises((ValueError, RuntimeError), match=rf"on a CUDA device .*{REASON}"):
            call()


@pytest.mark.usefixtures("no_cuda")
def test_arrays_of_other_devices_are_no_business_of_cuda():
    class Elsewhere(DeviceArray):
        def __dlpack_device__(self):
            return 8, 0

    class Nowhere(DeviceArray):
        def __dlpack_device__(self):
            raise ValueError("Unknown device type meta for Dlpack")

    for one in (Elsewhere(), Nowhere()):
        with pytest.raises(TypeError, match="Implicit conversion"):  # its library's own word
            cbo(problems.sphere(2), [(-1, 1)] * 2, x0=one)


def test_numpy_arrays_stay_what_they_are():
    result = cbo(problems.sphere(2), np.array([[-1.0, 1.0]] * 2), rng=1, device="cpu", maxfev=50)
    assert type(result.x) is np.ndarray and type(result.population) is np.ndarray
