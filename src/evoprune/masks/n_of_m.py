"""N:M sparsity: at most N of every M consecutive weights stay, the pattern that sparse tensor cores run. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from evoprune.genome import Bits
from evoprune.masks.structures import Shape, Values, matrix_shape


@dataclass(frozen=True)
class NOfM:
    """At most `n` of every `m` weights that follow each other along the input dimension, at each kernel position on its own.

    The inputs left over when `m` doesn't divide them make a smaller group with the same bound, as if zeros followed.

    Attributes:
        n: Weights that may stay.
        m: Weights in a group, more than `n`.

    Source:
        Mishra et al. 2021, Accelerating Sparse Deep Neural Networks, section 3, arXiv:2104.08378.
    """

    n: int
    m: int

    def units(self, shape: Shape) -> int:
        """One per weight."""
        matrix_shape(shape, self)
        return prod(shape)

    def expand(self, values: Values, shape: Shape) -> Values:
        """The values in the shape of the tensor."""
        return values.reshape(shape)

    def reduce(self, values: Values, shape: Shape) -> NDArray[np.float64]:
        """The values, flat."""
        return values.astype(np.float64).reshape(prod(shape))

    def repair(self, bits: Bits, shape: Shape, order: Values) -> Bits:
        """Drop the lowest in `order` from each group that keeps too many."""
        matrix_shape(shape, self)
        groups = self._grouped(bits.reshape(shape), False)
        full = groups.sum(axis=-1) > self.n
        if not full.any():
            return bits
        crowded = groups[full]
        ranks = self._grouped(order.reshape(shape), 0)[full].astype(np.float64)
        ranks[~crowded] = -np.inf
        # Stable, so that of equals the first stay.
        stay = np.argsort(-ranks, axis=-1, kind="stable")[:, : self.n]
        kept = np.zeros_like(crowded)
        np.put_along_axis(kept, stay, True, axis=-1)
        groups[full] = kept
        return self._flat(groups, shape)

    def _grouped(self, values: Values, padding: bool | int) -> Values:
        """[outputs, inputs, *kernel] -> [outputs, *kernel, groups, m], a fresh array."""
        moved = np.moveaxis(values, 1, -1)
        missing = -moved.shape[-1] % self.m
        padded = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, missing)], constant_values=padding)
        return padded.reshape(*moved.shape[:-1], -1, self.m)

    def _flat(self, groups: Bits, shape: Shape) -> Bits:
        rows = groups.reshape(*groups.shape[:-2], groups.shape[-2] * self.m)[..., : shape[1]]
        return np.moveaxis(rows, -1, 1).reshape(prod(shape))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"
