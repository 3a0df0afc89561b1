"""Random sketches of tall matrices: `fastopt.sketch` and the operator behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from . import _backend, _device
from ._arguments import choice, integer, numbers
from ._glm import native_matrix
from ._memory import refuse_beyond_memory
from ._problem import Array, RandomSource, draw_key

KINDS = ("sjlt", "countsketch", "srht", "gaussian", "uniform", "leverage", "less")
_BY_LEVERAGE = ("leverage", "less")


def sketch(
    A: Any,
    size: int,
    kind: str = "sjlt",
    *,
    nonzeros: int | None = None,
    scale: ArrayLike | None = None,
    rng: RandomSource = None,
    threads: int | None = None,
    device: str | None = None,
) -> NDArray[Any]:
    """S A for a random S of shape (size, rows of A) with E[S'S] = I.

    Parameters
    ----------
    A : array_like or sparse, shape (rows, n)
        Dense or CSR; float32 stays float32.
    size : int
        Rows of S.
    kind : str
        'sjlt' (default): `nonzeros` entries +-1/sqrt(nonzeros) in each column of S, the fastest
        that is safe for coherent data. 'countsketch': one entry. 'srht': rows of a randomly signed
        Hadamard matrix. 'gaussian'. 'uniform', 'leverage': rows of A, drawn uniformly or by
        leverage scores. 'less': rows of S that mix `nonzeros` rows of A drawn by leverage scores.
    nonzeros : int, optional
        For 'sjlt' (default 4) and 'less' (8).
    scale : array_like (rows,), optional
        Sketch ``diag(scale) A`` in the same pass.
    rng : int, numpy.random.Generator or None
        An int reproduces S: sketches of A and of b with the same int belong together.
    threads : int, optional
        The result does not depend on it.
    device : None, 'cpu' or 'cuda'
        None: 'cuda' where A or scale live on a CUDA device (arrays of PyTorch, CuPy, JAX); then the
        result does too. On a GPU 'gaussian' agrees with the CPU within rounding, the other kinds
        have its bits. Leverage scores are computed on the CPU.

    Returns
    -------
    ndarray (size, n), of A's type; an array of its library for an A on a CUDA device

    References
    ----------
    Kane, Nelson, "Sparser Johnson-Lindenstrauss transforms", 2014; Clarkson, Woodruff, "Low rank
    approximation and regression in input sparsity time", 2013; Derezinski, Liao, Dobriban, Mahoney,
    "Sparse sketches with small inversion bias", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import sketch
    >>> A = np.random.default_rng(0).standard_normal((10000, 5))
    >>> SA = sketch(A, 200, rng=0)
    >>> bool(np.linalg.norm(SA.T @ SA - A.T @ A) < 0.3 * np.linalg.norm(A.T @ A))
    True
    """
    where = _device.home(A=A, scale=scale)
    module = _backend.module(_device.device_of(device, where), "sketch")
    choice("kind", kind, KINDS)
    stays = module is not _backend.module() and kind not in _BY_LEVERAGE
    if stays and _device.lives_there(A):
        matrix = module.device_matrix(A, "A")
    else:
        matrix = native_matrix(A, single=True, module=module)
    rows = matrix.shape[0]
    if rows < 1:
        raise ValueError("A must have at least one row.")
    if scale is not None:
        scale = numbers("scale", scale)
        if scale.shape != (rows,):
            raise ValueError(
                f"scale must have {rows} entries, one per row; its shape is {scale.shape}."
            )
    key = draw_key(rng, None)
    probabilities = None
    n_threads = 0 if threads is None else integer("threads", threads, 1)
    if kind in _BY_LEVERAGE:
        if matrix.shape[1] < 1:
            raise ValueError(f"A has no column: kind={kind!r} samples by its leverage scores.")
        probabilities = matrix.row_probabilities(*key, n_threads)
    size = integer("size", size, 1)
    refuse_beyond_memory(
        f"S A of shape {(size, matrix.shape[1])}", 4 * size * matrix.shape[1], "lower size"
    )
    sketched = matrix.sketch(
        size,
        kind,
        0 if nonzeros is None else integer("nonzeros", nonzeros, 1),
        *key,
        n_threads,
        scale,
        probabilities,
    )
    out: NDArray[Any] = _device.placed(sketched, where)
    return out


class SketchOperator(LinearOperator):  # type: ignore[misc]
    """The random matrix S itself, (size, rows), as a `scipy.sparse.linalg.LinearOperator`.

    Parameters
    ----------
    size, rows : int
    kind, nonzeros, rng : as for `sketch`
        With the same int as `rng`, ``SketchOperator(size, rows, rng=1) @ A`` equals
        ``sketch(A, size, rng=1)`` for the kinds that do not look at A.
    A : array_like or sparse (rows, n), optional
        'leverage' and 'less' sample by its leverage scores.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SketchOperator
    >>> S = SketchOperator(50, 1000, rng=0)
    >>> S.shape, (S.T @ (S @ np.ones(1000))).shape
    ((50, 1000), (1000,))
    """

    def __init__(
        self,
        size: int,
        rows: int,
        kind: str = "sjlt",
        *,
        nonzeros: int | None = None,
        rng: RandomSource = None,
        A: Any = None,
    ) -> None:
        choice("kind", kind, KINDS)
        shape = (integer("size", size, 1), integer("rows", rows, 1))
        self.kind = kind
        self._nonzeros = 0 if nonzeros is None else integer("nonzeros", nonzeros, 1)
        self._key = draw_key(rng, None)
        self._probabilities: Array | None = None
        if A is not None:
            matrix = native_matrix(A, single=True)
            if matrix.shape[0] != rows:
                raise ValueError(f"A must have rows={rows} rows; it has {matrix.shape[0]}.")
            if kind in _BY_LEVERAGE and matrix.shape[1] < 1:
                raise ValueError(f"A has no column: kind={kind!r} samples by its leverage scores.")
            if kind in _BY_LEVERAGE:
                self._probabilities = matrix.row_probabilities(*self._key)
        elif kind in _BY_LEVERAGE:
            raise ValueError(f"kind={kind!r} needs A, whose leverage scores it samples by.")
        super().__init__(dtype=np.float64, shape=shape)

    def _matmat(self, X: Any) -> Array:
        out: Array = native_matrix(X, "X").sketch(
            self.shape[0], self.kind, self._nonzeros, *self._key, 0, None, self._probabilities
        )
        return out

    def _matvec(self, x: Any) -> Array:
        return self._matmat(np.reshape(x, (-1, 1))).ravel()

    def _rmatmat(self, Y: Any) -> Array:
        out: Array = _backend.module().sketch_adjoint(
            self.shape[1],
            np.ascontiguousarray(Y, dtype=np.float64),
            self.kind,
            self._nonzeros,
            *self._key,
            self._probabilities,
        )
        return out

    def _rmatvec(self, y: Any) -> Array:
        return self._rmatmat(np.reshape(y, (-1, 1))).ravel()
