"""Encoding `channel-widths`: how many units each group keeps, and by which criterion they are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.channels.orders import Orders, in_given_order
from evoprune.channels.prunable_groups import Bits, PrunableGroups
from evoprune.channels.width_variation import WidthVariation
from evoprune.genome import BitGenome, Segment
from evoprune.plan import PruningPlan
from evoprune.search.base import SearchSettings
from evoprune.space.budget import Budget
from evoprune.space.projection import Ranks
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.widths import Counts

GENE_BITS: Final = 16
"""Bits of a width's number, and of a criterion's."""


class ChannelWidths:
    """Two numbers per group: the number of its width among those that it may have, and that of a criterion.

    Which units stay follows from both: those that the criterion puts first. A genome so says what evolution can find out, and
    leaves to the criteria what they know better.

    Args:
        space: Pruning space of the model.
        layer_types: Kinds of layer to prune (`conv`, `linear`, ...); groups of other kinds keep everything. None takes all.
        round_to: The number of kept channels per group is a multiple of this, or all; see `PrunableGroups`.
        budget: Limits that every repaired genome keeps, and uses up to a step; None where there are none.
        orders: Order of the units by each criterion; in the order of their numbers when None.

    Raises:
        UnsupportedModelError: No group is left to prune.
        UsageError: `round_to` is below 1, or no choice keeps the budget.
    """

    def __init__(
        self,
        space: PruningSpace,
        *,
        layer_types: tuple[str, ...] | None = None,
        round_to: int = 1,
        budget: Budget | None = None,
        orders: Orders | None = None,
    ) -> None:
        self.prunable: Final = PrunableGroups(space, layer_types=layer_types, round_to=round_to, budget=budget)
        self.orders: Final = orders or in_given_order(space.size)
        scores = self.orders.scores[:, self.prunable.positions]
        self._ranks: Final[NDArray[np.int32]] = np.stack([self.prunable.in_order(one) for one in scores])
        self._owner = np.repeat(np.arange(len(self.prunable.groups)), self.prunable.widths.sizes)
        self.segments: tuple[Segment, ...] = tuple(
            Segment(group.name, 2 * GENE_BITS * number, 2 * GENE_BITS)
            for number, group in enumerate(self.prunable.groups)
        )

    @property
    def length(self) -> int:
        """Bits in a genome."""
        return 2 * GENE_BITS * len(self.segments)

    @property
    def sizes(self) -> Counts:
        """[groups] number of units of each."""
        return self.prunable.widths.sizes

    @property
    def steps(self) -> Counts:
        """[groups] units that come and go together in each."""
        return self.prunable.widths.steps

    @property
    def bounded(self) -> bool:
        """Whether there is a budget, which every genome uses up."""
        return bool(self.prunable.projection.budget)

    def repair(self, genome: BitGenome) -> BitGenome:
        """Bring numbers into their ranges, and the widths onto the budget in their proportions."""
        widths, criteria = self.genes(genome)
        return self.genome(widths, criteria)

    def genome(self, wished: NDArray[np.float64] | Counts, criteria: Counts | Sequence[int]) -> BitGenome:
        """The valid genome closest to some widths.

        Args:
            wished: [groups] widths above 0; with a budget, their proportions count.
            criteria: [groups] numbers of criteria.
        """
        widths, chosen = np.asarray(wished, dtype=np.float64), np.asarray(criteria, dtype=np.int64)
        while True:
            projected = self.prunable.projection.project(widths, self._chosen(chosen), fill=True)
            alike = self._first_alike(projected, chosen)
            if np.array_equal(alike, chosen):
                break
            widths, chosen = projected.astype(np.float64), alike  # the other order may leave room for a step
        genes = np.stack([self.prunable.widths.numbers(projected), chosen], axis=1).astype(">u2")
        return BitGenome(np.frombuffer(genes.tobytes(), dtype=np.uint8), self.length)

    def genes(self, genome: BitGenome) -> tuple[Counts, Counts]:
        """[groups] widths and [groups] numbers of criteria; numbers that are none wrap around."""
        genes = np.frombuffer(genome.packed.tobytes(), dtype=">u2").astype(np.int64).reshape(-1, 2)
        return self.prunable.widths.of(genes[:, 0]), genes[:, 1] % len(self.orders.names)

    def decode(self, genome: BitGenome) -> PruningPlan:
        """The plan of a repaired genome."""
        widths, criteria = self.genes(genome)
        return self.prunable.plan(self.prunable.projection.bits(widths, self._chosen(criteria)))

    def widths(self, genome: BitGenome) -> Mapping[str, int]:
        """Units that each group keeps, by its name."""
        return self.prunable.named(self.genes(genome)[0])

    def criteria(self, genome: BitGenome) -> Mapping[str, str]:
        """Name of the criterion that chooses the units of each group, by the group's name."""
        chosen = self.genes(genome)[1]
        return {
            group.name: self.orders.names[number] for group, number in zip(self.prunable.groups, chosen, strict=True)
        }

    def by_criterion(self, widths: Counts, criterion: str) -> BitGenome:
        """The valid genome closest to some widths, filled by one criterion.

        Args:
            widths: [groups] widths above 0; with a budget, their proportions count.
            criterion: Name of the criterion.
        """
        return self.genome(widths, [self.orders.names.index(criterion)] * len(widths))

    def by_units(self, bits: Bits) -> BitGenome:
        """The valid genome closest to a choice: its widths, filled by the criteria that would have chosen most alike.

        Args:
            bits: [units of the groups] bool, at least one of each group.
        """
        return self.genome(self.prunable.counts(bits), self.prunable.closest(bits, self._ranks))

    def variation(self, settings: SearchSettings) -> WidthVariation:
        """Operators on widths and criteria."""
        return WidthVariation(self, settings)

    def _first_alike(self, widths: Counts, criteria: Counts) -> Counts:
        """[groups] the first criterion that keeps the same units of each group: one choice has one genome."""
        kept = self._ranks < widths[self._owner]
        same = kept == kept[criteria[self._owner], np.arange(len(self._owner))]
        differing = np.add.reduceat(~same, self.prunable.starts, axis=1)
        first: Counts = np.argmin(differing, axis=0)
        return first

    def _chosen(self, criteria: Counts) -> Ranks:
        """[units] ranks by the criterion of each unit's group."""
        ranks: Ranks = self._ranks[criteria[self._owner], np.arange(len(self._owner))]
        return ranks
