"""A word of caution where the scores of candidates say little: near chance, or closer together than their error."""

from __future__ import annotations

import statistics
from typing import Final

from evoprune.evaluation.reference import Reference
from evoprune.events import CandidateEvaluated, Caution, Event, GenerationEnded, Listener
from evoprune.results import Status

FEWEST: Final = 4
"""Scored candidates in a generation that something is said about."""
ERRORS: Final = 2.0
"""Standard errors above chance that are still chance."""
WAY: Final = 0.1
"""Share of the way from chance to the dense network that is still near chance."""


class ScoreWatch:
    """Listens to a search, and says each thing once.

    Args:
        reference: Scores of the dense network and of chance.
        bred_by_metric: Whether the fitness depends on the metric.
        notify: Called with each caution.
    """

    def __init__(self, reference: Reference, *, bred_by_metric: bool, notify: Listener) -> None:
        self._reference, self._bred_by_metric, self._notify = reference, bred_by_metric, notify
        self._scores: list[float] = []
        self._fitness: list[float] = []
        self._said: set[str] = set()

    def begin(self) -> None:
        """Look at the dense network: what can't be told from chance leaves nothing to keep."""
        one = self._reference
        if one.chance is not None and one.metric.gain(one.dense) <= self._near(ERRORS, way=0.0):
            self._say(
                "the dense network",
                f"it scores {one.metric.text(one.dense)} {one.metric.name} on select, no better than the same answer for "
                f"every sample ({one.metric.text(one.chance)}); train it first (training.epochs), or look at its weights",
            )

    def watch(self, event: Event) -> None:
        """Collect scores, and judge them at the end of a generation."""
        if isinstance(event, CandidateEvaluated):
            evaluation = event.evaluation
            if evaluation.status is Status.OK and "accuracy" in evaluation.objectives:
                self._scores.append(evaluation.objectives["accuracy"])
            if evaluation.status is Status.OK and event.fitness is not None:
                self._fitness.append(event.fitness)
        elif isinstance(event, GenerationEnded):
            if len(self._scores) >= FEWEST and "the dense network" not in self._said:
                self._judge(self._scores, first=event.generation == 0)
            self._judge_noise(event)
            self._scores, self._fitness = [], []

    def _judge(self, scores: list[float], *, first: bool) -> None:
        one, middle = self._reference, statistics.median(scores)
        if one.chance is not None and one.metric.gain(middle) <= self._near(ERRORS, way=WAY):
            self._say(
                "scores near chance",
                f"half of the candidates score {one.metric.text(middle)} {one.metric.name} or worse, and the same answer for "
                f"every sample {one.metric.text(one.chance)}: they can hardly be told apart; give them more fine-tuning "
                "(training.finetune_steps or finetune_epochs), or a looser bound",
            )
            return
        error, spread = one.error_at(statistics.fmean(scores)), statistics.pstdev(scores)
        if first and self._bred_by_metric and error is not None and spread < error:
            self._say(
                "scores close together",
                f"{one.metric.name} differs by {one.metric.text(spread)} among candidates (standard deviation), and is known to "
                f"{one.metric.text(error)} from {one.samples:,} samples: choices follow chance; score on more samples (a larger "
                "select set, fidelity.select_samples), or give more fine-tuning",
            )

    def _judge_noise(self, event: GenerationEnded) -> None:
        """Compare how far the better half of a first generation lies apart with what the choice of samples makes of it."""
        better = sorted(self._fitness, reverse=True)[: max(FEWEST, len(self._fitness) // 2)]
        if event.generation or event.noise is None or len(better) < FEWEST:
            return
        spread = statistics.pstdev(better)
        if spread < event.noise:
            self._say(
                "scores close together",
                f"the fitness of the better half differs by {spread:.2g} (standard deviation), and the choice of samples alone "
                f"makes {event.noise:.2g} of that: choices follow chance; take a larger select set, or train candidates "
                "for longer (search.share, training.finetune_steps)",
            )

    def _near(self, errors: float, *, way: float) -> float:
        """What is no more than chance, higher is better."""
        one = self._reference
        assert one.chance is not None
        chance, dense = one.metric.gain(one.chance), one.metric.gain(one.dense)
        return chance + max(errors * (one.error_at(one.chance) or 0.0), way * (dense - chance))

    def _say(self, what: str, detail: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._notify(Caution(what, detail))
