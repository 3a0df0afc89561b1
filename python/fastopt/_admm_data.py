"""From X, y and weights to the arrays of the convex program: checks, scaling, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse

from ._admm_shares import ALONE, Shares, told
from ._arguments import choice, numbers, refuse_overflow
from ._glm import checked_sparse
from ._memory import available_memory, refuse_beyond_memory
from ._problem import Array

LOSSES = ("squared", "logistic", "softmax", "hinge", "squared_hinge", "huber", "quantile")
MARGIN_LOSSES = ("logistic", "hinge", "squared_hinge")
ROBUST_LOSSES = ("squared", "logistic", "hinge", "squared_hinge")
ADMM_CONES = 128  # up to this many columns 'admm' makes its weights feasible (paper_admm.cpp)


@dataclass(frozen=True)
class Scaling:
    """x -> (x - mean) / scale, and whether a column of ones follows."""

    mean: Array
    scale: Array
    intercept: bool

    def fold(self, weights: Array) -> tuple[Array, Array]:
        """Rows w of the scaled, extended space as (W, b) on the user's own x."""
        own = weights[:, : self.mean.size] / self.scale
        offset = weights[:, -1] if self.intercept else np.zeros(len(weights))
        return own, offset - own @ self.mean

    def apply(self, X: Array) -> Array:
        scaled = (X - self.mean) / self.scale
        if self.intercept:
            scaled = np.column_stack([scaled, np.ones(len(scaled))])
        return np.ascontiguousarray(scaled)


@dataclass(frozen=True)
class TrainingData:
    """What the engine sees. Samples of weight 0 are left out."""

    X: Array  # (n, d): scaled, with the ones column
    Y: Array  # (c, n)
    weights: Array | None
    scaling: Scaling
    one_output: bool  # y was a vector
    radius: Array | None = None  # (d,): half-widths of the adversary's box, in the scaled space
    shares: Shares = ALONE  # of the ranks, when X, Y and weights are one rank's samples

    @property
    def n_outputs(self) -> int:
        return len(self.Y)


def _finite(name: str, value: ArrayLike, ndim: tuple[int, ...]) -> Array:
    array = numbers(name, value)
    if array.ndim not in ndim:
        wanted = " or ".join(map(str, ndim))
        raise ValueError(f"{name} must have {wanted} dimension(s); its shape is {array.shape}.")
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"{name} must be finite; {name}[{', '.join(map(str, bad))}] is {array[tuple(bad)]}. "
            "Remove or impute such entries."
        )
    return array


def read_design(X: Any) -> Array:
    """X as a dense (n, d) array; a sparse one is converted."""
    if issparse(X):
        checked_sparse(X, "X")
    if hasattr(X, "toarray"):
        X = X.toarray()
    array = _finite("X", X, (2,))
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(f"X must have at least one sample and one feature; shape {array.shape}.")
    return array


def read_targets(y: ArrayLike, n: int, loss: str, shares: Shares) -> tuple[Array, bool]:
    """Y as (c, n), and whether y was a vector."""
    array = _finite("y", y, (1, 2))
    if len(array) != n:
        raise ValueError(f"X and y must have the same length; X has {n} rows, y has {len(array)}.")
    one = array.ndim == 1
    if loss == "softmax":
        return _distributions(array, shares), False
    if loss in MARGIN_LOSSES and not np.isin(array, (-1.0, 1.0)).all():
        raise ValueError(
            f"loss={loss!r} needs targets -1 and 1; y holds others. "
            "fastopt.sklearn.ConvexReLUClassifier takes labels of any kind."
        )
    if array.ndim == 2 and array.shape[1] == 0:
        raise ValueError("y must have at least one column.")
    return np.ascontiguousarray(array.reshape(n, -1).T), one


def _distributions(array: Array, shares: Shares) -> Array:
    if array.ndim == 1:
        labels = array.astype(np.int64)
        if (labels != array).any() or labels.min() < 0 or labels.max() > 10**6:
            raise ValueError(
                "loss='softmax' needs y as class numbers 0 .. c - 1 (a vector), or one row of "
                "probabilities for each sample."
            )
        last = shares.most(labels.max())
        if last == 0:
            raise ValueError("loss='softmax' needs at least two classes; y holds class 0 only.")
        return np.ascontiguousarray(np.eye(last + 1)[labels].T)
    if array.shape[1] < 2 or (array < 0).any() or np.abs(array.sum(axis=1) - 1).max() > 1e-9:
        raise ValueError(
            "loss='softmax': each row of y must be probabilities of 2 or more classes."
        )
    return np.ascontiguousarray(array.T)


def read_weights(sample_weight: ArrayLike | None, n: int) -> Array | None:
    if sample_weight is None:
        return None
    weights = _finite("sample_weight", sample_weight, (0, 1))
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if len(weights) != n:
        raise ValueError(
            f"sample_weight must have {n} entries, one for each row of X; got {len(weights)}."
        )
    if (weights < 0).any():
        raise ValueError("sample_weight must not be negative.")
    if not (weights > 0).any():
        raise ValueError("sample_weight is zero everywhere: there is nothing to fit.")
    return weights


def scaling_of(
    X: Array, weights: Array | None, standardize: bool, intercept: bool, shares: Shares
) -> Scaling:
    d = X.shape[1]
    if not standardize:
        return Scaling(np.zeros(d), np.ones(d), intercept)
    mean = shares.average(X, weights)
    scale = np.sqrt(shares.average((X - mean) ** 2, weights))
    constant = scale <= 10 * np.finfo(float).eps * np.abs(mean)
    scale = np.where(constant | (scale == 0), 1.0, scale)
    return Scaling(mean if intercept else np.zeros(d), scale, intercept)


def read_radius(robust_eps: ArrayLike, loss: str, targets: Array, scaling: Scaling) -> Array | None:
    """The box's half-widths in the scaled space, none for the column of ones; None for no box."""
    eps = _finite("robust_eps", robust_eps, (0, 1))
    d = scaling.mean.size
    if eps.ndim == 1 and len(eps) != d:
        raise ValueError(
            f"robust_eps must be a number or have {d} entries, one for each feature; got "
            f"{len(eps)}."
        )
    if (eps < 0).any():
        raise ValueError("robust_eps must not be negative.")
    if not eps.any():
        return None
    if loss not in ROBUST_LOSSES:
        raise ValueError(f"robust_eps goes with the losses {', '.join(ROBUST_LOSSES)}, not {loss}.")
    if len(targets) > 1:
        raise ValueError(
            f"robust_eps needs one output; y has {len(targets)}. Train one network for each."
        )
    radius = np.zeros(d + scaling.intercept)
    radius[:d] = eps / scaling.scale
    return radius


def read_data(
    X: Any,
    y: ArrayLike,
    loss: str,
    sample_weight: ArrayLike | None,
    fit_intercept: bool,
    standardize: bool,
    robust_eps: ArrayLike,
    shares: Shares,
) -> TrainingData:
    """Everything about the samples, checked; of the rank's own where ranks share them."""
    choice("loss", loss, LOSSES)
    design = read_design(X)
    shares.agree(**{"the number of columns of X": design.shape[1]})
    targets, one = read_targets(y, len(design), loss, shares)
    weights = read_weights(sample_weight, len(design))
    shares.agree(**{"the number of outputs": len(targets)})
    if shares.of_gates is not None:
        shares.of_gates.same_each(
            {"X": told(design), "y": told(targets), "sample_weight": told(weights)}
        )
    if weights is not None and (weights == 0).any():
        keep = weights > 0
        design, targets, weights = design[keep], targets[:, keep], weights[keep]
    with np.errstate(over="ignore", invalid="ignore"):
        scaling = scaling_of(design, weights, standardize, fit_intercept, shares)
        scaled = scaling.apply(design)
    product = np.ones(1)  # as large as X'L'(0) may be: the certificate squares it
    for name, values in (("X", scaled), ("y", targets), ("sample_weight", weights)):
        if values is not None:
            refuse_overflow(name, values)
            with np.errstate(over="ignore"):
                product = product * max(1.0, np.abs(values).max())
    refuse_overflow("the product of X, y and sample_weight", product)
    return TrainingData(
        scaled,
        np.ascontiguousarray(targets),
        weights,
        scaling,
        one,
        read_radius(robust_eps, loss, targets, scaling),
        shares,
    )


# ---- memory ----------------------------------------------------------------------------------


def memory_needed(
    n: int, d: int, n_gates: int, c: int, method: str, itemsize: int, cuda: bool = False
) -> int:
    """Bytes of the engine's arrays without the linear system; on a device when `cuda`."""
    signs = 2 if method in ("conic", "admm") else 1
    size = signs * c * n_gates * d
    gates = n_gates * n * (8 + (8 if method == "conic" else 0) + (0 if itemsize == 8 else itemsize))
    tiles = c * n_gates * n * (8 + itemsize)
    state = size * (12 * 8 + 8 * itemsize)
    accelerate = 0 if method == "admm" else 40 * (size + c * n) * itemsize
    cones = signs * c * n_gates * n * 2 * itemsize if method == "admm" else 0
    design = n * d * (16 + itemsize)
    if cuda and (method == "conic" or (method == "admm" and d <= ADMM_CONES)):
        # X v and work of each block, and room for d active rows in each of five sets of them
        cones += signs * c * n_gates * 8 * (n + 10 * d * (d + 1) + 8 * d + 48)
    return gates + tiles + state + accelerate + cones + design


def _order(room: int, itemsize: int, cuda: bool) -> int:
    """The largest order of a dense system in so many bytes."""
    order = int((0.8 * max(room, 0) / itemsize) ** 0.5)
    inverse = order <= 4096 or cuda  # needs a second array
    return int(order / 2**0.5) if inverse else order


def _rows_of_f(n: int, width: int, itemsize: int, cuda: bool) -> int:
    """Bytes of the rows of so many columns of F from which a device makes a Gram matrix."""
    return min(n * width, 2**22) * itemsize if cuda else 0


def _with_system(
    n: int, d: int, n_gates: int, c: int, method: str, itemsize: int, cuda: bool
) -> int:
    """Bytes with the conjugate gradients' preconditioner: the least that a system takes."""
    width = n_gates if method == "scp" else d  # one gate over all hidden units
    blocks = (1 if method == "scp" else n_gates) * width**2 * itemsize
    rows = _rows_of_f(n, width, itemsize, cuda)
    return memory_needed(n, d, n_gates, c, method, itemsize, cuda) + blocks + rows


def largest_system(
    n: int, d: int, n_gates: int, c: int, method: str, itemsize: int, device: int | None = None
) -> int:
    """The largest order of a dense system that memory allows.

    `device`: the bytes that are free on a device whose memory the engine's arrays are to lie in;
    the host then holds the data and the gates' patterns only.

    Raises
    ------
    MemoryError
        When neither a dense system fits nor what conjugate gradients need, with what would.
    """
    cuda = device is not None
    if device is None:
        room = available_memory()
    else:
        room = device
        refuse_beyond_memory(
            f"holding {n} samples of {d} features and the patterns of {n_gates} gates",
            8 * n * (4 * d + 2 * n_gates),
            "take fewer gates or samples",
        )

    def columns(gates: int) -> int:
        return gates if method == "scp" else gates * d

    def order_of(gates: int) -> int:
        rows = _rows_of_f(n, columns(gates), itemsize, cuda) if columns(gates) < n else 0
        needed = memory_needed(n, d, gates, c, method, itemsize, cuda) + rows
        return _order(room - needed, itemsize, cuda)

    def dense(gates: int) -> bool:
        return min(n, columns(gates)) <= order_of(gates)

    def fits(gates: int) -> bool:
        return dense(gates) or _with_system(n, d, gates, c, method, itemsize, cuda) <= room

    if fits(n_gates):
        return order_of(n_gates)
    fewer = n_gates
    while fewer > 1 and not fits(fewer):
        fewer //= 2
    need = min(
        _with_system(n, d, n_gates, c, method, itemsize, cuda),
        memory_needed(n, d, n_gates, c, method, itemsize, cuda)
        + 2 * min(n, columns(n_gates)) ** 2 * itemsize,
    )
    advice = (
        f"gates={fewer} would fit." if fits(fewer) else "take fewer samples, features or outputs."
    )
    on = " on the device" if cuda else ""
    raise MemoryError(
        f"{n} samples of {d} features with {n_gates} gates and {c} output(s) need "
        f"{need / 2**30:.2g} GiB, more than the {room / 2**30:.2g} GiB available{on}: {advice}"
    )
