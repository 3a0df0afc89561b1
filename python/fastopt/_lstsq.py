"""Linear least squares by sketching: `fastopt.lstsq`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult
from scipy.sparse import issparse

from . import _backend
from ._arguments import choice, integer, numbers, real, refuse_overflow
from ._device import home, on_host, placed
from ._glm import native_matrix
from ._memory import refuse_beyond_memory
from ._problem import RandomSource, draw_key
from ._sketch import KINDS

_STABLE = 1e-11
_MESSAGES = (
    "Converged to working accuracy.",
    "Maximum number of iterations has been exceeded. Raise maxiter or sketch_size.",
    "The sketch lost columns of A, so x is no minimum. Raise sketch_size, or choose sketch='sjlt' "
    "or 'srht'.",
)


def lstsq(
    A: Any,
    b: ArrayLike,
    *,
    sketch: str = "sjlt",
    sketch_size: int | None = None,
    rcond: float = 1e-13,
    maxiter: int = 200,
    rng: RandomSource = None,
    threads: int | None = None,
) -> OptimizeResult:
    """Minimise |A x - b| for a tall A, dense or sparse.

    A sketch of A gives a preconditioner with a condition number near 9 whatever that of A, LSQR
    with it the solution, and a second round from the residual makes it as accurate as by
    Householder QR. Where A is rank-deficient the solution of least norm is found.

    Parameters
    ----------
    A : array_like or sparse, shape (rows, n), rows >= n
    b : array_like, shape (rows,) or (rows, k)
    sketch, sketch_size : str, int
        Kind and rows of the sketch, as for `fastopt.sketch`. Default: 'sjlt' with 4 n rows.
    rcond : float
        Singular values below rcond times the largest count as zero.
    maxiter : int
        Most LSQR iterations in each of the two rounds.
    rng : int, numpy.random.Generator or None
        The default is a fixed key: equal calls give equal results.
    threads : int, optional
        The result does not depend on it.

    Returns
    -------
    OptimizeResult
        x (n,) or (n, k); fun, the norm of the residual (for each column), optimality, the norm of
        A'(A x - b); rank, nit, success, status (0; 1 for maxiter; 2 where the sketch lost columns
        of A, as those that choose rows do where few rows hold a column), message, sketch_rows.

    References
    ----------
    Rokhlin, Tygert (2008), sketch and precondition; Meng, Saunders, Mahoney (2014), LSRN; Epperly,
    Meier, Nakatsukasa (2024), backward stability.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import lstsq
    >>> A = np.random.default_rng(0).standard_normal((1000, 3))
    >>> lstsq(A, A @ [1.0, 2.0, 3.0]).x.round(10)
    array([1., 2., 3.])
    """
    choice("sketch", sketch, KINDS)
    where = home(A=A, b=b)
    A, right = on_host("A", A), numbers("b", b)
    matrix = native_matrix(A)
    rows, n = matrix.shape
    if right.ndim not in (1, 2) or right.shape[0] != rows:
        raise ValueError(f"b must have one entry per row of A, {rows}; its shape is {right.shape}.")
    if rows < n or n < 1:
        raise ValueError(
            f"A must have at least as many rows as columns, and a column; its shape is "
            f"{(rows, n)}. "
            "numpy.linalg.lstsq solves wide systems."
        )
    entries = np.asarray(A.data if issparse(A) else A, dtype=np.float64)
    if not (np.all(np.isfinite(entries)) and np.all(np.isfinite(right))):
        raise ValueError("A and b must not contain infs or NaNs.")
    refuse_overflow("A", entries)
    refuse_overflow("b", right)
    size = 0 if sketch_size is None else integer("sketch_size", sketch_size, n)
    refuse_beyond_memory(
        f"a sketch of A with {size or 4 * n} rows and {n} columns",
        8 * n * ((size or 4 * n) + n),
        "scipy.sparse.linalg.lsqr needs products with A only",
    )
    key = (0, 0) if rng is None else draw_key(rng, None)
    columns = np.ascontiguousarray(right.reshape(rows, -1).T)
    parts = _backend.module().lstsq(
        matrix,
        columns,
        sketch,
        size,
        0,
        real("rcond", rcond, minimum=0.0),
        integer("maxiter", maxiter, 1),
        *key,
        0 if threads is None else integer("threads", threads, 1),
    )
    single = right.ndim == 1
    x = np.array([part["x"] for part in parts]).reshape(len(parts), n).T
    residuals = np.array([part["residual"] for part in parts])
    gradients = np.array([part["gradient"] for part in parts])
    status = 0 if all(part["converged"] for part in parts) else 1
    # LSQR knows A times its preconditioner only. Backward stable: |A'r| <= eps |A| (|A| |x| + |b|).
    norm = np.linalg.norm(entries)
    with np.errstate(over="ignore"):
        sizes = norm * (norm * np.linalg.norm(x, axis=0) + np.linalg.norm(columns, axis=1))
        if status == 0 and (gradients > _STABLE * sizes).any():
            status = 2
    result = OptimizeResult(
        x=np.ascontiguousarray(x[:, 0] if single else x),
        fun=float(residuals[0]) if single else residuals,
        optimality=float(gradients[0]) if single else gradients,
        rank=parts[0]["rank"] if parts else n,
        nit=max((part["nit"] for part in parts), default=0),
        sketch_rows=parts[0]["sketch_rows"] if parts else 0,
        success=status == 0,
        status=status,
        message=_MESSAGES[status],
    )
    solution: OptimizeResult = placed(result, where)
    return solution
