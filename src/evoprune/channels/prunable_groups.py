"""The groups that an encoding of channels chooses in, and how choices become plans."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import UnsupportedModelError
from evoprune.plan import PruningPlan
from evoprune.space.budget import Budget
from evoprune.space.projection import Projection, Ranks
from evoprune.space.pruning_space import PruningSpace, nothing_to_prune
from evoprune.space.widths import Counts, Widths

Bits = NDArray[np.bool_]
NO_BUDGET: Final = Budget({}, {})


class PrunableGroups:
    """Groups of some kinds of layer, their allowed widths, and a budget for them.

    Args:
        space: Pruning space of the model.
        layer_types: Kinds of layer to prune (`conv`, `linear`, ...); groups of other kinds keep everything. None takes all.
        round_to: Kept widths are multiples of this, or all; see `Widths`. Where the budget can't be kept so, it is halved until
            it can.
        budget: Limits that every choice keeps; None where there are none.

    Raises:
        UnsupportedModelError: No group is left to prune.
        UsageError: `round_to` is below 1, or no choice keeps the budget.
    """

    def __init__(
        self, space: PruningSpace, *, layer_types: tuple[str, ...] | None, round_to: int, budget: Budget | None
    ) -> None:
        self.groups: Final = [g for g in space.groups if layer_types is None or g.layer_type in layer_types]
        if not self.groups:
            raise UnsupportedModelError(*_nothing_left(space, layer_types))
        self._space = space
        self.positions: Counts = np.concatenate([np.arange(g.start, g.stop) for g in self.groups])
        self.starts: Counts = np.cumsum([0, *(group.size for group in self.groups)])[:-1]
        self.projection: Final = self._projection(Widths(self.groups, round_to), budget or NO_BUDGET)

    @property
    def unordered(self) -> Ranks:
        """[units of the groups] ranks in the order in which the units are numbered."""
        return np.concatenate([np.arange(group.size, dtype=np.int32) for group in self.groups])

    @property
    def widths(self) -> Widths:
        """Allowed widths."""
        return self.projection.widths

    def in_order(self, scores: NDArray[np.float64]) -> Ranks:
        """Place of each unit in its group, 0 for the highest score and for the first of equal ones.

        Args:
            scores: [units of the groups].

        Returns:
            [units of the groups] int32.
        """
        ranks = np.empty(len(scores), dtype=np.int32)
        for start, group in zip(self.starts, self.groups, strict=True):
            own = np.argsort(-scores[start : start + group.size], kind="stable")
            ranks[start + own] = np.arange(group.size, dtype=np.int32)
        return ranks

    def counts(self, bits: Bits) -> Counts:
        """[groups] units that each keeps, from [units of the groups] bits."""
        counts: Counts = np.add.reduceat(bits.astype(np.int64), self.starts)
        return counts

    def closest(self, bits: Bits, ranks: NDArray[np.int32]) -> Counts:
        """[groups] the order whose first units are most like those that are kept; the first of equal ones.

        Args:
            bits: [units of the groups] units that are kept.
            ranks: [orders, units of the groups] place of each unit in its group, by each order.
        """
        first = ranks < np.repeat(self.counts(bits), self.widths.sizes)
        shared = np.add.reduceat((first & bits).astype(np.int64), self.starts, axis=1)
        closest: Counts = np.argmax(shared, axis=0)
        return closest

    def named(self, widths: Counts) -> dict[str, int]:
        """Widths by the names of their groups."""
        return {group.name: int(width) for group, width in zip(self.groups, widths, strict=True)}

    def plan(self, bits: Bits) -> PruningPlan:
        """The plan that keeps these of the groups' units, and all others.

        Raises:
            InvalidPlanError: A group would keep nothing.
        """
        return self._space.plan(self.whole(bits))

    def whole(self, bits: Bits) -> Bits:
        """[..., units of the groups] bits -> [..., units of the space] bits, all others kept."""
        return self.projection.whole(bits)

    def _projection(self, widths: Widths, budget: Budget) -> Projection:
        """The coarsest allowed widths that can keep the budget."""
        for finer in (widths, *widths.finer()):
            projection = Projection(self._space.size, self.positions, finer, budget)
            if projection.reachable(self.unordered):
                break
        projection.check(self.unordered)
        return projection


def _nothing_left(space: PruningSpace, layer_types: tuple[str, ...] | None) -> tuple[str, str]:
    if space.groups and layer_types is not None:
        kinds = ", ".join(sorted({group.layer_type for group in space.groups}))
        return f"no layer of type {', '.join(layer_types)} can be pruned; prunable types here: {kinds}", ""
    return nothing_to_prune(space), "masks of single weights need no such layers: set search.encoding to weight-bits"
