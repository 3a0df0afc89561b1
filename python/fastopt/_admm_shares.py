"""What a rank has of a program that several share: some of the gates, or some of the samples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from ._arguments import choice
from ._problem import Array, Key, RandomSource, draw_key
from .distributed import Ranks

# Arguments that each rank may give its own of.
_OWN = {
    "X",
    "y",
    "sample_weight",
    "callback",
    "disp",
    "device",
    "threads",
    "record_history",
    "comm",
}


@dataclass(frozen=True)
class Shares:
    """Without ranks, a process has all of both, and what follows changes nothing."""

    ranks: Ranks | None = None
    shard: str = "gates"

    def __post_init__(self) -> None:
        choice("shard", self.shard, ("gates", "samples"))

    @property
    def of_gates(self) -> Ranks | None:
        """The ranks among which the gates, with their weights, are shared."""
        return self.ranks if self.shard == "gates" else None

    @property
    def of_samples(self) -> Ranks | None:
        return self.ranks if self.shard == "samples" else None

    def agree(self, **given: Any) -> None:
        """ValueError on all ranks where an argument that must be the same on all is not."""
        if self.ranks is None:
            return
        alike = {name: told(value) for name, value in given.items() if name not in _OWN}
        if "sample_weight" in given:
            alike["sample_weight, given or not,"] = given["sample_weight"] is not None
        self.ranks.same_each(alike)

    def key(self, rng: RandomSource) -> Key:
        """The key of the random numbers: one that a rank draws afresh is that of the first."""
        if self.ranks is None or rng is not None:
            return draw_key(rng, None)
        return self.ranks.from_first(lambda: draw_key(None, None))

    def own(self, gates: Array, axis: int = 0) -> Array:
        """This rank's part of something with one entry for each gate."""
        if self.of_gates is None:
            return gates
        if len(gates) < self.of_gates.size and axis == 0:
            raise ValueError(
                f"shard='gates' needs a gate for each rank: there are {len(gates)} gates and "
                f"{self.of_gates.size} ranks. Use fewer ranks, or more gates."
            )
        parts = np.array_split(gates, self.of_gates.size, axis=axis)
        return np.ascontiguousarray(parts[self.of_gates.rank])

    def whole(self, weights: Array, shape: tuple[int, int, int, int]) -> Array:
        """The weights of all gates, flat, from those of this rank's."""
        if self.of_gates is None:
            return weights
        signs, outputs, gates, columns = shape
        parts = [len(part) for part in np.array_split(np.empty(gates), self.of_gates.size)]
        padded = np.zeros((signs, outputs, max(parts), columns))
        mine = parts[self.of_gates.rank]
        padded[:, :, :mine] = weights.reshape(signs, outputs, mine, columns)
        every = self.of_gates.allgather(padded)
        return np.concatenate(
            [one[:, :, :part] for one, part in zip(every, parts, strict=True)], axis=2
        ).ravel()

    def any(self, told: bool) -> bool:
        return told if self.ranks is None else bool(self.ranks.most(told))

    def least(self, number: int) -> int:
        """The least of the ranks' numbers."""
        return number if self.ranks is None else int(-self.ranks.most(-number))

    def most(self, number: int) -> int:
        """The largest number that a sample of any rank gives."""
        return number if self.of_samples is None else int(self.of_samples.most(number))

    def average(self, values: Array, weights: Array | None) -> Array:
        """The (weighted) mean over the samples of all ranks, column by column."""
        if self.of_samples is None:
            return np.asarray(np.average(values, axis=0, weights=weights))
        factors = np.ones(len(values)) if weights is None else weights
        sums = self.of_samples.allreduce(np.append(factors @ values, factors.sum()))
        mean: Array = sums[:-1] / sums[-1]
        return mean


ALONE = Shares()


def told(value: Any) -> Any:
    """The argument in a form that ranks can compare."""
    if isinstance(value, OptimizeResult):
        value = value.get("x")
    if isinstance(value, (list, tuple, np.ndarray)):
        array = np.ascontiguousarray(value)
        return array.shape, hashlib.sha256(array.tobytes()).hexdigest()
    return value
