"""beta as a fraction of beta_max, the least beta whose network is zero."""

import numpy as np
import pytest

from fastopt import admm_relu, admm_relu_path

ALL_LOSSES = ("squared", "logistic", "softmax", "hinge", "squared_hinge", "huber", "quantile")


def problem(n=80, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.maximum(X @ rng.standard_normal((d, 5)), 0) @ rng.standard_normal(5)


def targets(loss, y):
    if loss == "softmax":
        return np.digitize(y, np.quantile(y, [0.3, 0.7]))
    margin = loss in ("logistic", "hinge", "squared_hinge")
    return np.where(y > np.quantile(y, 0.3), 1.0, -1.0) if margin else y


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize("method", ["conic", "gated", "scp", "admm"])
def test_one_is_exactly_zero_and_less_is_not(loss, method):
    X, y = problem()
    t = targets(loss, y)
    kw = {"loss": loss, "method": method, "gates": 10, "rng": 1, "maxiter": 3000}
    for ratio in (1.0, 1 + 1e-9, 100.0):
        zero = admm_relu(X, t, beta_ratio=ratio, **kw)
        assert zero.success and zero.nit == 0 and not zero.x.any()
        assert zero.n_neurons == 0 and not zero.predict(X).any()
        assert zero.beta == ratio * zero.beta_max and zero.fun == zero.dual_fun
    less = admm_relu(X, t, beta_ratio=0.9, tol=1e-6, gap_tol=1e-6, **kw)
    assert less.beta == 0.9 * zero.beta_max and less.beta_max == zero.beta_max
    assert less.fun < zero.fun and less.x.any()
    if method != "admm":  # whose answer need not be exactly sparse
        assert less.n_neurons > 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"standardize": True},
        {"fit_intercept": False},
        {"sample_weight": np.linspace(0, 2, 80)},
        {"dtype": "float32"},
        {"method": "auto"},
    ],
    ids=str,
)
def test_it_is_a_shorter_way_to_write_beta(options):
    X, y = problem()
    a = admm_relu(X, y, beta_ratio=0.03, gates=10, rng=1, **options)
    b = admm_relu(X, y, beta=0.03 * a.beta_max, gates=10, rng=1, **options)
    assert a.x.tobytes() == b.x.tobytes() and a.beta == b.beta == 0.03 * b.beta_max


def test_many_columns_of_the_published_splitting():
    """beta_max is there the bound without cones: from it on the network is zero as well."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 450)), rng.standard_normal(60)
    zero = admm_relu(X, y, beta_ratio=1.0, gates=5, rng=1)
    assert zero.method == "admm" and zero.success and zero.n_neurons == 0
    less = admm_relu(X, y, beta_ratio=0.5, gates=5, rng=1)
    assert less.x.any() and less.beta == 0.5 * zero.beta_max
    cones = admm_relu(X, y, beta_ratio=1.0, gates=zero.gates, method="conic")
    assert 0 < cones.beta_max <= zero.beta_max


def test_a_few_iterations_on_many_columns_give_a_network():
    """The bound without cones is far above beta_max: the first penalty let no block through."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(200, 300)) * (rng.uniform(size=(200, 300)) > 0.7)
    y = np.where(X[:, :20].sum(axis=1) > X[:, 20:40].sum(axis=1), 1.0, -1.0)
    r = admm_relu(X, y, beta_ratio=1e-3, gates=10, method="admm", maxiter=5, rng=1)
    assert r.n_neurons > 0 and r.fun < 0.25 * 0.5 * len(X)  # the zero network's value


def test_targets_of_zero():
    """beta_max is 0 then, and any ratio gives the zero network."""
    X, y = problem()
    r = admm_relu(X, 0 * y, beta_ratio=0.5, gates=5, rng=1)
    assert r.success and r.beta_max == 0 and r.n_neurons == 0 and r.beta == 0.5


def test_robust():
    X, y = problem()
    zero = admm_relu(X, y, beta_ratio=1.0, gates=8, robust_eps=0.02, rng=1)
    less = admm_relu(X, y, beta_ratio=0.1, gates=8, robust_eps=0.02, rng=1)
    assert zero.n_neurons == 0 < less.n_neurons


def test_generated_gates_take_it_from_the_first():
    X, y = problem(60, 2)
    r = admm_relu(X, y, beta_ratio=0.3, gates="generate", rng=1)
    first = admm_relu(X, y, beta_ratio=0.3, gates=32, rng=1)
    assert r.success and r.beta == first.beta and r.beta_max >= first.beta_max


def test_path():
    X, y = problem()
    ratios = [0.1, 1.0, 0.01]
    path = admm_relu_path(X, y, beta_ratios=ratios, gates=10, rng=1)
    assert path.success and path.n_neurons[1] == 0 < path.n_neurons[0]
    np.testing.assert_array_equal(path.betas, np.array(ratios) * path.results[0].beta_max)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give beta or beta_ratio, one of the two"),
        ({"beta": 1.0, "beta_ratio": 0.1}, "give beta or beta_ratio, one of the two"),
        ({"beta_ratio": 0}, "beta_ratio must be a number > 0"),
        ({"beta_ratio": -0.1}, "beta_ratio must be a number > 0"),
        ({"beta_ratio": np.nan}, "beta_ratio must be a number > 0"),
        ({"beta_ratio": "small"}, "beta_ratio must be a number > 0"),
    ],
    ids=str,
)
def test_bad_input(options, message):
    X, y = problem(20)
    with pytest.raises(ValueError, match=message):
        admm_relu(X, y, gates=5, **options)
    of_path = {f"{name}s": [value] for name, value in options.items()}
    if options.get("beta_ratio") != "small":
        with pytest.raises(ValueError, match=r"betas or beta_ratios|beta_ratios must be"):
            admm_relu_path(X, y, gates=5, **of_path)


def test_estimators_solve_once(monkeypatch):
    """The Gram matrix and the gates are made once in a fit."""
    pytest.importorskip("sklearn")
    from fastopt._admm_run import Engine
    from fastopt.sklearn import ConvexReLUClassifier, ConvexReLURegressor

    made, post = [], Engine.__post_init__

    def counted(self):
        made.append(self)
        post(self)

    monkeypatch.setattr(Engine, "__post_init__", counted)
    X, y = problem()
    for model, t in ((ConvexReLURegressor(beta=0.1), y), (ConvexReLUClassifier(beta=0.1), y > 1)):
        made.clear()
        model.fit(X, t)
        assert len(made) == 1
        assert model.beta_ == 0.1 * model.result_.beta_max > 0


def test_estimator_with_many_columns_is_not_the_zero_network():
    """More than 400 columns go to 'admm', whose beta_max was not known: the fit was zero."""
    pytest.importorskip("sklearn")
    from fastopt.sklearn import ConvexReLUClassifier

    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 450))
    y = X[:, 0] > 0
    model = ConvexReLUClassifier(gates=5, random_state=0).fit(X, y)
    assert model.result_.n_neurons > 0 and model.score(X, y) > 0.9
