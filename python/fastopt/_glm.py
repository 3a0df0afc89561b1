"""Objectives with structure that a solver can use: A' diag(w) A + R, generalised linear models."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from . import _backend, distributed
from ._arguments import choice, integer, numbers, real, refuse_masked
from ._device import home, on_host
from ._problem import Array

FAMILIES = ("logistic", "poisson", "gaussian", "gamma")
_INT32 = 2**31 - 1
_LEAST_TOTAL = 1e-300  # whose inverse is a number


def native_matrix(
    matrix: Any,
    name: str = "A",
    *,
    single: bool = False,
    module: ModuleType | None = None,
    queue: Any = None,
) -> Any:
    """The core's view of a dense or sparse matrix, without a copy where the memory fits.

    float32 stays float32 when `single`, everything else becomes float64. `module` is that of the
    backend, and `queue` one of its `Queue`s.
    """
    module = _backend.module() if module is None else module
    if issparse(matrix):
        csr = checked_sparse(matrix, name).tocsr()
        kind = np.float32 if single and csr.dtype == np.float32 else np.float64
        if csr.shape[1] > _INT32:
            raise ValueError(f"{name} has more than 2^31 columns: {csr.shape}.")
        data = _real(csr.data, kind, name)
        return module.Matrix(
            data, csr.indices.astype(np.int32), csr.indptr.astype(np.int64), csr.shape[1], queue
        )
    matrix = on_host(name, matrix)
    refuse_masked(name, matrix)
    array = np.asarray(matrix)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be a matrix with two dimensions; its shape is {array.shape}."
        )
    kind = np.float32 if single and array.dtype == np.float32 else np.float64
    return module.Matrix(np.ascontiguousarray(_real(array, kind, name)), queue)


def checked_sparse(matrix: Any, name: str) -> Any:
    """A sparse matrix whose indices lie inside it, for SciPy's conversions do not look."""
    try:
        if matrix.ndim != 2:
            raise ValueError(f"it has {matrix.ndim} dimension(s), not two")
        if matrix.format in ("lil", "dok", "dia"):
            matrix = matrix.tocsr()
        if hasattr(matrix, "check_format"):
            matrix.check_format(full_check=True)
        elif matrix.format == "coo" and matrix.nnz:
            for index, size in zip((matrix.row, matrix.col), matrix.shape, strict=True):
                if index.min() < 0 or index.max() >= size:
                    raise ValueError("an index lies outside the matrix")
    except ValueError as error:
        raise ValueError(f"{name} is a damaged sparse matrix: {error}.") from None
    return matrix


def _real(values: Any, kind: Any, name: str) -> Any:
    if np.iscomplexobj(values):
        raise ValueError(f"{name} must be real; got complex numbers.")
    try:
        return np.asarray(values, dtype=kind)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers; got {np.asarray(values).dtype}.") from None


class WeightedGram(LinearOperator):  # type: ignore[misc]
    """The matrix A' diag(w) A + R, to be returned by `hess`.

    `sketch_newton` sketches A instead of forming the product when that is faster. Everywhere else
    it is a `scipy.sparse.linalg.LinearOperator`.

    Parameters
    ----------
    A : array_like or sparse, shape (rows, n)
    w : array_like, shape (rows,)
        Weights; the sketching solver wants them non-negative.
    R : float, array_like (n,) or (n, n), or sparse (n, n)
        A multiple of the identity, a diagonal, or any symmetric matrix. Default 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.problems import WeightedGram
    >>> WeightedGram(np.eye(2), [1.0, 2.0], 0.5).toarray()
    array([[1.5, 0. ],
           [0. , 2.5]])
    """

    def __init__(self, A: Any, w: ArrayLike, R: Any = 0.0, *, matrix: Any = None) -> None:
        self.A = on_host("A", A)
        self.matrix = native_matrix(self.A) if matrix is None else matrix
        rows, n = self.matrix.shape
        self.w: Array = numbers("w", w)
        if self.w.shape != (rows,):
            raise ValueError(
                f"w must have one entry per row of A, shape ({rows},); its shape is {self.w.shape}."
            )
        self.R = _read_rest(R, n)
        super().__init__(dtype=np.float64, shape=(n, n))

    def _matvec(self, x: Any) -> Array:
        v = np.asarray(x, dtype=np.float64).ravel()
        rest = self.R @ v if self.R.ndim == 2 else self.R * v
        product: Array = self.matrix.multiply_gram(self.w, v) + rest
        return product

    def _adjoint(self) -> WeightedGram:
        return self

    def toarray(self) -> Array:
        """The matrix itself, (n, n)."""
        full: Array = np.array(self.matrix.gram(self.w))
        if self.R.ndim == 2:
            full += self.R
        else:
            full[np.diag_indices_from(full)] += self.R
        return full


def _read_rest(rest: Any, n: int) -> Array:
    if issparse(rest):
        rest = checked_sparse(rest, "R").toarray()
    array = numbers("R", rest)
    if array.shape not in ((), (n,), (n, n)):
        raise ValueError(
            f"R must be a number, a diagonal ({n},) or a matrix ({n}, {n}); its shape is "
            f"{array.shape}."
        )
    return array


class GLM:
    """A generalised linear model as an objective, in native code.

    f(x) = mean_i loss(a_i'x, y_i) + (l2 / 2) |x|^2, with its gradient and its Hessian in the form
    that `sketch_newton` exploits. One pass over A serves value, gradient and Hessian at a point.

    Parameters
    ----------
    A : array_like or sparse, shape (rows, n)
        Data, dense or CSR.
    y : array_like, shape (rows,)
        'logistic': two classes as -1 and 1, or 0 and 1; 'poisson': counts >= 0; 'gamma': > 0;
        'gaussian': anything.
    family : {'logistic', 'poisson', 'gaussian', 'gamma'}
        Losses log(1 + exp(-y z)); exp(z) - y z; (z - y)^2 / 2; z + y exp(-z) (log link).
    l2 : float
        Weight of the ridge term, at least 0.
    sample_weight : array_like (rows,), optional
        Non-negative factors of the losses; the mean is the weighted one.
    reduction : {'mean', 'sum'}
    threads : int, optional
        Threads of the core; the result does not depend on it.
    comm : mpi4py communicator, torch.distributed group or `fastopt.distributed.Communicator`
        Processes that share the rows: each passes its own part of A, y and sample_weight (no part
        of a file that is mapped into memory is read by any other) and the same of all else. The
        model is then that of all rows. Making it, its methods and `sketch_newton` on it are
        collective: all ranks call them alike. Pass `sketch_newton` the model itself, not a function
        that calls it, so that an error on one rank ends all. Default None: this process has all
        rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import sketch_newton
    >>> from fastopt.problems import GLM
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((200, 3))
    >>> model = GLM(A, np.sign(A @ [1.0, -1.0, 0.5] + rng.standard_normal(200)), 'logistic')
    >>> result = sketch_newton(model.fun, np.zeros(3), jac=model.jac, hess=model.hess)
    >>> bool(result.success)
    True
    """

    def __init__(
        self,
        A: Any,
        y: ArrayLike,
        family: str = "logistic",
        l2: float = 0.0,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        threads: int | None = None,
        comm: Any = None,
    ) -> None:
        self.ranks = distributed.join(comm)
        with distributed.ranks(self.ranks) as ranks:
            choice("family", family, FAMILIES)
            choice("reduction", reduction, ("mean", "sum"))
            self.home = home(A=A, y=y, sample_weight=sample_weight)
            self.A = A = on_host("A", A)
            self.matrix = native_matrix(A)
            rows, n = self.matrix.shape
            y = on_host("y", y)
            if not np.all(np.isfinite(_real(A.data if issparse(A) else A, np.float64, "A"))):
                raise ValueError("A must be finite.")
            self.family, self.l2, self.n = family, real("l2", l2, minimum=0.0), n
            weight = None
            total = float(rows)
            if sample_weight is not None:
                weight = numbers("sample_weight", sample_weight)
                if weight.shape != (rows,) or not np.all(weight >= 0):
                    raise ValueError(f"sample_weight must be {rows} non-negative numbers.")
                with np.errstate(over="ignore"):
                    total = float(weight.sum())
            self.y = _read_targets(y, rows, family)
            if ranks is not None:
                ranks.same_each(
                    {
                        "family": family,
                        "l2": self.l2,
                        "reduction": reduction,
                        "the number of columns of A": n,
                        "sample_weight, given or not,": weight is not None,
                    }
                )
                total = self._join(ranks, y, total)
            if not np.isfinite(total) or 0 < total < _LEAST_TOTAL:
                raise ValueError(
                    f"sample_weight has the sum {total}, by which nothing can be divided: scale it."
                )
            factor = 1.0 if reduction == "sum" else 1.0 / total if total > 0 else 0.0
            n_threads = 0 if threads is None else integer("threads", threads, 1)
            self._rest = (self.y, weight, family, self.l2, factor, n_threads)
            self._glm = _backend.module().Glm(self.matrix, *self._rest)

    def _join(self, ranks: distributed.Ranks, y: ArrayLike, total: float) -> float:
        """Make the rows a part of those of all ranks; returns the sum of the weights of all."""
        self.matrix.join_ranks(ranks)
        coded = [self.family == "logistic" and label in np.asarray(y) for label in (0, -1)]
        total, zeros, minuses = ranks.allreduce(np.array([total, *coded]))
        if zeros and minuses:
            raise ValueError("y must be coded alike on all ranks: one has labels 0, another -1.")
        return float(total)

    def _on(self, module: ModuleType, queue: Any) -> GLM:
        """The same model computed by another backend, in one of its queues."""
        twin = copy.copy(self)
        twin.matrix = native_matrix(self.A, module=module, queue=queue)
        twin._glm = module.Glm(twin.matrix, *self._rest)
        return twin

    def fun(self, x: ArrayLike) -> float:
        """f(x)."""
        with distributed.ranks(self.ranks):
            return float(self._glm.value(np.asarray(x, dtype=np.float64)))

    __call__ = fun

    def jac(self, x: ArrayLike) -> Array:
        """The gradient, (n,)."""
        with distributed.ranks(self.ranks):
            gradient: Array = self._glm.gradient(np.asarray(x, dtype=np.float64))
        return gradient

    def hess(self, x: ArrayLike) -> WeightedGram:
        """The Hessian as a `WeightedGram`; with `comm` its products are collective calls too."""
        with distributed.ranks(self.ranks):
            weights = self._glm.weights(np.asarray(x, dtype=np.float64))
        return WeightedGram(self.A, weights, self.l2, matrix=self.matrix)

    def hessp(self, x: ArrayLike, p: ArrayLike) -> Array:
        """Hessian times p, (n,)."""
        with distributed.ranks(self.ranks):
            return self.hess(x)._matvec(p)


def _read_targets(y: ArrayLike, rows: int, family: str) -> Array:
    targets = numbers("y", y)
    if targets.shape != (rows,):
        raise ValueError(
            f"y must have one entry per row of A, shape ({rows},); its shape is {targets.shape}."
        )
    if not np.all(np.isfinite(targets)):
        raise ValueError("y must be finite.")
    if family == "logistic":
        if np.all((targets == 0) | (targets == 1)):
            targets = 2 * targets - 1
        if not np.all(np.abs(targets) == 1):
            raise ValueError("y must hold two classes, -1 and 1 or 0 and 1, for family='logistic'.")
    if family == "poisson" and np.any(targets < 0):
        raise ValueError("y must not be negative for family='poisson'.")
    if family == "gamma" and np.any(targets <= 0):
        raise ValueError("y must be positive for family='gamma'.")
    return targets
