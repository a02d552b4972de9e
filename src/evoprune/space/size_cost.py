"""Bytes of plans as a cost that a budget can limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from evoprune.space.groups import Axis
from evoprune.space.pruning_space import PruningSpace


@dataclass(frozen=True, eq=False)
class SizeCost:
    """Predicts the bytes of the weights as a safetensors file, never too few.

    The file's header lists shapes and offsets as text, a little less of it for narrower networks: the dense one's counts.

    Attributes:
        space: Pruning space of the model.
        shapes: Shape and bytes per number of each stored tensor, by name.
        header: Bytes of the dense network's file that are no numbers.
    """

    space: PruningSpace
    shapes: Mapping[str, tuple[Sequence[int], int]]
    header: int

    def __call__(self, bits: NDArray[np.bool_]) -> NDArray[np.float64]:
        """[plans] bytes of [plans, units] choices."""
        kept = {axis: self._kept(axis, bits) for axis in self.space.axis_sizes if axis[0] in self.shapes}
        total = np.full(len(bits), float(self.header))
        for name, (shape, width) in self.shapes.items():
            fixed = prod(size for dim, size in enumerate(shape) if (name, dim) not in kept)
            sizes = [kept[name, dim] for dim in range(len(shape)) if (name, dim) in kept]
            total += width * fixed * np.prod(sizes, axis=0, initial=1.0)
        return total

    def _kept(self, axis: Axis, bits: NDArray[np.bool_]) -> NDArray[np.float64]:
        """[plans] positions that stay along one axis of a tensor."""
        units = self.space.units_of(axis)
        stays: NDArray[np.float64] = (
            self.space.axis_sizes[axis] - len(units) + bits[:, units].sum(axis=1, dtype=np.float64)
        )
        return stays
