"""Random search: the yardstick that every evolved result has to beat at equal compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Representation, Scored, SearchSettings
from evoprune.search.operators import sample

ATTEMPTS = 100


class RandomSearch:
    """Independent samples, never the same twice, in batches of `pop_size`."""

    def __init__(self, representation: Representation, settings: SearchSettings, *, objectives: int, seed: int) -> None:
        del objectives
        self._representation = representation
        self._pop_size = settings.pop_size
        self._keep_range = settings.initial_keep
        self._generator = np.random.default_rng(seed)
        self._seen: set[str] = set()
        self._population: Sequence[BitGenome] = ()

    def ask(self) -> Sequence[BitGenome]:
        """The next batch; shorter, at last empty, when nearly every genome was tried."""
        batch: list[BitGenome] = []
        for _ in range(ATTEMPTS * self._pop_size):
            if len(batch) == self._pop_size:
                break
            genome = sample(self._representation, self._keep_range, self._generator)
            if genome.digest not in self._seen:
                self._seen.add(genome.digest)
                batch.append(genome)
        return batch

    def tell(self, scored: Sequence[Scored]) -> None:
        """Nothing is learnt; the batch becomes the population that reports look at."""
        self._population = [one.genome for one in scored]

    @property
    def population(self) -> Sequence[BitGenome]:
        """The batch told last."""
        return self._population
