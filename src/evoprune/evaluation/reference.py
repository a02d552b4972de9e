"""What scores are read against: the dense network's, that of a constant answer, and the error of a finite sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.base import Source
from evoprune.data.batches import as_batch
from evoprune.data.task import Task
from evoprune.metrics.outputs import logits_of
from evoprune.metrics.scoring import Scorer
from evoprune.objectives.outputs import outputs_of
from evoprune.results import MetricCard

MOST_SAMPLES: Final = 2000
"""Samples that are looked at; errors are scaled to those of the whole set."""


@dataclass(frozen=True)
class Reference:
    """How to read scores on a set.

    Attributes:
        metric: Metric that the scores are of.
        dense: The dense network's.
        chance: Score of its mean output, given for every sample; None where there is no such thing.
        error: Standard error of the dense network's score; None where it can't be told.
        samples: Number of samples in the set that candidates are scored on.
    """

    metric: MetricCard
    dense: float
    chance: float | None
    error: float | None
    samples: int

    def error_at(self, value: float) -> float | None:
        """Standard error of a score: for shares of right answers it depends on the share, as a coin's does."""
        if self.error is None or not self.metric.is_share or not 0 <= value <= 1:
            return self.error
        spread = self.dense * (1 - self.dense)
        if self.error == 0 or spread <= 0:
            return math.sqrt(value * (1 - value) / max(1, self.samples))
        return self.error * math.sqrt(value * (1 - value) / spread)


def reference_of(model: nn.Module, task: Task, data: Source, *, device: torch.device, batch_size: int) -> Reference:
    """Score the dense network and its mean output on a part of `data`.

    Args:
        model: The dense network, on `device`.
        task: Gives the metric.
        data: Data that candidates are scored on.
        device: Device that the batches go to.
        batch_size: Samples per forward pass.
    """
    part, samples = data.head(MOST_SAMPLES), len(data)
    scorer, mean = Scorer(task.metric, device), _Mean()
    with torch.inference_mode():
        for batch in outputs_of(model, part, device=device, batch_size=batch_size):
            outputs, targets = batch
            scorer.add(outputs, targets, batch.samples)
            mean.add(logits_of(outputs), batch.samples)
        error = scorer.standard_error()
        error = None if error is None else error * math.sqrt(min(1.0, mean.samples / max(1, samples)))
        chance = None if mean.value is None else _score_of(mean.value, task, part, device, batch_size)
        return Reference(task.card, scorer.value(), chance, error, samples)


def _score_of(answer: Tensor, task: Task, data: Source, device: torch.device, batch_size: int) -> float | None:
    """The metric of one answer to everything; None where the metric can't take it, or it is no number."""
    scorer = Scorer(task.metric, device)
    try:
        for pair in data.batches(batch_size, device=device):
            batch = as_batch(pair)
            _, targets = batch
            scorer.add(answer.expand(batch.samples, *answer.shape), targets, batch.samples)
        value = scorer.value()
    except Exception:  # a user's metric may need outputs of another kind, and this is only for a word of caution
        return None
    return value if math.isfinite(value) else None


class _Mean:
    """The mean output of a sample, as long as all outputs have one shape and their samples first."""

    def __init__(self) -> None:
        self.samples = 0
        self._sum: Tensor | None = None
        self._known = True

    def add(self, outputs: Any, samples: int) -> None:
        """Take in a batch."""
        self.samples += samples
        fits = (
            isinstance(outputs, Tensor)
            and outputs.is_floating_point()
            and outputs.dim() > 0
            and len(outputs) == samples
        )
        if fits and self._sum is not None:
            fits = self._sum.shape == outputs.shape[1:]
        self._known = self._known and fits
        if self._known:
            total = outputs.double().sum(dim=0)
            self._sum = total if self._sum is None else self._sum + total

    @property
    def value(self) -> Tensor | None:
        """None where there is none."""
        return (self._sum / self.samples).float() if self._known and self._sum is not None else None
