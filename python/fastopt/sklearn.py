"""scikit-learn estimators on `admm_relu`: globally optimal two-layer ReLU networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._admm_relu import admm_relu
from ._arguments import choice, integer, real
from ._problem import Array

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_is_fitted,
        check_random_state,
        validate_data,
    )
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "fastopt.sklearn needs scikit-learn >= 1.6: pip install scikit-learn"
    ) from error

__all__ = ["ConvexReLUClassifier", "ConvexReLURegressor"]

_MANY_SAMPLES = 2000  # from here on 100 gates by default, 50 below


def _merged(X: Array, Y: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
    """Equal samples become one with the sum of their weights, in an order of their own.

    A weight of 2 and a repeated sample are then the same problem, bit for bit.
    """
    if weights is not None:
        X, Y, weights = X[weights > 0], Y[weights > 0], weights[weights > 0]
    rows = np.ascontiguousarray(np.column_stack([X, Y]) + 0.0)
    keys = rows.view(np.dtype((np.void, rows.strides[0]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    if weights is None and len(first) == len(X):
        return X, Y, None
    return X[first], Y[first], np.bincount(inverse.ravel(), weights=weights).astype(np.float64)


def _has_probabilities(estimator: Any) -> bool:
    return estimator.loss in ("squared", "logistic")


class _ConvexReLU(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: parameters and the call of the solver."""

    def __init__(
        self,
        *,
        loss: str = "squared",
        beta: float = 1e-3,
        gates: int | None = None,
        method: str = "auto",
        fit_intercept: bool = True,
        standardize: bool = True,
        tol: float = 1e-3,
        max_iter: int | None = None,
        robust_eps: float = 0.0,
        random_state: Any = None,
        dtype: str = "float64",
        threads: int | None = None,
    ) -> None:
        self.loss = loss
        self.beta = beta
        self.gates = gates
        self.method = method
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter
        self.robust_eps = robust_eps
        self.random_state = random_state
        self.dtype = dtype
        self.threads = threads

    def _train(self, X: Array, Y: Array, sample_weight: Array | None, loss: str) -> None:
        """On merged samples; beta is a fraction of the smallest one that gives the zero network."""
        real("beta", self.beta, above=0.0)
        if self.max_iter is not None:
            integer("max_iter", self.max_iter, 1)
        many = len(X) > _MANY_SAMPLES
        self.result_ = admm_relu(
            X,
            Y,
            loss=loss,
            beta_ratio=self.beta,
            gates=(100 if many else 50) if self.gates is None else self.gates,
            method=self.method,
            fit_intercept=self.fit_intercept,
            standardize=self.standardize,
            sample_weight=sample_weight,
            robust_eps=self.robust_eps,
            tol=self.tol,
            maxiter=self.max_iter,
            rng=check_random_state(self.random_state).randint(2**31 - 1),
            dtype=self.dtype,
            threads=self.threads,
        )
        self.n_iter_ = max(1, int(self.result_.nit))
        self.beta_ = float(self.result_.beta)
        self.network_ = self.result_.network

    def _output(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        out: Array = self.network_.predict(X)
        return out


class ConvexReLURegressor(RegressorMixin, _ConvexReLU):  # type: ignore[misc]
    """Two-layer ReLU network regression, trained to global optimality over sampled gates.

    Parameters
    ----------
    loss : {'squared', 'huber', 'quantile'}
        Default 'squared'. Targets are centred and scaled first.
    beta : float
        Regularisation as a fraction of the value from which on the network is zero. Default 1e-3.
    gates : int, optional
        Activation patterns to sample. Default: 50, or 100 for more than 2000 samples.
    method : {'auto', 'conic', 'admm', 'gated', 'scp'}
        See `fastopt.admm_relu`.
    fit_intercept, standardize : bool
        A column of ones; centred columns of unit variance. Both default to True.
    tol : float
        Relative duality gap. Default 1e-3.
    max_iter : int, optional
        Most iterations.
    robust_eps : float
        Half-width of the box around each sample over which the loss is the worst (adversarial
        training), in the units of X; for one target. Default 0: none.
    random_state : int, RandomState or None
        Source of the gates.
    dtype : {'float64', 'float32'}
        Type of the iterates.
    threads : int, optional
        Threads of the engine; the fit does not depend on it.

    Attributes
    ----------
    result_ : OptimizeResult
        What `fastopt.admm_relu` returned: objective, certificate, network (for scaled targets).
    beta_ : float
        The regularisation used.
    n_iter_ : int
        Iterations.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.sklearn import ConvexReLURegressor
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> model = ConvexReLURegressor(random_state=0).fit(X, np.abs(X[:, 0]))
    >>> bool(model.score(X, np.abs(X[:, 0])) > 0.99)
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ConvexReLURegressor:
        """Train on X (n, d) and y (n,) or (n, c)."""
        choice("loss", self.loss, ("squared", "huber", "quantile"))
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        y = np.asarray(y, dtype=np.float64)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        X, y, weights = _merged(X, y, weights)
        self.y_mean_ = np.average(y, axis=0, weights=weights)
        scale = np.sqrt(np.average((y - self.y_mean_) ** 2, axis=0, weights=weights))
        self.y_scale_ = np.where(scale > 0, scale, 1.0)
        self._train(X, (y - self.y_mean_) / self.y_scale_, weights, self.loss)
        return self

    def predict(self, X: Any) -> Array:
        """The network's output for each row."""
        out: Array = self._output(X) * self.y_scale_ + self.y_mean_
        return out


class ConvexReLUClassifier(ClassifierMixin, _ConvexReLU):  # type: ignore[misc]
    """Two-layer ReLU network classification, trained to global optimality over sampled gates.

    Parameters
    ----------
    loss : {'squared', 'logistic', 'hinge', 'squared_hinge'}
        Default 'squared', on targets -1 and 1. 'logistic' is the softmax loss for more than two
        classes; the others then train one output for each class.
    beta, gates, method, fit_intercept, standardize, tol, max_iter, robust_eps, random_state, \
dtype, threads
        As for `ConvexReLURegressor`; `robust_eps` for two classes.

    Attributes
    ----------
    classes_ : ndarray
        The labels.
    result_ : OptimizeResult
        What `fastopt.admm_relu` returned: objective, certificate, network.
    beta_, n_iter_
        As for `ConvexReLURegressor`.

    Notes
    -----
    `predict_proba` is the model's own only for ``loss='logistic'``. For 'squared' it is the
    regression estimate of the class indicator, clipped to [0, 1] and normalised; the hinge losses
    have none.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastopt.sklearn import ConvexReLUClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ConvexReLUClassifier:
        """Train on X (n, d) and labels y (n,)."""
        choice("loss", self.loss, ("squared", "logistic", "hinge", "squared_hinge"))
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        if type_of_target(y) == "multilabel-indicator":
            raise ValueError("y must be one label for each sample.")
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only ({self.classes_[0]!r}): a classifier needs two."
            )
        if len(self.classes_) == 2:
            targets, loss = 2.0 * index - 1.0, self.loss
        elif self.loss == "logistic":
            targets, loss = np.eye(len(self.classes_))[index], "softmax"
        else:
            targets, loss = 2.0 * np.eye(len(self.classes_))[index] - 1.0, self.loss
        self._train(*_merged(X, np.asarray(targets, dtype=np.float64), weights), loss)
        return self

    def decision_function(self, X: Any) -> Array:
        """The network's output: (n,) for two classes, else (n, n_classes)."""
        return self._output(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """The label with the largest output."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[index]
        return labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the labels y that `predict` finds.

        Raises
        ------
        ValueError
            When y holds labels that `fit` has not seen: no prediction could be right.
        """
        check_is_fitted(self)
        known = set(self.classes_.tolist())
        unseen = sorted({one for one in np.ravel(y).tolist() if one not in known}, key=str)
        if unseen:
            shown = ", ".join(map(repr, unseen[:5])) + (", ..." if len(unseen) > 5 else "")
            raise ValueError(
                f"y holds labels that fit has not seen: {shown}; it was trained on "
                f"{', '.join(map(repr, self.classes_.tolist()[:10]))}. Leave their samples out, or "
                "train on all labels."
            )
        return float(super().score(X, y, sample_weight))

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Class probabilities (n, n_classes); for 'squared' a normalised regression estimate."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.column_stack([-scores, scores])
            if self.loss == "logistic":
                scores = scores / 2
        if self.loss == "logistic":
            likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        else:
            likely = np.clip((scores + 1) / 2, 0.0, 1.0)
            likely[likely.sum(axis=1) == 0] = 1.0
            best = scores.argmax(axis=1)  # ties that clipping made go to the largest score
            rows = np.arange(len(scores))
            likely[rows, best] = np.maximum(likely[rows, best], likely.max(axis=1) * (1 + 1e-9))
        out: Array = likely / likely.sum(axis=1, keepdims=True)
        return out
