"""The dimensions in which pruning makes a layer narrower, and the widths that it is timed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evoprune.space.groups import Axis, Group
from evoprune.space.pruning_space import PruningSpace

_FEW: Final = (1, 0.25, 0.5, 0.75)
_MANY: Final = (1, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
_ENDS: Final = (1, 0.5)
"""Shares of the units that stay at the nodes, by how many dimensions a layer has; besides the least and all of them."""
STEP: Final = 8
"""Kept units at nodes are multiples of this, or of a quarter of a narrow group: what kernels are fast with."""

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Node:
    """One width of a dimension.

    Attributes:
        width: Length of the dimension's axis.
        counts: Units that stay, by the name of each group.
    """

    width: int
    counts: Counts


@dataclass(frozen=True)
class Dimension:
    """What gets shorter together in one layer.

    Attributes:
        axis: (Tensor, dimension) whose length is the width; tensors have their names in the whole network.
        groups: Groups that reach into it.
    """

    axis: Axis
    groups: tuple[Group, ...]

    def width(self, size: int, counts: Counts) -> int:
        """Length of the axis when the first `counts` units of each group stay.

        Args:
            size: Length in the dense network.
            counts: Units that stay, by group; those of others all do.
        """
        gone = 0
        for group in self.groups:
            kept = counts.get(group.name, group.size)
            for member in group.members:
                if (member.tensor, member.dim) == self.axis:
                    gone += int(np.count_nonzero(member.unit >= kept))
        return size - gone

    def nodes(self, size: int, dimensions: int, *, fine: bool = False) -> tuple[Node, ...]:
        """The widths that a layer of so many dimensions is timed at, increasing.

        Args:
            size: Length in the dense network.
            dimensions: Dimensions of the layer.
            fine: Whether latencies go in steps: then narrow groups are timed at every multiple of `STEP`.
        """
        shares: Sequence[float] = {1: _MANY, 2: _FEW}.get(dimensions, _ENDS)
        fine = fine and dimensions <= 2
        if fine:
            most = min(len(_MANY), -(-max(group.size for group in self.groups) // STEP))
            shares = [number / most for number in range(1, most + 1)]
        found = {}
        for share in (*shares, 0):
            counts = {group.name: _count(group.size, share, 2 if fine else 4) for group in self.groups}
            width = self.width(size, counts)
            found[width] = Node(width, counts)
        return tuple(found[width] for width in sorted(found))


def _count(size: int, share: float, steps: int) -> int:
    """So many units of a group of `size`, rounded to what kernels like; one at least, and one for a share of 0."""
    step = STEP if size >= steps * STEP else max(1, size // 4)
    return size if share == 1 else max(1, min(size, round(share * size / step) * step))


def dimensions_of(space: PruningSpace, path: str) -> tuple[Dimension, ...]:
    """The dimensions of the module at `path`, those that share a group as one, in the order of their axes."""
    axes: dict[Axis, set[str]] = {}
    for group in space.groups:
        for member in group.members:
            if member.tensor.startswith(f"{path}."):
                axes.setdefault((member.tensor, member.dim), set()).add(group.name)
    merged: list[tuple[set[str], list[Axis]]] = []
    for axis, names in axes.items():
        apart = [one for one in merged if not one[0] & names]
        touching = [one for one in merged if one[0] & names]
        together = (set(names).union(*(one[0] for one in touching)), [*(a for one in touching for a in one[1]), axis])
        merged = [*apart, together]
    return tuple(sorted((_dimension(space, *one, axes) for one in merged), key=lambda one: one.axis))


def _dimension(space: PruningSpace, names: set[str], found: Sequence[Axis], axes: Mapping[Axis, set[str]]) -> Dimension:
    axis = max(found, key=lambda one: len(axes[one]))
    return Dimension(axis, tuple(group for group in space.groups if group.name in names))
