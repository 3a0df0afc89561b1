"""sketch, sketch_newton on the CUDA backend, seen from Python; needs the plugin pytest_cuda_emu."""

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import LinearConstraint, NonlinearConstraint, rosen, rosen_der, rosen_hess

from fastopt import sketch, sketch_newton
from fastopt.problems import GLM, WeightedGram

FAMILIES = ("logistic", "poisson", "gaussian", "gamma")
RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(300, 6))
SPARSE = scipy.sparse.csr_matrix(np.where(RNG.random((300, 6)) < 0.3, DATA, 0))
UNORDERED = scipy.sparse.csr_matrix(  # each row names column 4 twice, and the others backwards
    (RNG.normal(size=1200), np.tile([4, 2, 1, 4], 300), np.arange(0, 1201, 4)), shape=(300, 6)
)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("data", ["dense", "csr", "unordered"])
@pytest.mark.parametrize(
    "kind", ["sjlt", "countsketch", "srht", "uniform", "leverage", "less", "gaussian"]
)
def test_a_sketch_has_the_bits_of_the_cpu(kind, data, dtype):
    options = {"rng": 3, "scale": np.abs(DATA[:, 0])}
    A = {"dense": DATA, "csr": SPARSE, "unordered": UNORDERED}[data].astype(dtype)
    gpu, cpu = (sketch(A, 40, kind, device=d, **options) for d in ("cuda", "cpu"))
    assert gpu.dtype == cpu.dtype == dtype
    if kind == "gaussian":  # a product, which is added in another order
        np.testing.assert_allclose(gpu, cpu, rtol=1e-5, atol=1e-5)
    else:
        assert gpu.tobytes() == cpu.tobytes()


def test_data_without_columns():
    assert sketch(np.ones((5, 0)), 3, device="cuda").shape == (3, 0)


def test_sparse_data_without_entries():
    empty = scipy.sparse.csr_matrix((5, 4))
    assert not sketch(empty, 3, device="cuda").any()
    assert sketch(scipy.sparse.csr_matrix((5, 0)), 3, device="cuda").shape == (3, 0)


# ---- sketch_newton ------------------------------------------------------------------------------


def model(family, rows=400, n=6, sparse=False, **options):
    rng = np.random.default_rng(2)
    A = rng.normal(size=(rows, n)) / np.sqrt(n)
    if sparse:
        A = scipy.sparse.csr_matrix(np.where(rng.random(A.shape) < 0.5, A, 0))
    z = A @ rng.normal(size=n)
    y = {
        "logistic": np.where(z + 0.3 * rng.normal(size=rows) > 0, 1.0, -1.0),
        "poisson": rng.poisson(np.exp(z)),
        "gaussian": z + rng.normal(size=rows),
        "gamma": rng.gamma(2.0, np.exp(z) / 2) + 0.01,
    }[family]
    return GLM(A, y, family, 1e-3, **options)


SPHERE = NonlinearConstraint(
    lambda x: x @ x, 1, 1, jac=lambda x: 2 * x[None], hess=lambda x, v: 2 * v[0] * np.eye(x.size)
)
PLANES = LinearConstraint(np.arange(12.0).reshape(2, 6) % 5, 1, 1)
CONSTRAINTS = {"none": (), "planes": PLANES, "sphere": SPHERE}


def both(fun, x0, **options):
    return (sketch_newton(fun, x0, device=device, **options) for device in ("cuda", "cpu"))


def agree(gpu, cpu, rtol=1e-8):
    assert gpu.success and cpu.success
    assert gpu.linear_solver == cpu.linear_solver
    assert abs(gpu.nit - cpu.nit) <= 1
    np.testing.assert_allclose(gpu.x, cpu.x, rtol=rtol, atol=1e-9)
    np.testing.assert_allclose(gpu.fun, cpu.fun, rtol=1e-9)
    for a, b in zip(gpu.v, cpu.v, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("linear_solver", ["sketch-pcg", "ldl"])
@pytest.mark.parametrize("constraints", CONSTRAINTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_models_agree_with_the_cpu(family, constraints, linear_solver):
    gpu, cpu = both(
        model(family),
        np.full(6, 0.1),
        constraints=CONSTRAINTS[constraints],
        linear_solver=linear_solver,
        sketch_size=24,
        tol=1e-9,
    )
    agree(gpu, cpu, 1e-6)
    assert gpu.merit["shift"] == cpu.merit["shift"]
    if linear_solver == "ldl":
        return
    if gpu.sketch["made"] == cpu.sketch["made"] == 1:  # how long one serves is a matter of cost
        assert abs(gpu.inner_iterations - cpu.inner_iterations) <= 5
    assert gpu.sketch["rows"] == cpu.sketch["rows"] == 24


@pytest.mark.parametrize("linear_solver", ["sketch-pcg", "ldl", "minres", "nystrom-pcg"])
@pytest.mark.parametrize("rows", [400, 1100])  # more than one part of a column in the latter
def test_sparse_models_agree_with_the_cpu(rows, linear_solver):
    one = model("logistic", rows, sparse=True)
    gpu, cpu = both(one, np.full(6, 0.1), constraints=PLANES, linear_solver=linear_solver, tol=1e-9)
    agree(gpu, cpu, 1e-6)


@pytest.mark.parametrize("sketch", ["sjlt", "gaussian", "srht", "less"])
def test_sketches_of_sparse_models_precondition(sketch):
    options = {"linear_solver": "sketch-pcg", "sketch": sketch, "sketch_size": 40}
    gpu, cpu = both(model("poisson", sparse=True), np.zeros(6), **options)
    agree(gpu, cpu, 1e-6)


@pytest.mark.parametrize("kind", ["countsketch", "srht", "gaussian", "uniform", "leverage", "less"])
def test_every_sketch_preconditions(kind):
    options = {"linear_solver": "sketch-pcg", "sketch": kind, "sketch_size": 40}
    gpu, cpu = both(model("logistic"), np.zeros(6), **options)
    agree(gpu, cpu, 1e-6)


def test_sample_weights_and_methods_of_a_model():
    one = model("logistic", sample_weight=np.linspace(0.5, 2, 400))
    gpu, cpu = both(one.fun, np.zeros(6), jac=one.jac, hess=one.hess, linear_solver="sketch-pcg")
    agree(gpu, cpu, 1e-6)


@pytest.mark.parametrize("data", ["dense", "csr"])
@pytest.mark.parametrize("rest", ["scalar", "diagonal", "dense"])
@pytest.mark.parametrize("linear_solver", ["sketch-pcg", "ldl"])
def test_a_weighted_gram_agrees_with_the_cpu(linear_solver, rest, data):
    R = {"scalar": 0.5, "diagonal": np.linspace(1, 2, 6), "dense": np.eye(6) + 0.1}[rest]
    W = WeightedGram(DATA if data == "dense" else SPARSE, np.linspace(0, 1, 300), R)
    full, b = W.toarray(), np.arange(6.0)
    gpu, cpu = both(
        lambda x: 0.5 * x @ full @ x - b @ x,
        np.zeros(6),
        jac=lambda x: full @ x - b,
        hess=lambda x: W,
        linear_solver=linear_solver,
        constraints=PLANES,
    )
    agree(gpu, cpu)


@pytest.mark.parametrize("A", [DATA, SPARSE], ids=["dense", "csr"])
def test_negative_weights_are_shifted_as_on_the_cpu(A):
    weights = np.where(np.arange(300) % 3 == 0, -1.5, 0.5)
    W = WeightedGram(A, weights, 0.1)
    full = W.toarray()
    gpu, cpu = both(
        lambda x: 0.5 * x @ full @ x + 20 * np.sum(x**4) - np.sum(x),
        np.full(6, 0.1),
        jac=lambda x: full @ x + 80 * x**3 - 1,
        hess=lambda x: WeightedGram(A, weights, 0.1 + 240 * x**2),
        linear_solver="ldl",
    )
    agree(gpu, cpu)


def rosen_problem(**options):
    return both(
        rosen,
        np.array([-1.2, 1.0, 0.5, 2.0]),
        jac=rosen_der,
        hess=rosen_hess,
        constraints=NonlinearConstraint(
            lambda x: x @ x, 3, 3, jac=lambda x: 2 * x[None], hess=lambda x, v: 2 * v[0] * np.eye(4)
        ),
        **options,
    )


def test_a_general_problem_has_the_inertia_of_the_cpu():
    gpu, cpu = rosen_problem(record_history=True)
    agree(gpu, cpu)
    assert gpu.linear_solver == "ldl"
    np.testing.assert_array_equal(gpu.history["shift"], cpu.history["shift"])
    assert np.any(gpu.history["shift"] > 0)  # the start is indefinite


def test_dependent_constraints():
    A = np.vstack([np.ones(6), np.ones(6)])
    gpu, cpu = both(model("logistic"), np.zeros(6), constraints=LinearConstraint(A, 1, 1))
    assert gpu.success and cpu.success
    np.testing.assert_allclose(gpu.x, cpu.x, rtol=1e-6, atol=1e-8)
    gpu, cpu = both(
        model("logistic"),
        np.zeros(6),
        constraints=LinearConstraint(A, 1, 1),
        linear_solver="sketch-pcg",
    )
    assert gpu.success and cpu.success
    np.testing.assert_allclose(gpu.x, cpu.x, rtol=1e-6, atol=1e-8)


def test_not_a_number_ends_the_run_as_on_the_cpu():
    def hess(x):
        return np.full((2, 2), np.nan)

    gpu, cpu = both(lambda x: x @ x, np.ones(2), jac=lambda x: 2 * x, hess=hess)
    assert gpu.status == cpu.status == 3


def test_equal_calls_give_equal_bits():
    runs = [
        sketch_newton(model("poisson"), np.zeros(6), linear_solver="sketch-pcg", device="cuda")
        for _ in range(2)
    ]
    assert runs[0].x.tobytes() == runs[1].x.tobytes()


def test_an_exception_of_the_objective_comes_back_and_the_next_run_works():
    def bad(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sketch_newton(bad, np.ones(2), jac=lambda x: x, hess=lambda x: np.eye(2), device="cuda")
    agree(*rosen_problem())


@pytest.mark.parametrize("form", ["model", "matrix", "products"])
@pytest.mark.parametrize("linear_solver", ["minres", "nystrom-pcg"])
def test_solvers_by_products_agree_with_the_cpu(linear_solver, form):
    """Whether W is known by its data, as a matrix, or by products that the host makes."""
    one = model("logistic")
    curvature = {
        "model": {"hess": one.hess},
        "matrix": {"hess": lambda x: one.hess(x).toarray()},
        "products": {"hessp": one.hessp},
    }[form]
    gpu, cpu = both(
        one.fun,
        np.full(6, 0.1),
        jac=one.jac,
        constraints=SPHERE,
        linear_solver=linear_solver,
        **curvature,
    )
    agree(gpu, cpu, 1e-6)
    assert abs(gpu.inner_iterations - cpu.inner_iterations) <= 10


@pytest.mark.parametrize(
    "linear_solver", ["kaczmarz", "gaussian", "countsketch", "block", "adasketch"]
)
def test_projections_agree_with_the_cpu(linear_solver):
    W = np.eye(4) + 0.1

    def bowl(x):
        return 0.5 * x @ W @ x - np.sum(x)

    gpu, cpu = both(
        bowl,
        np.zeros(4),
        jac=lambda x: W @ x - 1,
        hess=lambda x: W,
        constraints=LinearConstraint(np.eye(4)[:1], 0.5, 0.5),
        linear_solver=linear_solver,
        tol=1e-5,
    )
    assert gpu.success and cpu.success
    assert gpu.linear_solver == cpu.linear_solver == linear_solver
    assert gpu.inner_iterations == pytest.approx(cpu.inner_iterations, rel=0.1)
    np.testing.assert_allclose(gpu.x, cpu.x, rtol=1e-4)


def test_many_variables_by_products():
    """'auto' takes 'nystrom-pcg', which may be known by products only."""
    scales = np.linspace(1, 3, 300)
    gpu, cpu = both(
        lambda x: 0.5 * x @ (scales * x) - x.sum(),
        np.zeros(300),
        jac=lambda x: scales * x - 1,
        hessp=lambda x, p: scales * p,
    )
    agree(gpu, cpu, 1e-6)
    assert gpu.linear_solver == "nystrom-pcg"
