"""Encoding `channel-bits`: one bit per unit of the chosen groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import UnsupportedModelError, UsageError
from evoprune.genome import BitGenome, Segment
from evoprune.plan import PruningPlan
from evoprune.seeding import SeedTree
from evoprune.space.pruning_space import PruningSpace, frozen_reasons


class ChannelBits:
    """One bit per unit, 1 keeps.

    Args:
        space: What can be pruned.
        layer_types: Kinds of layer to prune (`conv`, `linear`, ...); groups of other kinds keep everything. None takes all.
        round_to: Kept units per group are a multiple of this, or all.

    Raises:
        UnsupportedModelError: No group is left to prune.
        UsageError: `round_to` is below 1.
    """

    def __init__(self, space: PruningSpace, *, layer_types: tuple[str, ...] | None = None, round_to: int = 1) -> None:
        if round_to < 1:
            raise UsageError(f"round_to={round_to} must be at least 1")
        self._space, self._round_to = space, round_to
        groups = [g for g in space.groups if layer_types is None or g.layer_type in layer_types]
        if not groups:
            raise UnsupportedModelError(*_nothing_left(space, layer_types))
        self._positions: NDArray[np.int64] = np.concatenate([np.arange(g.start, g.stop) for g in groups])
        starts = np.cumsum([0, *(group.size for group in groups)])
        self.segments: tuple[Segment, ...] = tuple(
            Segment(group.name, int(start), group.size) for group, start in zip(groups, starts, strict=False)
        )

    @property
    def length(self) -> int:
        """Bits in a genome."""
        return len(self._positions)

    def repair(self, genome: BitGenome) -> BitGenome:
        """Round the kept units of every group to the nearest allowed number, at least the smallest.

        Which units come or go is drawn from a generator seeded with the genome's digest: the same at every call, and no
        channel is preferred.
        """
        bits = genome.bits
        wrong = [(segment, wanted) for segment in self.segments if (wanted := self._wanted(bits, segment)) is not None]
        if not wrong:
            return genome
        generator = SeedTree(0).child("repair", genome.digest).generator()
        for segment, wanted in wrong:
            part = bits[segment.start : segment.start + segment.size]
            excess = int(part.sum()) - wanted
            part[generator.choice(np.flatnonzero(part if excess > 0 else ~part), abs(excess), replace=False)] = (
                excess < 0
            )
        return BitGenome.from_bits(bits)

    def decode(self, genome: BitGenome) -> PruningPlan:
        """The plan of a repaired genome.

        Raises:
            InvalidPlanError: A group would keep nothing.
        """
        keep = np.ones(self._space.size, dtype=np.bool_)
        keep[self._positions] = genome.bits
        return self._space.plan(keep)

    def _wanted(self, bits: NDArray[np.bool_], segment: Segment) -> int | None:
        count = int(np.count_nonzero(bits[segment.start : segment.start + segment.size]))
        step = min(self._round_to, segment.size)
        if count == segment.size or (count and count % step == 0):
            return None
        return min(segment.size, max(step, (2 * count + step) // (2 * step) * step))


def _nothing_left(space: PruningSpace, layer_types: tuple[str, ...] | None) -> tuple[str, str]:
    if space.groups and layer_types is not None:
        kinds = ", ".join(sorted({group.layer_type for group in space.groups}))
        return f"no layer of type {', '.join(layer_types)} can be pruned; prunable types here: {kinds}", ""
    reasons = frozen_reasons(space.frozen) or "the model has no convolution or linear layer in front of another"
    return f"nothing can be pruned from this model: {reasons}", ""
