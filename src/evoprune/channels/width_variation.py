"""Operators on widths: drawn by the group, crossed by the group, mutated by a factor."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from evoprune.channels.orders import Orders
from evoprune.genome import BitGenome
from evoprune.search.base import SearchSettings
from evoprune.search.variation import Pair
from evoprune.space.widths import Counts

SPREAD: Final = 0.25
"""Standard deviation of the logarithm of the factor that mutation multiplies a width by."""
DEEPEST: Final = 0.1
"""Factor below which no random cut goes that no budget asks for."""
CRITERION_RATE: Final = 0.1
"""Probability that a mutation gives all groups one other criterion."""
HALFWAY: Final = 0.5
"""From one parent to the other."""


class WidthGenomes(Protocol):
    """What the operators need to know of the encoding."""

    @property
    def sizes(self) -> Counts:
        """[groups] number of units of each."""

    @property
    def steps(self) -> Counts:
        """[groups] units that come and go together in each."""

    @property
    def bounded(self) -> bool:
        """Whether there is a budget, which every genome uses up."""

    @property
    def orders(self) -> Orders:
        """Criteria to choose from."""

    def genes(self, genome: BitGenome) -> tuple[Counts, Counts]:
        """[groups] widths and [groups] numbers of criteria."""

    def genome(self, wished: NDArray[np.float64], criteria: Counts) -> BitGenome:
        """The valid genome closest to some widths."""


class WidthVariation:
    """Draws, crosses and mutates genomes of widths and criteria.

    Args:
        encoding: Says what genomes mean.
        settings: Of these, `mutation_rate` is the probability that a group's width changes, and `initial_keep` the range of the
            share that a group keeps at the start, before all are brought onto the budget together.
    """

    def __init__(self, encoding: WidthGenomes, settings: SearchSettings) -> None:
        self._encoding, self._settings = encoding, settings

    def sample(self, generator: np.random.Generator) -> BitGenome:
        """Each group with a share of its own, all by one criterion; without a budget, from slight cuts to deep ones."""
        sizes = self._encoding.sizes
        shares = generator.uniform(*self._settings.initial_keep, size=len(sizes))
        depth = 1.0 if self._encoding.bounded else np.exp(generator.uniform(np.log(DEEPEST), 0))
        return self._encoding.genome(np.maximum(shares * sizes * depth, 0.5), self._one_criterion(generator))

    def cross(self, one: BitGenome, other: BitGenome, generator: np.random.Generator) -> Pair:
        """Two complementary children; width and criterion of a group come from the same parent."""
        first, second = self._encoding.genes(one), self._encoding.genes(other)
        swapped = generator.random(len(first[0])) < 0.5
        widths, criteria = (
            (np.where(swapped, b, a), np.where(swapped, a, b)) for a, b in zip(first, second, strict=True)
        )
        children = [
            self._encoding.genome(width.astype(np.float64), c) for width, c in zip(widths, criteria, strict=True)
        ]
        return children[0], children[1]

    def between(self, one: BitGenome, other: BitGenome, generator: np.random.Generator) -> BitGenome:
        """Each width somewhere between those of the parents; the criteria are those of the parent that it is nearer to.

        So it keeps the units that this parent keeps, but for a few, and what these have learnt together.
        """
        (widths, criteria), (others, their_criteria) = self._encoding.genes(one), self._encoding.genes(other)
        place = generator.random(len(widths))
        mixed = np.exp((1 - place) * np.log(widths) + place * np.log(others))
        return self._encoding.genome(mixed, criteria if np.mean(place) < HALFWAY else their_criteria)

    def mutate(self, genome: BitGenome, generator: np.random.Generator) -> BitGenome:
        """Multiply some widths by random factors, one at least, and now and then take another criterion."""
        widths, criteria = self._encoding.genes(genome)
        chosen = generator.random(len(widths)) < self._settings.mutation_rate
        if self._settings.mutation_rate > 0:
            chosen[generator.integers(len(widths))] = True
        factors = np.exp(SPREAD * generator.standard_normal(len(widths)))
        if not self._encoding.bounded:
            factors = np.where(chosen, factors, 1) * np.exp(SPREAD * generator.standard_normal())
            chosen[:] = True
        if generator.random() < CRITERION_RATE:
            criteria = self._one_criterion(generator)
        steps = np.sign(factors - 1) * self._encoding.steps  # a narrow group moves as well
        moved = np.where(factors > 1, np.maximum(widths * factors, widths + steps), widths * factors)
        moved = np.where(factors < 1, np.minimum(moved, widths + steps), moved)
        return self._encoding.genome(np.where(chosen, np.maximum(moved, 0.5), widths), criteria)

    def _one_criterion(self, generator: np.random.Generator) -> Counts:
        return np.full(len(self._encoding.sizes), generator.integers(len(self._encoding.orders.names)))
