"""The estimators inside scikit-learn."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_regression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastopt.sklearn import ConvexReLUClassifier, ConvexReLURegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")

CHECKS = [
    pytest.param(check, estimator, id=f"{estimator}-{getattr(check, 'func', check).__name__}")
    for model in (
        ConvexReLURegressor(),
        ConvexReLUClassifier(),
        ConvexReLUClassifier(loss="logistic"),
    )
    for estimator, check in estimator_checks_generator(model, mark="skip")
]


@pytest.mark.parametrize(("check", "estimator"), CHECKS)
def test_scikit_learn_check(check, estimator):
    check(estimator)


def test_labels_of_any_dtype():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = ConvexReLUClassifier(random_state=0).fit(X, names)
    assert model.predict(X).dtype == names.dtype and model.score(X, names) > 0.95
    two = ConvexReLUClassifier(random_state=0).fit(X, y == 1)
    assert two.predict(X).dtype == bool and two.score(X, y == 1) > 0.95


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_probabilities(loss):
    X, y = load_iris(return_X_y=True)
    for labels in (y, y == 2):
        model = ConvexReLUClassifier(loss=loss, random_state=0).fit(X, labels)
        p = model.predict_proba(X)
        assert p.shape == (len(X), len(model.classes_)) and (p >= 0).all()
        np.testing.assert_allclose(p.sum(axis=1), 1)
        np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(X))


def test_hinge_has_no_probabilities():
    model = ConvexReLUClassifier(loss="hinge")
    assert not hasattr(model, "predict_proba")
    X, y = load_iris(return_X_y=True)
    assert model.fit(X, y).score(X, y) > 0.9


def test_pipeline_grid_clone_pickle():
    X, y = load_iris(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), ConvexReLUClassifier(gates=15, random_state=0))
    grid = GridSearchCV(pipe, {"convexreluclassifier__beta": [1e-3, 1e-1]}, cv=3).fit(X, y)
    assert grid.best_score_ > 0.9
    again = pickle.loads(pickle.dumps(grid.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), grid.predict(X))
    copy = clone(pipe).fit(X, y)
    np.testing.assert_array_equal(copy.predict(X), pipe.fit(X, y).predict(X))


def test_errors():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="one class"):
        ConvexReLUClassifier().fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="beta must be"):
        ConvexReLUClassifier(beta=-1).fit(X, y)
    with pytest.raises(ValueError, match="loss must be one of"):
        ConvexReLURegressor(loss="hinge").fit(X, y)
    with pytest.raises(ValueError, match="at least one non-zero"):
        ConvexReLUClassifier().fit(X, y, sample_weight=np.zeros(len(X)))


@pytest.mark.parametrize(
    ("seen", "asked", "message"),
    [
        ([0, 1, 2], [0, 1, 7], r"labels that fit has not seen: 7; it was trained on 0, 1, 2"),
        (["a", "b", "c"], ["a", "d", "e"], r"not seen: 'd', 'e'; it was trained on 'a', 'b', 'c'"),
        ([0, 1, 1], ["0", "1", "1"], r"not seen: '0', '1'; it was trained on 0, 1"),
        ([True, False, True], [2, 2, 2], r"not seen: 2"),
    ],
    ids=str,
)
def test_labels_unseen_at_score(seen, asked, message):
    """They were counted as errors of the model, in silence."""
    X, y = load_iris(return_X_y=True)
    seen, asked = np.array(seen), np.array(asked)
    model = ConvexReLUClassifier(gates=5, random_state=0).fit(X, seen[y])
    with pytest.raises(ValueError, match=message):
        model.score(X, asked[y])
    weights = np.linspace(0, 1, len(X))
    assert model.score(X, seen[y], weights) == pytest.approx(
        np.average(model.predict(X) == seen[y], weights=weights)
    )
    assert model.score(X[y == 0], seen[y[y == 0]]) > 0.9  # fewer labels than fit saw are fine


@pytest.mark.parametrize("model", [ConvexReLUClassifier, ConvexReLURegressor])
def test_bad_input(model):
    X, y = load_iris(return_X_y=True)
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model().fit(bad, y)
    with pytest.raises(ValueError, match="infinity"):
        model().fit(X, np.where(y == 1, np.inf, y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model().fit(X, y[:-1])
    with pytest.raises(ValueError, match="0 sample"):
        model().fit(X[:0], y[:0])
    with pytest.raises(ValueError, match=r"gates must have the shape \(n_gates, 5\)"):
        model(gates=np.ones((3, 2))).fit(X, y)
    with pytest.raises(ValueError, match="max_iter must be an integer >= 1"):
        model(max_iter=0).fit(X, y)
    fitted = model(gates=5, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict(bad)
    with pytest.raises(ValueError, match="3 features, but"):
        fitted.predict(X[:, :3])


def test_regression_with_many_outputs():
    X, Y = make_regression(200, 5, n_targets=2, noise=1.0, random_state=0)
    model = ConvexReLURegressor(random_state=0).fit(X, Y)
    assert model.predict(X).shape == Y.shape and model.score(X, Y) > 0.99
    assert model.result_.relative_gap <= 1e-3


def test_accuracy_at_defaults():
    X, y = load_breast_cancer(return_X_y=True)
    scores = cross_val_score(ConvexReLUClassifier(random_state=0), X, y, cv=4)
    assert scores.mean() >= 0.955
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
    assert ConvexReLUClassifier(random_state=0).fit(X, y).score(X_test, y_test) >= 0.97
