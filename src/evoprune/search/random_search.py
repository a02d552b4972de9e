"""Random search: the baseline that every evolved result has to beat at equal compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Proposal, Representation, Scored, SearchSettings
from evoprune.search.variation import variation_of

ATTEMPTS = 100


class RandomSearch:
    """Independent samples, never the same twice, in batches of `pop_size`."""

    def __init__(self, representation: Representation, settings: SearchSettings, *, objectives: int, seed: int) -> None:
        del objectives
        self._variation = variation_of(representation, settings)
        self._pop_size = settings.pop_size
        self._generator = np.random.default_rng(seed)
        self._seen: set[str] = set()
        self._outstanding: set[str] = set()
        self._population: Sequence[BitGenome] = ()

    def ask(self) -> Sequence[Proposal]:
        """The next batch; shorter, at last empty, when nearly every genome was tried."""
        batch: list[Proposal] = []
        for _ in range(ATTEMPTS * self._pop_size):
            if len(batch) == self._pop_size:
                break
            batch += self._drawn()
        return batch

    def tell(self, scored: Sequence[Scored]) -> None:
        """Nothing is learnt; the batch becomes the population that reports look at."""
        self._population = [one.genome for one in scored]

    def ask_one(self) -> Proposal | None:
        """One more sample; None when nearly every genome was tried."""
        proposal = next((one for _ in range(ATTEMPTS) for one in self._drawn()), None)
        if proposal is not None:
            self._outstanding.add(proposal.genome.digest)
        return proposal

    def tell_one(self, scored: Scored) -> None:
        """Nothing is learnt; the latest `pop_size` are the population that reports look at."""
        if scored.genome.digest not in self._outstanding:
            raise ValueError("tell needs a genome that was asked for and not told yet")
        self._outstanding.remove(scored.genome.digest)
        self._population = [*self._population, scored.genome][-self._pop_size :]

    @property
    def population(self) -> Sequence[BitGenome]:
        """What was told last."""
        return self._population

    def _drawn(self) -> list[Proposal]:
        """A sample, or nothing where it was drawn before."""
        genome = self._variation.sample(self._generator)
        if genome.digest in self._seen:
            return []
        self._seen.add(genome.digest)
        return [Proposal(genome)]
