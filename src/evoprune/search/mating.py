"""How those that go on have children: by tournaments, or with their neighbours along a front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Scored, SearchSettings
from evoprune.search.ranking import front_numbers, scaled
from evoprune.search.variation import Variation, child_between


@dataclass(frozen=True)
class Child:
    """A genome that was bred.

    Attributes:
        genome: The genome, not repaired yet.
        start: The parent whose trained weights it begins with.
        couple: Its parents, which may be one and the same.
    """

    genome: BitGenome
    start: Scored
    couple: tuple[Scored, Scored]

    @property
    def parents(self) -> tuple[str, ...]:
        """Digests of the parents."""
        return tuple(dict.fromkeys(one.genome.digest for one in self.couple))


class Mating(Protocol):
    """Breeds children: a function of the parents and of what it draws from the generator."""

    def children(self, parents: Sequence[Scored], generator: np.random.Generator) -> Iterator[Child]:
        """One or more children of two of the parents, which are given best first."""


class Tournaments:
    """Each parent is the best of a few drawn at random; children begin with the weights of the fitter one.

    Args:
        variation: Crosses and mutates.
        settings: Says how many a few are, and how often parents are crossed.
    """

    def __init__(self, variation: Variation, settings: SearchSettings) -> None:
        self._variation, self._settings = variation, settings

    def children(self, parents: Sequence[Scored], generator: np.random.Generator) -> Iterator[Child]:
        """Two children, complementary before they are mutated."""
        couple = parents[self._drawn(len(parents), generator)], parents[self._drawn(len(parents), generator)]
        genomes = couple[0].genome, couple[1].genome
        if generator.random() < self._settings.crossover_rate:
            genomes = self._variation.cross(*genomes, generator)
        fitter = min(couple, key=parents.index)
        for genome in genomes:
            yield Child(self._variation.mutate(genome, generator), fitter, couple)

    def _drawn(self, count: int, generator: np.random.Generator) -> int:
        """The best of a few drawn at random, as a place: they stand in order."""
        return int(generator.integers(count, size=self._settings.tournament_size).min())


class Neighbours:
    """Parents are neighbours along the front, and children lie between them: the wider the gap, the more of them.

    How wide a gap is says the volume that a child in its corner would add to the front. A child begins with the weights of the
    parent that it is more alike. Parents far apart have little to give each other: what is good for a small network is not for a
    large one, and what one has learnt is of no use to the other.

    Args:
        variation: Crosses and mutates.
        settings: Says how often a child is crossed from two parents; others are one parent's mutants.

    Source:
        Zhang and Li 2007, MOEA/D, for mating among neighbours.
    """

    def __init__(self, variation: Variation, settings: SearchSettings) -> None:
        self._variation, self._settings = variation, settings

    def children(self, parents: Sequence[Scored], generator: np.random.Generator) -> Iterator[Child]:
        """One child."""
        couple = self._couple(parents, generator)
        if generator.random() < self._settings.crossover_rate:
            genome = child_between(self._variation, couple[0].genome, couple[1].genome, generator)
        else:
            one = couple[int(generator.integers(2))]
            couple = one, one
            genome = self._variation.mutate(one.genome, generator)
        nearer = min(couple, key=lambda one: int((one.genome.bits != genome.bits).sum()))
        yield Child(genome, nearer, couple)

    def _couple(self, parents: Sequence[Scored], generator: np.random.Generator) -> tuple[Scored, Scored]:
        costs = np.array([one.costs for one in parents], dtype=np.float64)
        front = np.flatnonzero(front_numbers(costs) == 0)
        if len(front) == 1:
            return parents[front[0]], parents[front[0]]
        costs = scaled(costs[front])
        along = costs[:, int(generator.integers(costs.shape[1]))]
        order = np.argsort(along, kind="stable")
        gaps = np.sqrt(np.abs(np.diff(costs[order], axis=0)).prod(axis=1))
        chances = gaps / gaps.sum() if gaps.sum() > 0 else None
        place = int(generator.choice(len(gaps), p=chances))
        return parents[front[order[place]]], parents[front[order[place + 1]]]
