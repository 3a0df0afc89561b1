"""Sketches, the operator behind them, least squares, WeightedGram and GLM."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import hadamard
from scipy.sparse.linalg import aslinearoperator

from fastopt import SketchOperator, _backend, lstsq, sketch
from fastopt.problems import GLM, WeightedGram

KINDS = ["sjlt", "countsketch", "srht", "gaussian", "uniform", "leverage", "less"]
DATA_FREE = ["sjlt", "countsketch", "srht", "gaussian", "uniform"]


@pytest.fixture(scope="module")
def tall():
    return np.random.default_rng(0).standard_normal((1000, 7))


# ---- the random matrices -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_mean_of_the_gram_matrices(tall, kind):
    exact, repeats = tall.T @ tall, 80
    mean = (
        sum((lambda s: s.T @ s)(sketch(tall, 100, kind, rng=k)) for k in range(repeats)) / repeats
    )
    # one sketch of 100 rows is off by about sqrt(7 / 100); the mean of 80 by a ninth of that
    assert np.linalg.norm(mean - exact) < 0.1 * np.linalg.norm(exact)


@pytest.mark.parametrize("kind", DATA_FREE)
def test_expected_identity_entry_by_entry(kind):
    n, repeats = 6, 3000
    total = np.zeros((n, n))
    for k in range(repeats):
        S = sketch(np.eye(n), 8, kind, rng=k)
        total += S.T @ S
    assert np.abs(total / repeats - np.eye(n)).max() < 0.15


@pytest.mark.parametrize("kind", ["sjlt", "srht", "gaussian", "leverage"])
def test_norms_are_kept_even_for_coherent_data(kind):
    A = np.zeros((4096, 4))
    A[:3] = 100 * np.eye(3, 4)  # three rows hold nearly everything
    A += np.random.default_rng(1).standard_normal(A.shape)
    R = np.linalg.qr(A, mode="r")
    singular = np.linalg.svd(sketch(A, 400, kind, rng=2) @ np.linalg.inv(R), compute_uv=False)
    assert 0.5 < singular.min() <= singular.max() < 1.6


def words(key, stream, count):
    """Words of the core's stream, from single Philox blocks (core/random.hpp)."""
    philox = _backend.module().philox
    out = []
    for e in range(count):
        group, rest = divmod(e, 64)
        m, lane = divmod(rest, 16)
        block = 16 * group + lane
        out.append(philox([block, stream << 16, 0, 0], list(key))[m])
    return np.array(out, dtype=np.uint64)


@pytest.mark.parametrize("nonzeros", [1, 3, 4, 8])
def test_sjlt_by_its_definition(nonzeros):
    key, size, rows = (11, 22), 50, 90
    matrix = _backend.module().Matrix(np.eye(rows))
    S = matrix.sketch(size, "sjlt", nonzeros, *key)
    expected = np.zeros((size, rows))
    w = words(key, 40, rows * nonzeros).reshape(rows, nonzeros)
    for i in range(rows):
        for k in range(nonzeros):
            low, high = k * size // nonzeros, (k + 1) * size // nonzeros
            row = low + (int(w[i, k]) * (high - low) >> 32)
            expected[row, i] = (-1.0 if w[i, k] & np.uint64(1) else 1.0) / np.sqrt(nonzeros)
    np.testing.assert_allclose(S, expected, rtol=1e-15)
    assert np.all((S != 0).sum(axis=0) == nonzeros)


def test_srht_is_a_signed_hadamard_matrix():
    S = sketch(np.eye(16), 16, "srht", rng=4)  # all rows: orthogonal
    np.testing.assert_allclose(S.T @ S, np.eye(16), atol=1e-14)
    # undo the signs of the columns: rows of the Hadamard matrix in some order
    H = hadamard(16)
    rows = {tuple(row) for row in H}
    found = np.round(4 * S).astype(int)
    signs = found[0]  # signs * (a row of H): for one of the 16 rows h, row * signs * h is in H
    assert any(all(tuple(row * signs * h) in rows for row in found) for h in H), (
        "not a signed Hadamard matrix"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_dense_csr_scale_threads_and_types(tall, kind):
    scale = np.random.default_rng(3).random(len(tall))
    one = sketch(tall, 60, kind, rng=5, scale=scale)
    if kind not in ("leverage", "less"):  # their probabilities are those of A, not of diag(scale) A
        np.testing.assert_allclose(sketch(scale[:, None] * tall, 60, kind, rng=5), one, atol=1e-12)
    np.testing.assert_allclose(
        sketch(sp.csr_array(tall), 60, kind, rng=5, scale=scale), one, atol=1e-11
    )
    for threads in (1, 2, 4):
        assert (
            sketch(tall, 60, kind, rng=5, scale=scale, threads=threads).tobytes() == one.tobytes()
        )
    single = sketch(tall.astype(np.float32), 60, kind, rng=5)
    assert single.dtype == np.float32 and np.all(np.isfinite(single))
    if kind != "gaussian":  # normals of the two types are different numbers
        np.testing.assert_allclose(single, sketch(tall, 60, kind, rng=5), rtol=1e-3, atol=1e-3)


def test_wide_matrices_have_the_same_bits_however_cut():
    A = np.random.default_rng(6).standard_normal((200, 1500))
    results = {sketch(A, 40, rng=1, threads=threads).tobytes() for threads in (1, 3, 8)}
    assert len(results) == 1
    np.testing.assert_array_equal(sketch(A, 40, rng=1)[:, :5], sketch(A[:, :5].copy(), 40, rng=1))


@pytest.mark.parametrize("kind", KINDS)
def test_operator_and_its_adjoint(tall, kind):
    S = SketchOperator(60, 1000, kind, rng=5, A=tall)
    np.testing.assert_allclose(S @ tall, sketch(tall, 60, kind, rng=5), atol=1e-12)
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal(1000), rng.standard_normal(60)
    assert y @ (S @ x) == pytest.approx((S.T @ y) @ x)
    X, Y = rng.standard_normal((1000, 3)), rng.standard_normal((60, 3))
    np.testing.assert_allclose((Y.T @ (S @ X)), (S.T @ Y).T @ X, atol=1e-10)
    assert (aslinearoperator(tall).T @ S.T).shape == (7, 60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be"),
        ({"size": 2.5}, "size must be"),
        ({"kind": "sjtl"}, "Did you mean 'sjlt'"),
        ({"nonzeros": 99}, "nonzeros"),
        ({"scale": [1.0]}, "scale"),
        ({"threads": 0}, "threads"),
        ({"rng": -1}, "rng"),
        ({"A": np.zeros(3)}, "two dimensions"),
        ({"A": np.zeros((3, 2), complex)}, "real"),
        ({"A": np.zeros((0, 2))}, "at least one row"),
        ({"A": np.array([["a"]])}, "numbers"),
    ],
)
def test_bad_arguments(tall, arguments, message):
    with pytest.raises(ValueError, match=message):
        sketch(**{"A": tall, "size": 20, **arguments})


@pytest.mark.parametrize("kind", KINDS)
def test_odd_layouts(kind):
    A = np.random.default_rng(8).standard_normal((60, 8))
    expected = sketch(A, 12, kind, rng=0)
    for other in (np.asfortranarray(A), np.repeat(A, 2, axis=0)[::2], A.astype(">f8")):
        np.testing.assert_array_equal(sketch(other, 12, kind, rng=0), expected)
    A.flags.writeable = False
    np.testing.assert_array_equal(sketch(A, 12, kind, rng=0), expected)
    assert sketch(A[:, :0], 12, "sjlt").shape == (12, 0)


# ---- least squares -----------------------------------------------------------------------------


@pytest.mark.parametrize("decades", [0, 4, 8, 12])
@pytest.mark.parametrize("sparse", [False, True])
def test_lstsq_is_as_accurate_as_householder_qr(decades, sparse):
    rng = np.random.default_rng(decades)
    U, _ = np.linalg.qr(rng.standard_normal((2000, 30)))
    V, _ = np.linalg.qr(rng.standard_normal((30, 30)))
    A = U * np.logspace(0, -decades, 30) @ V
    b = A @ rng.standard_normal(30) + 1e-2 * rng.standard_normal(2000)
    result = lstsq(sp.csr_array(A) if sparse else A, b)
    Q, R = np.linalg.qr(A)
    qr = np.linalg.solve(R, Q.T @ b)
    assert result.success
    assert np.linalg.norm(A @ result.x - b) <= np.linalg.norm(A @ qr - b) * (1 + 1e-9)

    def backward(
        x,
    ):  # (Karlson, Walden) up to a factor: |A'r| / (|A| |r|), and the error of x by QR
        r = b - A @ x
        return np.linalg.norm(A.T @ r) / np.linalg.norm(r)

    assert backward(result.x) <= 30 * backward(qr) + 1e-14
    assert result.fun == pytest.approx(np.linalg.norm(A @ result.x - b))


@pytest.mark.parametrize("kind", KINDS)
def test_lstsq_with_every_sketch_and_several_right_sides(tall, kind):
    B = np.random.default_rng(9).standard_normal((1000, 3))
    result = lstsq(tall, B, sketch=kind, sketch_size=100, rng=2)
    np.testing.assert_allclose(result.x, np.linalg.lstsq(tall, B, rcond=None)[0], atol=1e-12)
    assert result.success and result.rank == 7 and result.fun.shape == (3,)


def test_lstsq_of_deficient_rank_has_least_norm(tall):
    A = np.hstack([tall, tall[:, :3] + tall[:, 3:6]])
    b = np.random.default_rng(10).standard_normal(1000)
    result = lstsq(A, b)
    assert result.rank == 7
    np.testing.assert_allclose(result.x, np.linalg.lstsq(A, b, rcond=None)[0], atol=1e-10)
    zero = lstsq(np.zeros((50, 4)), np.ones(50))
    assert zero.rank == 0 and not zero.x.any() and zero.success


def test_lstsq_repeats_and_ignores_threads(tall):
    b = tall @ np.ones(7) + np.sin(np.arange(1000.0))
    assert len({lstsq(tall, b, threads=t).x.tobytes() for t in (1, 2, 4)}) == 1
    square = tall[:7]
    np.testing.assert_allclose(lstsq(square, square @ np.ones(7)).x, 1, atol=1e-9)


@pytest.mark.parametrize(
    ("A", "b", "message"),
    [
        (np.ones((2, 3)), np.ones(2), "as many rows"),
        (np.ones((3, 2)), np.ones(2), "one entry per row"),
        (np.full((3, 2), np.nan), np.ones(3), "infs or NaNs"),
        (np.ones((3, 2)), np.array([1, np.inf, 0]), "infs or NaNs"),
        (np.ones((3, 0)), np.ones(3), "a column"),
    ],
)
def test_lstsq_bad_input(A, b, message):
    with pytest.raises(ValueError, match=message):
        lstsq(A, b)


# ---- structured objectives ---------------------------------------------------------------------


def test_weighted_gram(tall):
    rng = np.random.default_rng(11)
    w = rng.standard_normal(1000)
    dense = rng.standard_normal((7, 7))
    dense = dense + dense.T
    for rest, full in (
        (0.5, 0.5 * np.eye(7)),
        (np.arange(7.0), np.diag(np.arange(7.0))),
        (dense, dense),
        (sp.csr_array(dense), dense),
    ):
        expected = tall.T @ (w[:, None] * tall) + full
        for A in (tall, sp.csr_array(tall)):
            H = WeightedGram(A, w, rest)
            np.testing.assert_allclose(H.toarray(), expected, atol=1e-9)
            v = rng.standard_normal(7)
            np.testing.assert_allclose(H @ v, expected @ v, atol=1e-9)
            np.testing.assert_allclose(H.T @ v, expected @ v, atol=1e-9)
    with pytest.raises(ValueError, match="w must have"):
        WeightedGram(tall, w[:5])
    with pytest.raises(ValueError, match="R must be"):
        WeightedGram(tall, w, np.ones(3))


REFERENCE = {
    "logistic": lambda z, y: np.logaddexp(0, -y * z),
    "poisson": lambda z, y: np.exp(z) - y * z,
    "gaussian": lambda z, y: (z - y) ** 2 / 2,
    "gamma": lambda z, y: z + y * np.exp(-z),
}


@pytest.mark.parametrize("family", REFERENCE)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_glm_value_and_derivatives(family, sparse, weighted):
    rng = np.random.default_rng(12)
    A = 0.5 * rng.standard_normal((300, 5))
    y = {
        "logistic": rng.choice([-1.0, 1.0], 300),
        "poisson": rng.poisson(2, 300).astype(float),
        "gaussian": rng.standard_normal(300),
        "gamma": rng.gamma(2, 1, 300),
    }[family]
    weight = rng.random(300) if weighted else None
    model = GLM(sp.csr_array(A) if sparse else A, y, family, 0.3, sample_weight=weight)
    total = GLM(A, y, family, 0.3, sample_weight=weight, reduction="sum")
    x = rng.standard_normal(5)
    loss = REFERENCE[family](A @ x, y)
    assert model.fun(x) == pytest.approx(np.average(loss, weights=weight) + 0.15 * x @ x, rel=1e-13)
    s = np.ones(300) if weight is None else weight
    assert total(x) == pytest.approx(s @ loss + 0.15 * x @ x, rel=1e-13)
    h = 1e-6 * np.eye(5)
    slope = [(model.fun(x + e) - model.fun(x - e)) / 2e-6 for e in h]
    np.testing.assert_allclose(model.jac(x), slope, atol=1e-8)
    curvature = [(model.jac(x + e) - model.jac(x - e)) / 2e-6 for e in h]
    np.testing.assert_allclose(model.hess(x).toarray(), curvature, atol=1e-8)
    np.testing.assert_allclose(model.hessp(x, slope), model.hess(x).toarray() @ slope, atol=1e-12)


def test_glm_at_extreme_arguments():
    A = np.array([[1.0], [-1.0]])
    model = GLM(A, [1, -1], "logistic")
    for x in (1e3, 1e308, -1e3):
        assert np.isfinite(model.jac([x])).all()
        assert np.isfinite(model.hess([x]).toarray()).all()
    assert model.fun([1e3]) == pytest.approx(0, abs=1e-300)
    assert model.fun([-1e3]) == 1e3
    assert GLM(A, [1, 2], "poisson").fun([1e4]) == np.inf


@pytest.mark.parametrize(
    ("y", "family", "message"),
    [
        ([0, 1, 2], "logistic", "two classes"),
        ([1, -1, 1], "poisson", "negative"),
        ([1, 0, 1], "gamma", "positive"),
        ([1, np.nan, 1], "gaussian", "finite"),
        ([1, 2], "gaussian", "one entry per row"),
        ([1, 2, 3], "binomial", "family must be one of"),
    ],
)
def test_glm_bad_targets(y, family, message):
    with pytest.raises(ValueError, match=message):
        GLM(np.eye(3), y, family)


def test_glm_labels_may_be_zero_and_one(tall):
    y = (tall[:, 0] > 0).astype(float)
    assert GLM(tall, y).fun(np.ones(7)) == GLM(tall, 2 * y - 1).fun(np.ones(7))


def test_glm_same_bits_for_any_number_of_threads():
    rng = np.random.default_rng(13)
    A = rng.standard_normal((30000, 40))
    y = np.sign(rng.standard_normal(30000))
    x = rng.standard_normal(40)
    values = {
        (m.fun(x), m.jac(x).tobytes(), m.hess(x).toarray().tobytes())
        for m in (GLM(A, y, threads=t) for t in (1, 2, 4))
    }
    assert len(values) == 1
