"""How large the generations of a ladder are, and how much each candidate is trained in them, within a share of the compute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

TRAINING_COST: Final = 3
"""Forward passes that a training step is worth, per sample: one forward, two backward."""
SCORING_SHARE: Final = 0.15
"""Share of a candidate's compute that goes into its score, up to the whole select set: what few samples leave uncertain is far
less than how far candidates of one budget lie apart."""
SCORING_SHARE_OF_A_FRONT: Final = 1 / 3
"""The same where neighbours on a front are to be told apart."""
FEWEST_SCORED: Final = 500
FEWEST_STEPS: Final = 8
FEWEST_GENERATIONS: Final = 3
FEWEST_CANDIDATES: Final = 8
LAST_SIZE: Final = 4
"""Candidates of the last generation, where generations shrink."""
FEWEST_OF_A_FRONT: Final = 24
"""Candidates of each generation whose last one is a front to choose from."""
LAST_RATE: Final = 0.05
"""Share of the peak learning rate that is left on the last rung, where candidates learn as in retraining.

All steps of a candidate are one training, cut into rungs. At a low rate deep cuts have no time to recover, and those that disturb
least win over those that come furthest; at a high one each rung disturbs networks that lost little by more than they differ.
"""
LAST_RATE_OF_A_FRONT: Final = 0.2
"""The same for a front, most of which lost little: it begins at the lower rate of fine-tuning."""


@dataclass(frozen=True)
class Rung:
    """One generation of a ladder.

    Attributes:
        candidates: Number of candidates.
        steps: Optimisation steps of each.
        scored: Samples of the select set that each is scored on.
        rate: Share of the peak learning rate.
        as_retraining: Whether the optimiser and its peak rate are those of the last retraining, or of fine-tuning.
    """

    candidates: int
    steps: int
    scored: int
    rate: float = 1.0
    as_retraining: bool = False

    def passes(self, batch_size: int) -> int:
        """Forward passes of single samples that the generation is worth."""
        return self.candidates * (TRAINING_COST * self.steps * batch_size + self.scored)


@dataclass(frozen=True)
class LadderShape:
    """What a ladder is to look like.

    Attributes:
        pop_size: Candidates of the first generation.
        generations: Number of generations.
        shrinks: Whether each generation has fewer candidates than the one before; where none has, the last one is a front.
        share: Share of all compute that the search may take, the rest being the last retraining.
        steps: Steps of each candidate of the first generation; None where `share` decides.
    """

    pop_size: int
    generations: int
    shrinks: bool
    share: float
    steps: int | None = None

    def rungs(self, *, retraining: float, batch_size: int, select: int) -> tuple[Rung, ...]:
        """The generations, which all take about as much compute; where that is little, there are fewer, of fewer candidates.

        Args:
            retraining: Samples that the last retraining takes.
            batch_size: Samples per step.
            select: Samples of the select set.
        """
        if self.steps is not None:
            sizes = self._sizes(self.pop_size, self.generations)
            rates = self._rates(self.generations)
            return tuple(
                Rung(size, round(self.steps * sizes[0] / size), select, rate, as_retraining=self.shrinks)
                for size, rate in zip(sizes, rates, strict=True)
            )
        passes = self.share / (1 - self.share) * TRAINING_COST * retraining
        generations, pop_size = self.generations, self.pop_size
        least = (
            min(FEWEST_GENERATIONS, generations),
            min(FEWEST_CANDIDATES if self.shrinks else FEWEST_OF_A_FRONT, pop_size),
        )
        rungs = self._spread(passes, pop_size, generations, batch_size, select)
        while rungs[0].steps < FEWEST_STEPS and (generations, pop_size) != least:
            generations, pop_size = max(least[0], generations - 1), max(least[1], round(0.85 * pop_size))
            rungs = self._spread(passes, pop_size, generations, batch_size, select)
        return tuple(replace(rung, steps=max(FEWEST_STEPS, rung.steps)) for rung in rungs)

    def _spread(self, passes: float, pop_size: int, generations: int, batch_size: int, select: int) -> tuple[Rung, ...]:
        share = SCORING_SHARE if self.shrinks else SCORING_SHARE_OF_A_FRONT
        rungs = []
        for size, rate in zip(self._sizes(pop_size, generations), self._rates(generations), strict=True):
            each = passes / generations / size
            scored = min(select, max(FEWEST_SCORED, round(share * each)))
            steps = int((each - scored) / (TRAINING_COST * batch_size))
            rungs.append(Rung(size, steps, scored, rate, as_retraining=self.shrinks))
        return tuple(rungs)

    def _rates(self, generations: int) -> tuple[float, ...]:
        rates = np.linspace(1.0, LAST_RATE if self.shrinks else LAST_RATE_OF_A_FRONT, num=generations)
        return tuple(round(float(rate), 4) for rate in rates)

    def _sizes(self, pop_size: int, generations: int) -> tuple[int, ...]:
        last = min(LAST_SIZE, pop_size) if self.shrinks else pop_size
        return tuple(round(size) for size in np.geomspace(pop_size, last, num=generations))
