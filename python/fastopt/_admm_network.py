"""The networks that the convex program's weights stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._admm_data import Scaling, read_design
from ._device import home, placed
from ._problem import Array


def _design(X: Any, n_features: int) -> Array:
    array = read_design(X)
    if array.shape[1] != n_features:
        raise ValueError(
            f"X has {array.shape[1]} features, but the network was trained on {n_features}."
        )
    return array


def _as_trained(outputs: Array, one_output: bool, X: Any) -> Array:
    """Outputs (n, c) for the rows of X in the shape of y, where X lives."""
    out: Array = placed(outputs[:, 0] if one_output else outputs, home(X=X))
    return out


@dataclass(frozen=True)
class ReLUNetwork:
    """x -> W2 (W1 x + b1)_+ + b2."""

    W1: Array  # (n_neurons, n_features)
    b1: Array
    W2: Array  # (n_outputs, n_neurons)
    b2: Array
    one_output: bool

    def predict(self, X: Any) -> Array:
        """The network's output for each row: (n,) if it was trained on a vector, else (n, c).

        Where X lives, on a CUDA device too; computed on the host.
        """
        hidden = np.maximum(_design(X, self.W1.shape[1]) @ self.W1.T + self.b1, 0.0)
        return _as_trained(hidden @ self.W2.T + self.b2, self.one_output, X)


@dataclass(frozen=True)
class GatedNetwork:
    """x -> sum_i 1[G_i x + g_i >= 0] (W_i x + b_i): gates fixed, weights trained."""

    G: Array  # (n_gates, n_features)
    g: Array
    W: Array  # (n_outputs, n_gates, n_features)
    b: Array  # (n_outputs, n_gates)
    one_output: bool

    def predict(self, X: Any) -> Array:
        """The network's output for each row: (n,) if it was trained on a vector, else (n, c).

        Where X lives, on a CUDA device too; computed on the host.
        """
        design = _design(X, self.G.shape[1])
        open_gates = design @ self.G.T + self.g >= 0
        columns = [
            (open_gates * (design @ W.T + b)).sum(axis=1)
            for W, b in zip(self.W, self.b, strict=True)
        ]
        return _as_trained(np.column_stack(columns), self.one_output, X)


def relu_network(weights: Array, scaling: Scaling, one_output: bool) -> ReLUNetwork:
    """From weights (2, c, P, d): u = v / sqrt||v||, a = +-sqrt||v|| for every nonzero block."""
    lengths = np.linalg.norm(weights, axis=3)
    sign, output, gate = np.nonzero(lengths)
    length = np.sqrt(lengths[sign, output, gate])
    first, offset = scaling.fold(weights[sign, output, gate] / length[:, None])
    return _assemble(
        first, offset, output, np.where(sign == 0, length, -length), weights, one_output
    )


def hidden_unit_network(
    weights: Array, units: Array, scaling: Scaling, one_output: bool
) -> ReLUNetwork:
    """From output weights (1, c, 1, P) over fixed hidden units of length 1 (rows of `units`)."""
    _, output, _, unit = np.nonzero(weights)
    value = weights[0, output, 0, unit]
    length = np.sqrt(np.abs(value))
    first, offset = scaling.fold(units[unit] * length[:, None])
    return _assemble(first, offset, output, np.sign(value) * length, weights, one_output)


def _assemble(
    first: Array, offset: Array, output: Any, second: Array, weights: Array, one_output: bool
) -> ReLUNetwork:
    c = weights.shape[1]
    W2 = np.zeros((c, len(second)))
    W2[output, np.arange(len(second))] = second
    return ReLUNetwork(first, offset, W2, np.zeros(c), one_output)


def gated_network(weights: Array, gates: Array, scaling: Scaling, one_output: bool) -> GatedNetwork:
    """From weights (1, c, P, d)."""
    c, n_gates, d = weights.shape[1:]
    G, g = scaling.fold(gates)
    W, b = scaling.fold(weights.reshape(c * n_gates, d))
    return GatedNetwork(G, g, W.reshape(c, n_gates, -1), b.reshape(c, n_gates), one_output)
