"""What a pruning space is made of, as plain values: groups of units, what is frozen, and what follows from widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Axis = tuple[str, int]


@dataclass(frozen=True, eq=False, repr=False)
class Member:
    """One dimension of one parameter or buffer that a group reaches into.

    Attributes:
        tensor: Name of the parameter or buffer.
        dim: Dimension of the parameter.
        index: [n] int32 positions along it, increasing.
        unit: [n] int32 unit, counted within the group, that each position belongs to.
    """

    tensor: str
    dim: int
    index: NDArray[np.int32]
    unit: NDArray[np.int32]

    def __repr__(self) -> str:
        return f"<dimension {self.dim} of {self.tensor}: {len(self.index)} positions>"


@dataclass(frozen=True, eq=False, repr=False)
class Group:
    """The units of one coupled dimension.

    Attributes:
        name: The first layer that produces the units.
        size: Number of units.
        members: Slices of parameters that go when a unit goes.
        constraint: Says what binds the units.
        layer_type: Kind of that first layer: `conv`, `conv_transpose`, `linear`, `embedding`, ...
        start: Position of the first unit in a genome of the whole space.
        layers: All layers whose outputs the units are.
    """

    name: str
    size: int
    members: tuple[Member, ...]
    constraint: str
    layer_type: str
    start: int
    layers: tuple[str, ...] = ()

    @property
    def stop(self) -> int:
        """Position after the last unit."""
        return self.start + self.size

    def __repr__(self) -> str:
        return f"<group {self.name}: {self.size} units ({self.layer_type}), in {len(self.members)} tensors>"


@dataclass(frozen=True)
class Frozen:
    """A layer, or part of one, whose output can't be pruned, and why, in words."""

    name: str
    reason: str


class AttributeRule(NamedTuple):
    """A module's attribute that follows from how many positions an axis keeps: `kept * factor // divisor`.

    Where `template` is not empty, the attribute is a tuple of which this is the number at `place`; the others stay as they are.
    """

    module: str
    attribute: str
    axis: Axis
    factor: int = 1
    divisor: int = 1
    as_tuple: bool = False
    template: tuple[int, ...] = ()
    place: int = 0


@dataclass(frozen=True, eq=False)
class Count:
    """How many of some positions stay.

    Attributes:
        fixed: Positions that always do.
        parts: Axes with the positions of theirs, [n] int32, that may go.
    """

    fixed: int
    parts: tuple[tuple[Axis, NDArray[np.int32]], ...]

    def of(self, kept: Mapping[str, Mapping[int, NDArray[np.int64]]]) -> int:
        """The number of a plan, by the indices that it keeps of what it cuts."""
        total = self.fixed
        for (tensor, dim), positions in self.parts:
            indices = kept.get(tensor, {}).get(dim)
            total += len(positions) if indices is None else int(np.isin(positions, indices).sum())
        return total


@dataclass(frozen=True, eq=False)
class SizeRule:
    """A module's attribute, a number or several, that is how many positions stay of a part of an axis, or of several axes.

    Attributes:
        module: Name of the module.
        attribute: Name of the attribute.
        counts: What it counts; a single entry for a number.
        several: Whether it is a tuple.
    """

    module: str
    attribute: str
    counts: tuple[Count, ...]
    several: bool


@dataclass(frozen=True, eq=False)
class NormRule:
    """A layer without weights that normalises positions of which some may go.

    Attributes:
        module: Name of the layer.
        size: Number of positions.
        parts: Axes with positions of theirs, [n] int32, and the places, [n] int32, that these have among those of the layer.
    """

    module: str
    size: int
    parts: tuple[tuple[Axis, NDArray[np.int32], NDArray[np.int32]], ...]

    def kept(self, kept: Mapping[str, Mapping[int, NDArray[np.int64]]]) -> NDArray[np.int64]:
        """Places that stay by a plan."""
        stays = np.ones(self.size, dtype=np.bool_)
        for (tensor, dim), positions, places in self.parts:
            indices = kept.get(tensor, {}).get(dim)
            if indices is not None:
                stays[places] = np.isin(positions, indices)
        return np.flatnonzero(stays)
