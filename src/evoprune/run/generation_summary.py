"""Generations in figures: how fit, how far their scores can be trusted, how much of the front they cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.events import GenerationEnded
from evoprune.objectives.loss import LossGap
from evoprune.results import Evaluation, Status
from evoprune.run.candidate_scores import CandidateScores
from evoprune.search.base import Search
from evoprune.search.diversity import mean_hamming_distance
from evoprune.search.pareto import hypervolume
from evoprune.search.ranking import FEWEST_RANKED, rank_correlation
from evoprune.store.journal import JournalEntry

WORTH_TELLING_APART: Final = 0.5
"""Best share of a generation, whose scores selection depends on."""


@dataclass
class GenerationSummaries:
    """Sums up one generation after the other.

    Attributes:
        scores: Says what evaluations are worth.
    """

    scores: CandidateScores
    _fitness: dict[str, float] = field(default_factory=dict)
    _elite: str | None = None
    _box: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def of(self, generation: int, entries: Sequence[JournalEntry], search: Search) -> GenerationEnded:
        """A generation in figures, of which the search has been told.

        Args:
            generation: Number of the generation.
            entries: Its entries of the journal.
            search: The search.
        """
        usable = sorted(
            (one for one in entries if one.evaluation.status is Status.OK and one.fitness is not None),
            key=lambda one: -_fitness(one),
        )
        fitness = {one.evaluation.genome: _fitness(one) for one in usable}
        population = search.population
        event = GenerationEnded(
            generation=generation,
            best_fitness=max(fitness.values(), default=None),
            mean_fitness=float(np.mean([*fitness.values()])) if fitness else None,
            best=usable[0].evaluation.objectives if usable else {},
            hypervolume=self._hypervolume(usable),
            diversity=mean_hamming_distance(population) if len(population) > 1 else None,
            noise=self._noise(usable),
            elite_fitness=None if self._elite is None else fitness.get(self._elite, self._fitness[self._elite]),
            rank_correlation=rank_correlation(self._fitness, fitness),
        )
        self._remember(fitness)
        return event

    def _remember(self, fitness: dict[str, float]) -> None:
        """Keep the latest score of each genome, and who is best."""
        self._fitness |= fitness
        known = (
            fitness
            if self._elite is None or self._elite in fitness
            else {self._elite: self._fitness[self._elite], **fitness}
        )
        if known:
            self._elite = max(known, key=lambda genome: known[genome])

    def _noise(self, usable: Sequence[JournalEntry]) -> float | None:
        """Standard error of differences in fitness among the better candidates, from what two halves of the samples say."""
        better = usable[: max(FEWEST_RANKED, round(WORTH_TELLING_APART * len(usable)))]
        gaps = [self._gap(one.evaluation) for one in better]
        known = [gap for gap in gaps if gap is not None]
        return float(np.std(known, ddof=1)) if len(known) >= FEWEST_RANKED else None

    def _gap(self, evaluation: Evaluation) -> float | None:
        values = evaluation.objectives
        if LossGap.name not in values or "loss" not in values:
            return None
        shifted = replace(evaluation, objectives={**values, "loss": values["loss"] + values[LossGap.name]})
        return self.scores.fitness_of(shifted) - self.scores.fitness_of(evaluation)

    def _hypervolume(self, usable: Sequence[JournalEntry]) -> float | None:
        """Volume that the generation's front covers, as a multiple of the box around the first generation."""
        if self.scores.objectives < 2 or not usable:
            return None
        costs = np.array([self.scores.costs_of(one.evaluation) for one in usable])
        if self._box is None:
            self._box = costs.min(axis=0), costs.max(axis=0)
        best, worst = self._box
        if (worst <= best).any():
            return None
        return hypervolume((costs - best) / (worst - best), np.ones(costs.shape[1]))


def _fitness(entry: JournalEntry) -> float:
    assert entry.fitness is not None
    return entry.fitness
