"""What a model's MACs and parameters are made of, as plain data: sums of products of kept counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from evoprune.space.groups import Group
from evoprune.space.tracing.labels import Couplings, Vector

Counts = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Extent:
    """The length of one dimension, of an activation or a parameter.

    Attributes:
        size: Positions while everything is kept.
        parts: For the name of each group that reaches into it, [group size] positions that go with a unit, or [1] when all alike.
    """

    size: int
    parts: tuple[tuple[str, Counts], ...]


class Term(NamedTuple):
    """`factor` times the lengths of some extents, given by their numbers."""

    factor: int
    extents: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Workload:
    """What a plan costs, before anything is counted.

    Attributes:
        extents: Extents that the terms refer to.
        flops: Sum to the FLOPs of a pass over the example inputs.
        params: Sum to the parameters.
        samples: Samples in the example inputs.
        guards: `{group: why MACs can't be predicted once it is cut}`.
        minima: `{extent: why MACs can't be predicted once its length is 1}`.
    """

    extents: tuple[Extent, ...] = ()
    flops: tuple[Term, ...] = ()
    params: tuple[Term, ...] = ()
    samples: int = 1
    guards: Mapping[str, str] = field(default_factory=dict)
    minima: Mapping[int, str] = field(default_factory=dict)


def workload(model: nn.Module, couplings: Couplings, groups: Sequence[Group], samples: int) -> Workload:
    """Sort what a trace of `model` recorded by the units of `groups`."""
    builder = _Builder(couplings, groups)
    flops: dict[tuple[int, ...], int] = {}
    guards: dict[str, str] = {}
    minima: dict[int, str] = {}
    for work in couplings.work:
        for atoms in work.guards:
            guards |= {name: work.caveat for name in builder.groups_of(atoms) if name not in guards}
        numbers = [builder.number(atoms) for atoms in work.extents]
        if work.caveat and numbers:
            minima.setdefault(numbers[-1], work.caveat)
        builder.add(flops, work.flops, numbers)
    params: dict[tuple[int, ...], int] = {}
    for name, parameter in model.named_parameters():
        numbers = [
            builder.number(couplings.block(name, dim, size)) for dim, size in _labelled(couplings, name, parameter)
        ]
        rest = parameter.numel() // max(1, math.prod(builder.extents[number].size for number in numbers))
        builder.add(params, rest, numbers)
    return Workload(
        tuple(builder.extents),
        tuple(Term(factor, extents) for extents, factor in flops.items()),
        tuple(Term(factor, extents) for extents, factor in params.items()),
        samples,
        guards,
        {number: caveat for number, caveat in minima.items() if builder.extents[number].parts},
    )


def _labelled(couplings: Couplings, name: str, parameter: nn.Parameter) -> list[tuple[int, int]]:
    return [(dim, size) for dim, size in enumerate(parameter.shape) if (name, dim) in couplings.blocks]


class _Builder:
    """Turns labels into extents, equal ones into the same."""

    def __init__(self, couplings: Couplings, groups: Sequence[Group]) -> None:
        self.extents: list[Extent] = []
        self._groups = groups
        self._numbers: dict[bytes, int] = {}
        self._alike: dict[tuple[object, ...], int] = {}
        self._starts = np.fromiter((group.start for group in groups), dtype=np.int64, count=len(groups))
        self._unit = np.full(couplings.atoms, -1, dtype=np.int64)
        for group in groups:
            for member in group.members:
                self._unit[couplings.blocks[member.tensor, member.dim].start + member.index] = group.start + member.unit

    def add(self, terms: dict[tuple[int, ...], int], factor: int, numbers: Sequence[int]) -> None:
        """Add a term; what no group reaches into is part of the factor."""
        factor *= math.prod(self.extents[number].size for number in numbers if not self.extents[number].parts)
        key = tuple(sorted(number for number in numbers if self.extents[number].parts))
        terms[key] = terms.get(key, 0) + factor

    def groups_of(self, atoms: Vector) -> list[str]:
        """Names of the groups that reach into a label."""
        units = self._unit[atoms]
        touched = np.unique(np.searchsorted(self._starts, units[units >= 0], side="right") - 1)
        return [self._groups[place].name for place in touched]

    def number(self, atoms: Vector) -> int:
        """The number of a label's extent."""
        key = atoms.tobytes()
        if key not in self._numbers:
            self._numbers[key] = self._add_extent(atoms)
        return self._numbers[key]

    def _add_extent(self, atoms: Vector) -> int:
        units = self._unit[atoms]
        units = units[units >= 0]
        parts = []
        for place in np.unique(np.searchsorted(self._starts, units, side="right") - 1).tolist():
            group = self._groups[place]
            inside = units[(units >= group.start) & (units < group.stop)] - group.start
            counts = np.bincount(inside, minlength=group.size).astype(np.int32)
            parts.append((group.name, counts[:1] if (counts == counts[0]).all() else counts))
        alike = (len(atoms), *((name, counts.tobytes()) for name, counts in parts))
        if alike not in self._alike:
            self._alike[alike] = len(self.extents)
            self.extents.append(Extent(len(atoms), tuple(parts)))
        return self._alike[alike]
