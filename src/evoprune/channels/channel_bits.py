"""Encoding `channel-bits`: one bit per unit of the chosen groups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evoprune.channels.orders import Orders, in_given_order
from evoprune.channels.prunable_groups import Bits, PrunableGroups
from evoprune.channels.swap_variation import SwapVariation
from evoprune.genome import BitGenome, Segment
from evoprune.plan import PruningPlan
from evoprune.search.base import SearchSettings
from evoprune.search.variation import BitVariation, Variation
from evoprune.seeding import SeedTree
from evoprune.space.budget import Budget
from evoprune.space.projection import Ranks
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.widths import Counts


class ChannelBits:
    """One bit per unit, 1 keeps.

    Args:
        space: Pruning space of the model.
        layer_types: Kinds of layer to prune (`conv`, `linear`, ...); groups of other kinds keep everything. None takes all.
        round_to: The number of kept channels per group is a multiple of this, or all; see `PrunableGroups`.
        budget: Limits that every repaired genome keeps; None where there are none.
        orders: Order of the units by each criterion, for the genomes that criteria choose.

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
        self.prunable = PrunableGroups(space, layer_types=layer_types, round_to=round_to, budget=budget)
        self.orders = orders or in_given_order(space.size)
        self.segments: tuple[Segment, ...] = tuple(
            Segment(group.name, int(start), group.size)
            for group, start in zip(self.prunable.groups, self.prunable.starts, strict=True)
        )

    @property
    def length(self) -> int:
        """Bits in a genome."""
        return len(self.prunable.positions)

    def repair(self, genome: BitGenome) -> BitGenome:
        """Bring every group to an allowed number of units, and all together within the budget.

        Which units come or go is drawn from a generator seeded with the genome's digest: the same at every call, and no
        channel is preferred.
        """
        bits = genome.bits
        counts = self.prunable.counts(bits)
        ranks = self._at_random(genome)
        widths = self.prunable.projection.project(np.maximum(counts, 0.5), ranks, fill=False)
        if np.array_equal(widths, counts):
            return genome
        return BitGenome.from_bits(self.prunable.projection.bits(widths, ranks))

    def decode(self, genome: BitGenome) -> PruningPlan:
        """The plan of a repaired genome.

        Raises:
            InvalidPlanError: A group would keep nothing.
        """
        return self.prunable.plan(genome.bits)

    def widths(self, genome: BitGenome) -> Mapping[str, int]:
        """Units that each group keeps, by its name."""
        return self.prunable.named(self.prunable.counts(genome.bits))

    def by_criterion(self, widths: Counts, criterion: str) -> BitGenome:
        """The valid genome closest to some widths, filled by one criterion.

        Args:
            widths: [groups] widths above 0; brought onto the budget.
            criterion: Name of the criterion.
        """
        ranks = self.prunable.in_order(self.orders.of(criterion)[self.prunable.positions])
        allowed = self.prunable.projection.project(widths.astype(np.float64), ranks, fill=True)
        return BitGenome.from_bits(self.prunable.projection.bits(allowed, ranks))

    def by_units(self, bits: Bits) -> BitGenome:
        """The valid genome closest to a choice; what has to go goes by the criterion that would have chosen most alike.

        Args:
            bits: [units of the groups] bool, at least one of each group.
        """
        groups = self.prunable
        orders = np.stack([groups.in_order(self.orders.of(name)[groups.positions]) for name in self.orders.names])
        sizes = groups.widths.sizes
        places = orders[np.repeat(groups.closest(bits, orders), sizes), np.arange(self.length)]
        ranks = groups.in_order(np.where(bits, 1.0, 0.0) - places / (places.max() + 1))
        widths = groups.projection.project(groups.counts(bits).astype(np.float64), ranks, fill=False)
        return BitGenome.from_bits(groups.projection.bits(widths, ranks))

    def variation(self, settings: SearchSettings) -> Variation:
        """Operators on bits; those that leave widths alone where mutation is `swap`."""
        return SwapVariation(self, settings) if settings.mutation == "swap" else BitVariation(self, settings)

    def _at_random(self, genome: BitGenome) -> Ranks:
        """Kept units before the others, each in an order drawn by the genome."""
        drawn = SeedTree(0).child("repair", genome.digest).generator().random(genome.length)
        return self.prunable.in_order(genome.bits + drawn)
