"""Arrays that nobody would write: a result, or an error that names the argument; never a crash."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, NonlinearConstraint, rosen, rosen_der, rosen_hess

from fastopt import SketchOperator, admm_relu, cbo, lstsq, sketch, sketch_newton
from fastopt.problems import GLM, WeightedGram

RNG = np.random.default_rng(0)
A = RNG.standard_normal((12, 3))
Y = np.sign(RNG.standard_normal(12))
FEW = settings(max_examples=60)


def quadratic(x):
    return float(x @ x)


def network(**options):
    given = {"beta": 0.5, "gates": 4, "rng": 0, "fit_intercept": False, "maxiter": 60, **options}
    return admm_relu(A, Y, **given).x


def constrained(limits):
    return sketch_newton(
        quadratic, np.ones(3), jac=lambda x: 2 * x, constraints=limits, maxiter=3
    ).x


# Everything that takes data, by the name of the argument that takes it: call(values) -> numbers.
CALLS = {
    "A of sketch": (A, lambda v: sketch(v, 6, rng=0)),
    "A of lstsq": (A, lambda v: lstsq(v, Y).x),
    "b of lstsq": (Y, lambda v: lstsq(A, v).x),
    "A of GLM": (A, lambda v: GLM(v, Y).jac(np.ones(3))),
    "y of GLM": (Y, lambda v: GLM(A, v).jac(np.ones(3))),
    "A of WeightedGram": (A, lambda v: WeightedGram(v, np.ones(12)).toarray()),
    "X of admm_relu": (A, lambda v: admm_relu(v, Y, beta=0.5, gates=4, rng=0).x),
    "y of admm_relu": (Y, lambda v: admm_relu(A, v, beta=0.5, gates=4, rng=0).x),
    "x0 of cbo": (Y[:3], lambda v: cbo(rosen, [(-2, 2)] * 3, x0=v, rng=0, maxiter=3).x),
    "x0 of sketch_newton": (Y[:3], lambda v: sketch_newton(quadratic, v, maxiter=3).x),
    "init of cbo": (A[:, :2], lambda v: cbo(rosen, [(-9, 9)] * 2, init=v, dynamics="memory", rng=0,
                                            maxiter=3, polish=False).x),
    "bounds of cbo": (np.sort(A[:4, :2]), lambda v: cbo(rosen, v, rng=0, maxiter=3).x),
    "gates of admm_relu": (A[:4], lambda v: network(gates=v)),
    "sample_weight of admm_relu": (np.abs(Y + 0.5), lambda v: network(sample_weight=v)),
    "warm_start of admm_relu": (np.ones(24), lambda v: network(gates=A[:4], warm_start=v)),
    "sample_weight of GLM": (np.abs(Y + 0.5), lambda v: GLM(A, Y, sample_weight=v).jac(np.ones(3))),
    "w of WeightedGram": (Y, lambda v: WeightedGram(A, v).toarray()),
    "scale of sketch": (Y, lambda v: sketch(A, 6, scale=v, rng=0)),
    "A of a constraint": (A[:2], lambda v: constrained(LinearConstraint(v, 1, 1))),
    "lb of a constraint": (Y[:2], lambda v: constrained(
        NonlinearConstraint(lambda x: A[:2] @ x, v, Y[:2], lambda x: A[:2]))),
}  # fmt: skip
FREE = {"A of sketch", "A of WeightedGram", "scale of sketch", "w of WeightedGram"}  # may be NaN


@pytest.mark.parametrize("name", CALLS)
@FEW
@given(
    layout=st.sampled_from(
        ["C", "F", "reversed", "strided", "read-only", "list", "masked, none", "misaligned"]
    ),
    dtype=st.sampled_from(["<f8", ">f8", "<f4", "O", "g"]),
)
def test_layout_and_type_change_nothing(name, layout, dtype):
    values, call = CALLS[name]
    values = np.round(values * 4) / 4  # what float32 holds too
    if name in ("A of sketch", "X of admm_relu") and dtype == "<f4":
        dtype = "<f8"  # float32 is a computation of its own
    one = values.astype(dtype)
    if layout == "F":
        one = np.asfortranarray(one)
    elif layout == "reversed":
        one = one[::-1].copy()[::-1]
    elif layout == "strided":
        one = np.repeat(one, 3, axis=0)[::3]
    elif layout == "misaligned" and dtype != "O":
        moved = np.zeros(one.nbytes + 1, np.uint8)[1:].view(one.dtype).reshape(one.shape)
        moved[...] = one
        one = moved
    elif layout == "read-only":
        one.flags.writeable = False
    elif layout == "list":
        one = one.tolist()
    elif layout == "masked, none":
        one = np.ma.masked_array(one, mask=False)
    assert call(one).tobytes() == call(np.ascontiguousarray(values)).tobytes()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("bad", ["complex", "nan", "words", "ragged"])
def test_what_is_no_real_finite_number_is_refused(name, bad):
    values, call = CALLS[name]
    wrong = {
        "complex": values + 1j,
        "nan": np.where(values == values.flat[0], np.nan, values),
        "words": np.full(values.shape, "x"),
        "ragged": [[1.0, 2.0], [3.0]],
    }[bad]
    if bad == "nan" and name in FREE:
        assert np.isnan(call(wrong)).any()
        return
    scipys = Warning if name == "A of a constraint" else ValueError  # who drops imaginary parts
    with pytest.raises((ValueError, TypeError, scipys)):
        call(wrong)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("name", CALLS)
@FEW
@given(
    where=st.sets(st.integers(0, 35), min_size=1, max_size=3),
    sizes=st.lists(
        st.sampled_from([0.0, -0.0, 5e-324, -1e-310, 1e-200, 1e200, -1e308, 1.7e308]),
        min_size=3, max_size=3,
    ),
)  # fmt: skip
def test_numbers_of_any_size_give_finite_answers_or_are_refused(name, where, sizes):
    values, call = CALLS[name]
    wild = values.copy()
    for k, size in zip(where, sizes, strict=False):
        wild.flat[k % wild.size] = size
    try:
        answer = call(wild)
    except ValueError as error:
        assert str(error)
    except RuntimeError as error:
        assert "not positive definite in this precision" in str(error)
    else:
        assert np.isfinite(answer).all() or name in FREE or name.endswith("of GLM")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1,), (1, 1), (), (2, 3, 4)], ids=str)
def test_any_shape_gives_an_answer_or_is_refused(name, shape):
    values, call = CALLS[name]
    if np.ndim(values) == len(shape) and shape[-1] == values.shape[-1]:
        return  # fewer rows of the same data: another problem
    try:
        answer = call(np.ones(shape))
    except (ValueError, TypeError) as error:
        assert str(error)
    else:
        assert np.isfinite(answer).all()


def laid_out(values, layout):
    """The same numbers in another form."""
    one = np.array(values, dtype=float)
    if layout == "F":
        return np.asfortranarray(one)
    if layout == "strided":
        return np.repeat(one, 3, axis=0)[::3]
    if layout == "reversed":
        return one[::-1].copy()[::-1]
    if layout == "big-endian":
        return one.astype(">f8")
    if layout == "object":
        return one.astype(object)
    if layout == "list":
        return one.tolist()
    one.flags.writeable = False
    return one


@pytest.mark.parametrize(
    "layout", ["F", "strided", "reversed", "big-endian", "object", "list", "read-only"]
)
def test_answers_of_functions_in_any_layout(layout):
    """What user functions return is data too: the same bits, whatever holds them."""

    def newton(of):
        limits = NonlinearConstraint(
            lambda x: of([x @ x, x.sum()]), [3, 1], [3, 1], lambda x: of([2 * x, np.ones(3)]),
            lambda x, v: of(2 * v[0] * np.eye(3)),
        )  # fmt: skip
        return sketch_newton(rosen, [0.1, 1.5, -1.0], jac=lambda x: of(rosen_der(x)),
                             hess=lambda x: of(rosen_hess(x)), constraints=limits)  # fmt: skip

    def products(of):
        return sketch_newton(rosen, [0.1, 0.5, 1.0], jac=lambda x: of(rosen_der(x)),
                             hessp=lambda x, p: of(rosen_hess(x) @ p))  # fmt: skip

    def particles(of):
        options = {"dynamics": "memory", "n_particles": 20, "maxiter": 8, "rng": 1}
        return cbo(lambda x: of(np.sum(x**2, axis=0)), [(-1, 2)] * 3, vectorized=True,
                   gradient=lambda x: of(2 * x), **options)  # fmt: skip

    def points(of):
        limits = NonlinearConstraint(lambda x: of([x[0], x[1]]), [0, 0], [1, 1])
        return cbo(
            lambda x: of([np.sum(x**2)]), [(-1, 2)] * 3, constraints=limits, rng=1, maxiter=8
        )

    for run in (newton, products, particles, points):
        plain, other = run(np.array), run(lambda values: laid_out(values, layout))
        assert other.x.tobytes() == plain.x.tobytes()
        assert (other.fun, other.nfev, other.nit) == (plain.fun, plain.nfev, plain.nit)


@pytest.mark.parametrize("name", CALLS)
def test_masked_entries_are_refused(name):
    """The numbers under the mask were taken as data."""
    values, call = CALLS[name]
    masked = np.ma.masked_array(values, mask=False)
    masked[0] = np.ma.masked
    with pytest.raises(ValueError, match=f"{name.split()[0]}.* has masked entries"):
        call(masked)


@pytest.mark.parametrize("name", [n for n in CALLS if n.startswith(("A", "X"))])
@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo"])
@pytest.mark.parametrize("index", [-1, 3, 10**6])
def test_indices_outside_a_sparse_matrix(name, form, index):
    """SciPy converts such a matrix without a look at them, and the process died."""
    matrix = scipy.sparse.csr_matrix(A).asformat(form)
    if form == "coo":
        matrix.col[3] = index
    else:
        matrix.indices[-1] = index if form != "csc" or index < 0 else index + 12
    with pytest.raises(ValueError, match=f"{name.split()[0]}.* is a damaged sparse matrix"):
        CALLS[name][1](matrix)


def out_of_range(form):
    """A (3, 3) matrix with an index of 10^6, in any of SciPy's formats that can hold one."""
    matrix = scipy.sparse.csr_matrix(np.eye(3) + 1).asformat(form)
    if form == "coo":
        matrix.col[4] = 10**6
    elif form == "lil":
        matrix.rows[1][2] = 10**6
    else:
        matrix.indices[-1] = 10**6
    return matrix


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "lil"])
@pytest.mark.parametrize("whose", [
    "A of sketch", "R of WeightedGram", "hess", "jac of a constraint", "A of a constraint",
    "A of a constraint of cbo",
])  # fmt: skip
def test_damaged_sparse_matrices_everywhere(whose, form):
    """The process died in SciPy's conversion of R and of what Hessians and Jacobians returned."""
    matrix, newton = out_of_range(form), {"jac": lambda x: 2 * x, "maxiter": 3}
    zeros = np.zeros(3)
    nonlinear = NonlinearConstraint(lambda x: x - 1, 0, 0, lambda x: matrix)
    calls = {
        "A of sketch": lambda: sketch(matrix, 2),
        "R of WeightedGram": lambda: WeightedGram(A, np.ones(12), matrix),
        "hess": lambda: sketch_newton(quadratic, zeros + 1, hess=lambda x: matrix, **newton),
        "jac of a constraint": lambda: sketch_newton(
            quadratic, zeros, constraints=nonlinear, **newton
        ),
        "A of a constraint": lambda: sketch_newton(
            quadratic, zeros, constraints=LinearConstraint(matrix, zeros, zeros), **newton
        ),
        "A of a constraint of cbo": lambda: cbo(
            rosen, [(-2, 2)] * 3, constraints=LinearConstraint(matrix, zeros, zeros), maxfev=50
        ),
    }
    with pytest.raises(ValueError, match="damaged sparse matrix"):
        calls[whose]()


@pytest.mark.parametrize("kind", ["leverage", "less"])
def test_leverage_scores_of_no_column(kind):
    """LAPACK's own words came out, and a BackendError."""
    with pytest.raises(ValueError, match="A has no column"):
        sketch(np.ones((5, 0)), 3, kind)
    with pytest.raises(ValueError, match="A has no column"):
        SketchOperator(3, 5, kind, A=np.ones((5, 0)))


@pytest.mark.parametrize("where", ["A", "b"])
@pytest.mark.parametrize("size", [1e150, 1e300])
def test_least_squares_whose_squares_overflow(where, size):
    given = {"A": A, "b": Y}
    with pytest.raises(ValueError, match=f"{where} holds numbers up to .* whose squares overflow"):
        lstsq(**{**given, where: size * given[where] / 4})
    x = lstsq(A * 1e130, Y * 1e130).x
    np.testing.assert_allclose(x, np.linalg.lstsq(A, Y, rcond=None)[0], rtol=1e-9)


@pytest.mark.parametrize("where", ["X", "y", "sample_weight"])
@pytest.mark.parametrize("size", [1e150, 1e307])
def test_networks_whose_squares_overflow(where, size):
    """success=True with an infinite objective, or an error from the linear algebra."""
    given = {"X": A, "y": Y, "sample_weight": np.ones(12)}
    with pytest.raises(ValueError, match=f"{where} holds numbers up to .* whose squares overflow"):
        admm_relu(**{**given, where: size * given[where]}, beta=0.1, gates=4, rng=0)


@pytest.mark.parametrize("weight", [np.inf, 1e308, 5e-324])
def test_weights_of_a_model_that_nothing_can_be_divided_by(weight):
    """The mean was taken as zero: the data vanished from the model in silence."""
    with pytest.raises(ValueError, match="sample_weight has the sum"):
        GLM(A, Y, sample_weight=np.full(12, weight))


def test_a_dual_bound_whose_norm_overflows():
    """The infinite norm of a block was taken as zero: success, with a bound of 3e244 for a network
    that costs 2e143."""
    X, y = np.array([[0.0], [-1e59], [-7.0], [3.0]]), np.array([-4.0, 1e130, 1000.0, 1.0])
    with pytest.raises(ValueError, match=r"the product of X, y and sample_weight .* overflow"):
        admm_relu(X, y, beta=1e-15, gates=6, rng=1)


def test_numbers_of_all_sizes_in_one_system():
    """What cannot be factored is said, in words of the argument that can change it."""
    X = np.array([[1.0, 1e16], [0.0, 1e16], [-1e16, 1e15], [1.0, 1e16], [3e16, 1.0]])
    with pytest.raises(RuntimeError, match=r"not positive definite .* scale X"):
        admm_relu(X, np.array([0.0, 1.0, -1.0, 1.0, 1.0]), beta=1e-14, gates=6, rng=1)


@pytest.mark.parametrize("solver", ["auto", "block", "nystrom-pcg", "kaczmarz", "adasketch"])
def test_constraints_whose_squares_overflow(solver):
    """LAPACK's code came out where J J' was not finite, and 'block' went on for minutes."""
    rows = np.array([[1e3, 1e304, 1.0], [-4.8e210, 1e300, -4.6e131]])
    for A in (rows, rows[:1], np.array([[1.7e221, -0.2, -1.0]])):
        limits = LinearConstraint(A, *[np.full(len(A), 1.5)] * 2)
        result = sketch_newton(quadratic, np.zeros(3), jac=lambda x: 2 * x, constraints=limits,
                               linear_solver=solver, maxiter=20)  # fmt: skip
        assert np.isfinite(result.x).all()
        if result.success:
            assert np.abs(A @ result.x - 1.5).max() <= 1e-8


def test_bounds_in_a_buffer_of_two_dimensions():
    """NotImplementedError: memoryviews of two dimensions have no iterator."""
    with pytest.raises(ValueError, match="bounds must be a sequence of"):
        cbo(rosen, memoryview(np.array([[-2.0, 2.0]] * 3)), maxfev=20)


@pytest.mark.parametrize("number", [2**63, 10**30])
def test_integers_beyond_64_bits(number):
    for name, call in {
        "sketch_size": lambda: sketch_newton(quadratic, [1.0], sketch_size=number),
        "maxfev": lambda: sketch_newton(quadratic, [1.0], maxfev=number),
        "size": lambda: sketch(A, number),
        "nonzeros": lambda: sketch(A, 3, nonzeros=number),
        "maxiter": lambda: lstsq(A, Y, maxiter=number),
    }.items():
        with pytest.raises(ValueError, match=rf"{name} must be .* at most 2\^62"):
            call()


# ---- invariants --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_as_rng_is_read_as_the_array_that_it_is():
    """numpy.random.default_rng crashes on one."""

    def run(rng):
        return cbo(rosen, [(-2, 2)] * 2, rng=rng, maxiter=3).x

    for seed in (np.matrix([[1, 2]]), [np.matrix([[1, 2]])], np.array([1, 2])):
        np.testing.assert_array_equal(run(seed), run([1, 2]))
    with pytest.raises(ValueError, match=r"rng must be a non-negative int"):
        run(np.matrix([[0.5, 2]]))


@pytest.mark.parametrize(
    "dynamics", ["anisotropic", "isotropic", "memory", "hopping", "polarized", "sampling"]
)
@pytest.mark.parametrize("constant", [-4.0, 1024.0])
def test_a_constant_added_to_f_changes_no_iterate(dynamics, constant):
    """Weights see differences only; values on a grid keep the sums exact."""

    def run(add):
        seen = []
        cbo(
            lambda x: np.round(rosen(x) * 64) / 64 + add, [(-2, 2)] * 3, rng=4, tol=0,
            dynamics=dynamics, n_particles=20, maxiter=15, polish=False,
            callback=lambda xk: seen.append(xk.tobytes()),
        )  # fmt: skip
        return seen

    assert run(constant) == run(0.0)


@pytest.mark.parametrize("constant", [-4.0, 1024.0])
@pytest.mark.parametrize("merit", ["augmented-lagrangian", "filter"])
@pytest.mark.parametrize("bent", [False, True])
def test_a_constant_added_to_f_changes_no_iterate_of_newton(constant, merit, bent):
    """f is used for differences only. That of the constants is exact; of f itself, to rounding."""

    def run(add):
        seen = []
        sphere = NonlinearConstraint(lambda x: x @ x, 2, 2, lambda x: 2 * x,
                                     lambda x, v: 2 * v[0] * np.eye(3))  # fmt: skip
        result = sketch_newton(
            lambda x: rosen(x) + add, [-1.2, 1.0, 0.5], jac=rosen_der, hess=rosen_hess,
            merit=merit, constraints=sphere if bent else (), tol=1e-7,
            callback=lambda xk: seen.append(xk.tobytes()),
        )  # fmt: skip
        assert result.success
        return seen

    assert run(constant) == run(0.0)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("dynamics", ["hybrid", "memory"])
def test_scaling_a_constraint_of_cbo_leaves_the_solution(dynamics, factor):
    def run(factor):
        plane = LinearConstraint(factor * np.ones((1, 3)), 0, factor * 1.5)
        ball = NonlinearConstraint(lambda x: factor * (x @ x), 0, factor * 1.0)
        return cbo(lambda x: float(((x - 1) ** 2).sum()), [(-2, 2)] * 3, constraints=[plane, ball],
                   dynamics=dynamics, rng=1)  # fmt: skip

    one, other = run(1.0), run(factor)
    np.testing.assert_allclose(other.x, 1.5 / 3 * np.ones(3), atol=2e-3)
    np.testing.assert_allclose(one.x, other.x, atol=2e-3)


def test_permuting_variables_permutes_newtons_answer():
    order = np.array([2, 0, 1])
    C, e, q = RNG.standard_normal((1, 3)), np.ones(1), np.array([1.0, 2.0, 5.0])

    def solve(p):
        return sketch_newton(
            lambda x: float(q[p] @ (x - p) ** 2), np.zeros(3),
            jac=lambda x: 2 * q[p] * (x - p), hess=lambda x: 2 * np.diag(q[p]),
            constraints=LinearConstraint(C[:, p], e, e),
        ).x  # fmt: skip

    np.testing.assert_allclose(solve(order), solve(np.arange(3))[order], rtol=1e-9)
