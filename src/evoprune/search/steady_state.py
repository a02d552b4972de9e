"""A genetic algorithm without generations: a child is bred from whoever is there, and competes as soon as it is scored.

Our own rather than pymoo's, which sorts its whole population for every child: at a population of 1,000 that took a hundred times
as long as this does.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Proposal, Representation, Scored, SearchSettings
from evoprune.search.variation import variation_of

ATTEMPTS: Final = 100
"""Genomes made for one that is new."""


class SteadyStateSearch:
    """Breeds one child at a time, which takes the place of the least fit (Whitley 1989, GENITOR).

    Asked by `ask_one`, it doesn't wait: children are bred from those that have been scored so far (Scott and De Jong 2015,
    "Understanding simple asynchronous evolutionary algorithms"). The first `pop_size` genomes are drawn at random, and more of
    them as long as nothing has been told.

    Args:
        representation: Length, groups and repair of the genomes.
        settings: Settings of the algorithm; `elitism` has no meaning here, the best always stay.
        objectives: Unused; this search breeds by fitness.
        seed: Seeds everything that is random in it.
    """

    def __init__(self, representation: Representation, settings: SearchSettings, *, objectives: int, seed: int) -> None:
        del objectives
        self._representation, self._settings = representation, settings
        self._variation = variation_of(representation, settings)
        self._generator = np.random.default_rng(seed)
        self._first = iter(dict.fromkeys(representation.repair(genome) for genome in settings.initial))
        self._seen: set[str] = set()
        self._asked = 0
        self._outstanding: set[str] = set()
        self._ranked: list[Scored] = []

    def ask(self) -> Sequence[Proposal]:
        """The first population, then one child after the other; empty when no new one can be bred."""
        wanted = max(1, self._settings.pop_size - self._asked)
        return [one for one in (self.ask_one() for _ in range(wanted)) if one is not None]

    def tell(self, scored: Sequence[Scored]) -> None:
        """Costs of what was asked last."""
        for one in scored:
            self.tell_one(one)

    def ask_one(self) -> Proposal | None:
        """A random genome, or a child of two of the population."""
        for _ in range(ATTEMPTS):
            for proposal in self._made():
                digest = proposal.genome.digest
                if digest not in self._seen:
                    self._seen.add(digest)
                    self._outstanding.add(digest)
                    self._asked += 1
                    return proposal
        return None

    def tell_one(self, scored: Scored) -> None:
        """Let a genome compete for a place in the population; of equals, the older one stays."""
        if scored.genome.digest not in self._outstanding:
            raise ValueError("tell needs a genome that was asked for and not told yet")
        self._outstanding.remove(scored.genome.digest)
        insort(self._ranked, scored, key=_rank)
        del self._ranked[self._settings.pop_size :]

    @property
    def population(self) -> Sequence[BitGenome]:
        """The best that have been told, best first."""
        return [one.genome for one in self._ranked]

    def _made(self) -> Iterator[Proposal]:
        """One random genome, or two children of one pair."""
        if self._asked < self._settings.pop_size or not self._ranked:
            first = next(self._first, None)
            yield Proposal(first or self._variation.sample(self._generator))
            return
        pair = self._winner(), self._winner()
        parents = tuple(dict.fromkeys(one.digest for one in pair))
        if self._generator.random() < self._settings.crossover_rate:
            pair = self._variation.cross(*pair, self._generator)
        for child in pair:
            mutated = self._variation.mutate(child, self._generator)
            yield Proposal(self._representation.repair(mutated), parents=parents)

    def _winner(self) -> BitGenome:
        """The best of a few drawn at random: they stand in order."""
        drawn = self._generator.integers(len(self._ranked), size=self._settings.tournament_size)
        return self._ranked[int(drawn.min())].genome


def _rank(scored: Scored) -> tuple[float, float]:
    return scored.violation, -scored.fitness
