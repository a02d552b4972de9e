"""Members that go on from their own results: each round the worse half is replaced by mutants of the better half."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Proposal, Representation, Scored, SearchSettings
from evoprune.search.variation import variation_of

ATTEMPTS: Final = 100
"""Mutants made for one that is new in its round."""


class PopulationSearch:
    """Population-based training (Jaderberg et al. 2017, arXiv:1711.09846) as a `Search`.

    Every round is a fidelity of its own. A proposal has one parent, the member of the round before whose results it goes on
    from: itself for a survivor, whose genome stays, or a better one for a mutant.

    Args:
        representation: Length, repair and operators of the genomes.
        settings: `pop_size` members, of which `initial` are the first ones.
        seed: Seeds everything that is random in it.
    """

    def __init__(self, representation: Representation, settings: SearchSettings, *, seed: int) -> None:
        self._variation, self._representation = variation_of(representation, settings), representation
        self._generator = np.random.default_rng(seed)
        self._size, self._round = settings.pop_size, 0
        self._next: list[tuple[BitGenome, str | None]] = []
        for genome in settings.initial[: self._size]:
            self._add(representation.repair(genome), None)
        while len(self._next) < self._size and self._add_new(None):
            pass

    def ask(self) -> Sequence[Proposal]:
        """The members of the next round."""
        return [Proposal(genome, self._round, () if parent is None else (parent,)) for genome, parent in self._next]

    def tell(self, scored: Sequence[Scored]) -> None:
        """Let the better half survive, and fill up with mutants of it, of the best first."""
        ranked = sorted(scored, key=lambda one: (one.violation, -one.fitness))
        survivors = [one.genome for one in ranked[: max(1, (self._size + 1) // 2)]]
        self._round, self._next = self._round + 1, []
        for genome in survivors:
            self._add(genome, genome.digest)
        for number in range(self._size - len(survivors)):
            self._add_new(survivors[number % len(survivors)])

    @property
    def population(self) -> Sequence[BitGenome]:
        """The members of the next round; empty before the first `tell`."""
        return [genome for genome, _ in self._next] if self._round else ()

    def _add(self, genome: BitGenome, parent: str | None) -> bool:
        if genome in [one for one, _ in self._next]:
            return False
        self._next.append((genome, parent))
        return True

    def _add_new(self, parent: BitGenome | None) -> bool:
        """One more member: a mutant of `parent`, or a sample where there is none; False where none is new."""
        for _ in range(ATTEMPTS):
            made = (
                self._variation.sample(self._generator)
                if parent is None
                else self._variation.mutate(parent, self._generator)
            )
            if self._add(self._representation.repair(made), None if parent is None else parent.digest):
                return True
        return False
