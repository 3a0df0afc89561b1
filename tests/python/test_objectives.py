"""Every form of objective: Python, vectorised, workers, compiled pointers, torch, JAX."""

import concurrent.futures
import ctypes
import importlib
import operator
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from scipy import LowLevelCallable
from scipy.optimize import rosen

from fastopt import cbo, problems, sketch_newton

BOX = [(-2.0, 2.0), (-1.0, 3.0), (-3.0, 3.0)]
TARGET = np.array([0.5, 1.25, -0.75])  # the minimiser of `bowl`, exact in binary
QUICK = {"rng": 7, "dynamics": "anisotropic", "n_particles": 30, "maxiter": 60}


def bowl(x):
    return float(((x - TARGET) ** 2).sum())


def bowl_columns(x):
    return ((x - TARGET[:, None]) ** 2).sum(axis=0)


# ---- Python functions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [float, np.float64, np.float32, np.asarray, lambda v: np.array([v]), lambda v: np.array([[v]])],
    ids=["float", "float64", "float32", "0-d", "size-1", "1x1"],
)
def test_whatever_is_a_scalar_is_accepted(wrap):
    result = cbo(lambda x: wrap(bowl(x)), BOX, rng=1)
    assert np.abs(result.x - TARGET).max() < 2e-3
    assert isinstance(result.fun, float)


def test_integers_and_bools_are_numbers():
    assert cbo(lambda x: int(x[0] > 0), [(-1, 1)], **QUICK).fun == 0.0
    assert cbo(lambda x: bool(x[0] > 0), [(-1, 1)], **QUICK).fun == 0.0


@pytest.mark.parametrize(
    "value",
    [None, "1.0", 1j, np.ones(2), np.empty(0), [1.0, 2.0], {"f": 1}, object()],
    ids=lambda v: type(v).__name__,
)
def test_what_is_no_scalar_is_refused_with_scipys_words(value):
    message = "The user-provided objective function must return a scalar value"
    with pytest.raises(ValueError, match=message):
        cbo(lambda x: value, BOX, **QUICK)


def test_args_reach_the_objective_as_a_tuple_or_alone():
    assert cbo(lambda x, a, b: bowl(x) + a * b, BOX, (2, 3), rng=1).fun == pytest.approx(6)
    assert cbo(lambda x, a: bowl(x) + a, BOX, args=5, rng=1).fun == pytest.approx(5)


@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic", "memory"])
def test_the_value_is_that_of_the_function_at_x_and_every_call_is_counted(dynamics):
    calls = []

    def counted(x):
        calls.append(x)  # x may be kept: the rows are not reused
        return rosen(x)

    result = cbo(counted, [(-2, 2)] * 3, rng=3, dynamics=dynamics, maxiter=50)
    assert result.nfev == len(calls)
    assert result.fun == rosen(result.x)
    assert result.fun == min(map(rosen, calls))


def test_an_objective_may_overwrite_its_argument():
    def rude(x):
        value = bowl(x)
        x[:] = np.nan
        return value

    def rude_columns(x):
        value = bowl_columns(x)
        x[:] = np.nan
        return value

    polite = cbo(bowl, BOX, **QUICK)
    assert cbo(rude, BOX, **QUICK).x.tobytes() == polite.x.tobytes()
    assert cbo(rude_columns, BOX, vectorized=True, **QUICK).x.tobytes() == polite.x.tobytes()


@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
def test_vectorized_sees_the_transpose_of_the_buffer_and_gives_the_same_run(dynamics):
    shapes = set()

    def columns(x):
        assert x.flags.f_contiguous and x.base is not None
        shapes.add(x.shape[0])
        return bowl_columns(x)

    options = {**QUICK, "dynamics": dynamics}
    many, one = cbo(columns, BOX, vectorized=True, **options), cbo(bowl, BOX, **options)
    assert shapes == {3}
    assert many.x.tobytes() == one.x.tobytes()
    assert (many.fun, many.nfev, many.nit) == (one.fun, one.nfev, one.nit)
    assert many.fun == bowl(many.x)


@pytest.mark.parametrize("wrong", [lambda x: 1.0, lambda x: x, lambda x: None], ids=range(3))
def test_a_vectorized_function_must_return_one_value_a_point(wrong):
    with pytest.raises(ValueError, match=r"array of shape \(S,\)"):
        cbo(wrong, BOX, vectorized=True, **QUICK)


@pytest.mark.parametrize("vectorized", [False, True])
def test_float32_particles_still_give_the_value_of_the_function_at_x(vectorized):
    func = bowl_columns if vectorized else bowl
    result = cbo(func, BOX, vectorized=vectorized, dtype="float32", **QUICK)
    assert result.x.dtype == np.float64
    assert result.fun == bowl(result.x)
    assert result.fun < 1e-6


def test_float32_hands_float32_to_vectorized_functions():
    seen = set()

    def columns(x):
        seen.add(x.dtype)
        return bowl_columns(x)

    options = {**QUICK, "polish": False, "dtype": np.float32}
    cbo(columns, BOX, vectorized=True, **options)
    assert np.dtype(np.float32) in seen


def test_an_objective_may_call_fastopt():
    def outer(x):
        inner = cbo(lambda y: (y[0] - x[0]) ** 2, [(-1, 1)], rng=0, n_particles=10, maxfev=60)
        return inner.fun + abs(x[0] - 0.25)

    result = cbo(outer, [(-1, 1)], rng=1, dynamics="anisotropic", n_particles=10, maxiter=20)
    assert abs(result.x[0] - 0.25) < 0.05


def test_threads_of_python_solve_at_once_without_touching_each_other():
    alone = [cbo(bowl, BOX, **{**QUICK, "rng": seed}).x.tobytes() for seed in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda seed: cbo(bowl, BOX, **{**QUICK, "rng": seed}).x.tobytes(), range(4))
        )
    assert together == alone


# ---- gradient drift --------------------------------------------------------------------------


def test_a_gradient_by_point_or_by_columns_drives_the_particles():
    kept = {**QUICK, "diffusion": 0.0, "drift": 0.0, "polish": False, "gradient_weight": 0.1}
    by_point = cbo(bowl, BOX, gradient=lambda x: 2 * (x - TARGET), **kept)
    by_column = cbo(
        bowl_columns, BOX, gradient=lambda x: 2 * (x - TARGET[:, None]), vectorized=True, **kept
    )
    still = cbo(bowl, BOX, **kept)
    assert by_point.fun < 1e-8 < 1e-3 < still.fun  # without it the particles stay where they are
    assert by_column.x.tobytes() == by_point.x.tobytes()


def test_a_gradient_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"gradient must return an array of shape \(3,\)"):
        cbo(bowl, BOX, gradient=lambda x: x[:2], **QUICK)


# ---- workers ---------------------------------------------------------------------------------


def test_processes_give_the_same_run():
    options = {"rng": 5, "maxiter": 12, "dynamics": "anisotropic", "n_particles": 24}
    one, two = (cbo(rosen, BOX, workers=w, **options) for w in (1, 2))
    assert one.x.tobytes() == two.x.tobytes()
    assert one.nfev == two.nfev


def test_a_map_gets_one_task_a_chunk():
    lengths = []

    def maplike(func, iterable):
        pieces = list(iterable)
        lengths.append([len(piece) for piece in pieces])
        return map(func, pieces)

    mapped = cbo(bowl, BOX, workers=maplike, **{**QUICK, "n_particles": 500})
    assert mapped.x.tobytes() == cbo(bowl, BOX, **{**QUICK, "n_particles": 500}).x.tobytes()
    assert sum(lengths[0]) == 500
    assert len(lengths[0]) < 500 and max(lengths[0]) - min(lengths[0]) <= 1


def test_a_thread_pools_map_serves_as_workers():
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        threaded = cbo(bowl, BOX, workers=pool.map, **QUICK)
    assert threaded.x.tobytes() == cbo(bowl, BOX, **QUICK).x.tobytes()


def test_a_map_that_loses_results_is_found_out():
    with pytest.raises(RuntimeError, match="map-like callable"):
        cbo(bowl, BOX, workers=lambda func, it: list(map(func, it))[1:], **QUICK)


def test_processes_need_picklable_functions():
    with pytest.raises(ValueError, match="cannot be pickled"):
        cbo(lambda x: 0.0, BOX, workers=2, **QUICK)


@pytest.mark.parametrize(
    ("func", "args", "error"),
    [(operator.truediv, ("a",), TypeError), (sys.exit, (), SystemExit)],
    ids=["TypeError", "SystemExit"],
)
def test_exceptions_in_worker_processes_come_back(func, args, error):
    """Of both at once, since each point is an error."""
    with pytest.raises(error):
        cbo(func, BOX, args, workers=2, **QUICK)
    assert cbo(rosen, BOX, workers=2, **{**QUICK, "maxiter": 2}).nit == 2


class Refusal(Exception):
    pass


def refuses_good_points(x):
    if bowl(x) < 0.005:
        raise Refusal(float(x[0]), os.getpid())
    return bowl(x)


def test_an_exception_in_a_later_batch_of_worker_processes():
    again = importlib.import_module(Path(__file__).stem)  # by a name that the workers find too
    seen = []
    with pytest.raises(again.Refusal) as caught:
        cbo(again.refuses_good_points, BOX, workers=2, callback=lambda xk: seen.append(xk), **QUICK)
    assert seen and caught.value.args[1] != os.getpid()
    assert "refuses_good_points" in str(caught.value.__cause__)  # the worker's own traceback


def test_exceptions_in_a_thread_pools_map_come_back_unchanged():
    raised = []

    def fail(x):
        raised.append(LookupError("mine"))
        raise raised[-1]

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        with pytest.raises(LookupError) as caught:
            cbo(fail, BOX, workers=pool.map, **QUICK)
        assert any(caught.value is one for one in raised)
        assert cbo(bowl, BOX, workers=pool.map, **QUICK).fun < 1e-6


@pytest.mark.parametrize("workers", [0, -2, 1.5, "2", True, None], ids=str)
def test_workers_must_be_a_number_or_a_map(workers):
    with pytest.raises(ValueError, match="workers must be -1"):
        cbo(bowl, BOX, workers=workers, **QUICK)


def test_workers_override_vectorized_with_scipys_warning():
    with pytest.warns(UserWarning, match="'workers' keyword overrides the 'vectorized'"):
        result = cbo(bowl, BOX, workers=map, vectorized=True, **QUICK)
    assert result.x.tobytes() == cbo(bowl, BOX, **QUICK).x.tobytes()


# ---- compiled functions ----------------------------------------------------------------------

_POINTER = ctypes.POINTER(ctypes.c_double)
PLAIN = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, _POINTER)
WITH_DATA = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, _POINTER, ctypes.c_void_p)


@PLAIN
def c_bowl(n, x):
    total = 0.0
    for k in range(n):
        total += (x[k] - TARGET[k]) ** 2
    return total


@WITH_DATA
def c_bowl_scaled(n, x, data):
    return ctypes.cast(data, _POINTER)[0] * c_bowl(n, x)


def python_bowl(x):
    return c_bowl(x.size, x.ctypes.data_as(_POINTER))


@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
@pytest.mark.parametrize("form", [c_bowl, LowLevelCallable(c_bowl)], ids=["ctypes", "LowLevel"])
def test_a_pointer_gives_the_run_of_the_python_function(form, dynamics):
    options = {**QUICK, "dynamics": dynamics}
    native, python = cbo(form, BOX, **options), cbo(python_bowl, BOX, **options)
    assert native.x.tobytes() == python.x.tobytes()
    assert (native.fun, native.nfev) == (python.fun, python.nfev)


def test_user_data_reach_the_pointer():
    factor = np.array([3.0])
    data = factor.ctypes.data_as(ctypes.c_void_p)
    once = cbo(c_bowl, BOX, **{**QUICK, "polish": False})
    thrice = cbo(LowLevelCallable(c_bowl_scaled, data), BOX, **{**QUICK, "polish": False})
    assert once.fun > 0
    assert thrice.fun == 3.0 * python_bowl(thrice.x)


def test_cffi_pointers():
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()

    @ffi.callback("double(int, double *)")
    def pointer(n, x):
        return c_bowl(n, ctypes.cast(int(ffi.cast("intptr_t", x)), _POINTER))

    assert cbo(pointer, BOX, **QUICK).x.tobytes() == cbo(python_bowl, BOX, **QUICK).x.tobytes()


def test_numba_cfuncs():
    numba = pytest.importorskip("numba")
    types = numba.types

    @numba.cfunc(types.double(types.intc, types.CPointer(types.double)))
    def compiled(n, x):
        total = 0.0
        for k in range(n):
            total += (x[k] - 0.5) ** 2
        return total

    def python(x):
        total = 0.0
        for value in x:
            total += (value - 0.5) ** 2
        return total

    assert cbo(compiled, BOX, **QUICK).x.tobytes() == cbo(python, BOX, **QUICK).x.tobytes()


WRONG = [
    ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int, _POINTER)(lambda n, x: 0.0),
    ctypes.CFUNCTYPE(ctypes.c_double, _POINTER, ctypes.c_int)(lambda x, n: 0.0),
    ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(lambda x: 0.0),
]


@pytest.mark.parametrize("pointer", WRONG, ids=["float", "order", "scalar"])
def test_other_signatures_are_refused(pointer):
    with pytest.raises(ValueError, match=r"double \(int, double \*\)"):
        cbo(pointer, BOX, **QUICK)


def test_a_ctypes_function_without_types_is_refused():
    untyped = ctypes.CDLL(None).abs
    with pytest.raises(ValueError, match=r"\.argtypes"):
        cbo(untyped, BOX, **QUICK)


def test_what_means_nothing_for_a_pointer_is_refused():
    with pytest.raises(ValueError, match="user_data"):
        cbo(c_bowl, BOX, (1,), **QUICK)
    with pytest.raises(ValueError, match="vectorized"):
        cbo(c_bowl, BOX, vectorized=True, **QUICK)
    with pytest.raises(ValueError, match="threads"):
        cbo(c_bowl, BOX, workers=2, **QUICK)


# ---- named problems --------------------------------------------------------------------------


def test_a_named_problem_runs_natively_and_agrees_with_its_python_form():
    problem = problems.rastrigin(3).shifted(rng=2)
    native = cbo(problem, problem.bounds, rng=1)
    python = cbo(lambda x: problem(x), problem.bounds, rng=1)
    assert native.fun < 1e-8 and python.fun < 1e-8
    assert np.abs(native.x - problem.x_min).max() < 1e-4
    assert abs(problem(native.x) - native.fun) < 1e-10


def test_a_named_problem_broadcasts_one_pair_and_refuses_another_dimension():
    assert cbo(problems.sphere(4), (-5, 5), rng=1).x.shape == (4,)
    with pytest.raises(ValueError, match="not compatible"):
        cbo(problems.sphere(4), [(-5, 5)] * 3, rng=1)


def test_native_runs_in_parallel_equal_single_runs():
    problem = problems.ackley(3)
    options = {"dynamics": "anisotropic", "n_particles": 40, "maxiter": 50, "rng": 9}
    many = cbo(problem, problem.bounds, runs=4, threads=2, **options)
    again = cbo(problem, problem.bounds, runs=4, threads=1, **options)
    assert many.x.shape == (4, 3)
    assert many.x.tobytes() == again.x.tobytes()
    assert many.x[0].tobytes() == cbo(problem, problem.bounds, **options).x.tobytes()
    assert len({row.tobytes() for row in many.x}) == 4


# ---- torch and JAX ---------------------------------------------------------------------------


def test_torch_functions_see_the_particles_without_a_copy():
    torch = pytest.importorskip("torch")
    from fastopt.torch import from_torch

    target, places = torch.tensor(TARGET), set()

    def fn(x):
        assert x.shape[1] == 3 and x.dtype == torch.float64
        places.add(x.data_ptr())
        return ((x - target) ** 2).sum(dim=1)

    options = {**QUICK, "polish": False}
    result = cbo(from_torch(fn), BOX, **options)
    assert len(places) == 1  # one buffer, read where it lies
    assert result.nit > 10
    assert result.x.tobytes() == cbo(bowl, BOX, **options).x.tobytes()


def test_torch_gradients_and_scipy_face():
    torch = pytest.importorskip("torch")
    from fastopt.torch import from_torch

    f = from_torch(lambda x: ((x - torch.tensor(TARGET)) ** 2).sum(dim=1))
    assert f.fun([1.0, 1.0, 1.0]) == bowl(np.ones(3))
    assert np.allclose(f.jac(np.ones(3)), 2 * (np.ones(3) - TARGET), rtol=1e-15)
    kept = {**QUICK, "diffusion": 0.0, "drift": 0.0, "polish": False, "gradient_weight": 0.1}
    assert cbo(f, BOX, gradient=f.jac, **kept).fun < 1e-8


def test_torch_float32_models_get_float32():
    torch = pytest.importorskip("torch")
    from fastopt.torch import from_torch

    layer = torch.nn.Linear(3, 1).requires_grad_(False)  # float32 weights
    f = from_torch(lambda x: layer(x).squeeze(1) ** 2)
    assert cbo(f, BOX, dtype="float32", **QUICK).fun < 1e-6


def test_a_tensor_that_requires_grad_brings_the_advice_to_detach():
    torch = pytest.importorskip("torch")
    from fastopt.torch import from_torch

    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="detach"):
        cbo(from_torch(lambda x: x @ weight), BOX, **QUICK)


def test_results_export_by_dlpack_and_tensors_are_arguments():
    torch = pytest.importorskip("torch")
    bounds = torch.tensor(BOX, dtype=torch.float64)
    start = torch.tensor(TARGET, dtype=torch.float32)
    result = cbo(bowl, bounds, x0=start, **QUICK)
    assert result.x.tobytes() == cbo(bowl, BOX, x0=start.numpy(), **QUICK).x.tobytes()
    cloud = torch.from_numpy(result.population)
    assert cbo(bowl, bounds, init=cloud, **QUICK).fun < 1e-10
    for name in ("x", "population", "population_energies", "consensus"):
        array = result[name]
        tensor = torch.from_dlpack(array)
        assert tensor.data_ptr() == array.ctypes.data  # the memory of the core, not a copy
        del result[name], array
        assert torch.isfinite(tensor).all()  # which the tensor keeps alive


def test_jax_functions():
    jax = pytest.importorskip("jax")
    from fastopt.jax import from_jax

    with jax.enable_x64(True):
        f = from_jax(jax.jit(lambda x: ((x - TARGET) ** 2).sum(axis=1)))
        result = cbo(f, BOX, rng=1)
        assert np.abs(result.x - TARGET).max() < 1e-6
        assert result.fun == f.fun(result.x)
        assert np.allclose(f.jac(np.ones(3)), 2 * (np.ones(3) - TARGET), rtol=1e-15)
        assert np.allclose(f.hessp(np.ones(3), [1, 2, 3]), [2, 4, 6], rtol=1e-15)
        newton = sketch_newton(f.fun, np.ones(3), jac=f.jac, hessp=f.hessp)
        assert newton.success and np.abs(newton.x - TARGET).max() < 1e-12


@pytest.mark.parametrize("face", ["torch", "jax"])
def test_a_missing_library_names_the_extra(face, monkeypatch):
    monkeypatch.setitem(sys.modules, face, None)
    module = __import__(f"fastopt.{face}", fromlist=["x"])
    with pytest.raises(ImportError, match=rf"fastopt\[{face}\]"):
        getattr(module, f"from_{face}")(bowl)


def test_the_objective_runs_in_the_callers_thread():
    seen = set()

    def func(x):
        seen.add(threading.get_ident())
        return bowl(x)

    cbo(func, BOX, **QUICK)
    assert seen == {threading.get_ident()}
