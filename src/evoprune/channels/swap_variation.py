"""Operators that choose other channels and leave widths as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np

from evoprune.genome import BitGenome, Segment
from evoprune.search.base import SearchSettings
from evoprune.search.swap import swap_within
from evoprune.search.variation import BitVariation, Pair


class ChannelGenomes(Protocol):
    """What the operators need to know of the encoding."""

    @property
    def length(self) -> int:
        """Bits in a genome."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The groups that the bits belong to."""

    def repair(self, genome: BitGenome) -> BitGenome:
        """The valid genome that stands for `genome`."""

    def widths(self, genome: BitGenome) -> Mapping[str, int]:
        """Units that each group keeps, by its name."""


class SwapVariation:
    """Draws, crosses and mutates genomes of bits, whose children have the widths of their parents, group by group.

    Where all given genomes have the same widths, so has every genome of the search.

    Args:
        encoding: Says what genomes mean.
        settings: Of these, `mutation_rate` is the largest share of the kept units that a mutation exchanges.
    """

    def __init__(self, encoding: ChannelGenomes, settings: SearchSettings) -> None:
        self._encoding, self._settings = encoding, settings
        given = [encoding.repair(genome) for genome in settings.initial]
        fixed = bool(given) and all(encoding.widths(one) == encoding.widths(given[0]) for one in given)
        self._start: Final = given[0] if fixed else None

    def sample(self, generator: np.random.Generator) -> BitGenome:
        """The first of the given genomes, mutated; where widths differ or none is given, each group with a share of its own."""
        if self._start is None:
            return BitVariation(self._encoding, self._settings).sample(generator)
        return self.mutate(self._start, generator)

    def cross(self, one: BitGenome, other: BitGenome, generator: np.random.Generator) -> Pair:
        """Two complementary children; all units of a group come from the same parent."""
        first, second = one.bits, other.bits
        sizes = [segment.size for segment in self._encoding.segments]
        exchanged = np.repeat(generator.random(len(sizes)) < 0.5, sizes)
        children = [np.where(exchanged, b, a) for a, b in ((first, second), (second, first))]
        return BitGenome.from_bits(children[0]), BitGenome.from_bits(children[1])

    def mutate(self, genome: BitGenome, generator: np.random.Generator) -> BitGenome:
        """Exchange kept units for others of their groups; nothing where that would break the budget."""
        child = swap_within(genome, self._encoding.segments, self._settings.mutation_rate, generator)
        # A bound on what units cost apart from their number would make repair change widths.
        return child if self._encoding.repair(child) == child else genome
