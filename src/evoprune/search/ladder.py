"""A genetic algorithm whose generations are rungs: fewer candidates each time, trained for longer, by inheritance."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Proposal, Representation, Scored, SearchSettings
from evoprune.search.mating import Mating, Neighbours, Tournaments
from evoprune.search.ranking import by_fitness, by_front, rank_correlation
from evoprune.search.variation import variation_of

ATTEMPTS: Final = 100
"""Children bred for one that is new."""
SURVIVING: Final = 0.5
"""Share of a generation that goes on from the one before; the rest are children of it."""
SURVIVING_OF_A_FRONT: Final = 0.625
"""The same where a whole front is searched for."""

FOLLOWED: Final = 4
"""Genomes of the control that are scored in the second generation whatever they are worth; in each one after it, half as many."""

FEWEST_JUDGED: Final = 6
"""Candidates on two rungs, by whose ranks it is decided whether the rungs predict anything."""

Ranking = Callable[[Sequence[Scored]], Sequence[Scored]]
"""Scored candidates, best first."""


class LadderSearch:
    """Survivors climb and go on from their own trained weights; children take the free places, with a parent's weights.

    A generation is a rung: all its candidates have the same training behind them in it, so that a survivor is compared with new
    children at equal terms, and no score of an earlier rung is kept. The first generation consists of the genomes that are given
    and random ones. It is successive halving (Jamieson and Talwalkar 2016) with breeding in it, and weights handed on as in
    population-based training (Jaderberg et al. 2017).

    Where the ranks on one rung say nothing of those on the next, short trainings don't tell the candidates apart: the rung after
    is left out, and twice as many get the longer training of the one that follows.

    Args:
        representation: Length, groups and repair of the genomes, and perhaps operators of their own.
        settings: Settings of the algorithm; its `sizes` are those of the generations.
        seed: Seeds everything that is random in it.
        best_first: Orders the candidates of a generation.
        mating: Breeds children of those that go on.
        surviving: Share of a generation that goes on from the one before; the rest are children of it.
    """

    def __init__(
        self,
        representation: Representation,
        settings: SearchSettings,
        *,
        seed: int,
        best_first: Ranking,
        mating: Mating,
        surviving: float = SURVIVING,
    ) -> None:
        self._representation, self._settings = representation, settings
        self._best_first, self._mating, self._surviving = best_first, mating, surviving
        self._variation = variation_of(representation, settings)
        self._generator = np.random.default_rng(seed)
        self._followed = {representation.repair(genome).digest for genome in settings.control}
        self._seen: set[str] = set()
        self._generation = 0
        self._rung = self._told_rung = 0
        self._room = 1
        self._ranked: Sequence[Scored] = ()

    def ask(self) -> Sequence[Proposal]:
        """The next generation, survivors first; empty after the last one, and when no new child can be bred."""
        if self._generation == 0:
            return self._new(self._first(), self._size)
        if self._rung > self._last_rung:
            return []
        survivors = self._survivors
        going_on = [self._going_on(one, one.genome) for one in (*survivors, *self._control(survivors))]
        children = self._new(self._children(survivors), self._size - len(going_on)) if survivors else []
        # Without an end of its own the ladder would train the last few for ever.
        return [*going_on, *children] if children or self._settings.sizes else []

    def tell(self, scored: Sequence[Scored]) -> None:
        """Costs of the batch asked last."""
        left_out = not self._predicted(scored) and self._rung + 1 < self._last_rung
        self._ranked = self._best_first(scored)
        self._generation += 1
        self._told_rung = self._rung
        self._rung += 2 if left_out else 1
        self._room = 2 if left_out else 1

    @property
    def population(self) -> Sequence[BitGenome]:
        """Those of the last generation that go on."""
        return [one.genome for one in self._survivors] if self._generation else ()

    @property
    def _size(self) -> int:
        sizes = self._settings.sizes
        return self._room * sizes[min(self._rung, self._last_rung)] if sizes else self._settings.pop_size

    @property
    def _last_rung(self) -> int:
        return len(self._settings.sizes) - 1 if self._settings.sizes else sys.maxsize

    def _predicted(self, scored: Sequence[Scored]) -> bool:
        """Whether ranks on the rung before said anything of these; true where there are too few to tell."""
        before, now = (
            {one.genome.digest: one.fitness for one in some if one.violation == 0} for some in (self._ranked, scored)
        )
        agreement = rank_correlation(before, now, fewest=FEWEST_JUDGED)
        return agreement is None or agreement > 0

    @property
    def _survivors(self) -> Sequence[Scored]:
        usable = [one for one in self._ranked if one.violation == 0] or self._ranked[:1]
        return usable[: max(1, round(self._surviving * self._size))]

    def _control(self, survivors: Sequence[Scored]) -> Sequence[Scored]:
        """The best of the genomes that are to be followed and don't go on anyway: fewer each time, one in the end."""
        known = [one for one in self._ranked if one.genome.digest in self._followed and one.violation == 0]
        followed = known[: max(1, FOLLOWED >> (self._generation - 1))]
        return [one for one in followed if one not in survivors][: self._size - len(survivors)]

    def _first(self) -> Iterator[Proposal]:
        for genome in self._settings.initial:
            yield Proposal(self._representation.repair(genome))
        while True:
            yield Proposal(self._representation.repair(self._variation.sample(self._generator)))

    def _children(self, parents: Sequence[Scored]) -> Iterator[Proposal]:
        while True:
            for child in self._mating.children(parents, self._generator):
                genome = self._representation.repair(child.genome)
                yield self._going_on(child.start, genome, child.parents)

    def _going_on(self, parent: Scored, genome: BitGenome, parents: tuple[str, ...] = ()) -> Proposal:
        start = (parent.genome.digest, self._told_rung) if self._settings.inherit else None
        return Proposal(genome, self._rung, parents, start)

    def _new(self, proposals: Iterator[Proposal], count: int) -> list[Proposal]:
        """So many of `proposals` that were never asked for; fewer where they repeat themselves."""
        found: list[Proposal] = []
        for _ in range(ATTEMPTS * max(0, count)):
            if len(found) == count:
                break
            proposal = next(proposals)
            if proposal.genome.digest not in self._seen:
                self._seen.add(proposal.genome.digest)
                found.append(proposal)
        return found


def ladder(representation: Representation, settings: SearchSettings, *, objectives: int, seed: int) -> LadderSearch:
    """The ladder for one number: the fittest climb."""
    del objectives
    mating = Tournaments(variation_of(representation, settings), settings)
    return LadderSearch(representation, settings, seed=seed, best_first=by_fitness, mating=mating)


def ladder_front(
    representation: Representation, settings: SearchSettings, *, objectives: int, seed: int
) -> LadderSearch:
    """The ladder for a front: those climb that few others beat, spread out along it."""
    del objectives
    return LadderSearch(
        representation,
        settings,
        seed=seed,
        best_first=by_front,
        mating=Neighbours(variation_of(representation, settings), settings),
        surviving=SURVIVING_OF_A_FRONT,
    )
