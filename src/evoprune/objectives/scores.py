"""The task's metric and loss over the outputs of a network on a set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evoprune.data.batches import as_batch
from evoprune.data.trees import tensors_in
from evoprune.errors import DataError, MeasurementError
from evoprune.metrics.base import Metric, card_of
from evoprune.metrics.losses import Loss, as_given, loss_value
from evoprune.metrics.outputs import are_classes
from evoprune.metrics.scoring import Scorer

Outputs = Iterable[Any]
"""Pairs (outputs, targets), each a `Batch` or one that can be counted like it."""


@dataclass(frozen=True)
class Scores:
    """What a metric says of a set.

    Attributes:
        value: The metric, as `Scorer.value` gives it.
        maximize: Whether more of it is better.
        each: [n] float64, a value per sample, in the order of the set; None where the metric gives none.
    """

    value: float
    maximize: bool
    each: Tensor | None
    _rows: list[tuple[Tensor, Tensor]] | None

    def worst_class(self, ignored: int) -> float:
        """The metric's mean over the samples of the class where it is worst.

        Args:
            ignored: The target that doesn't count.

        Raises:
            MeasurementError: The targets are no classes, or the metric gives no value per sample.
        """
        rows = [_by_class(values, targets, ignored) for values, targets in self._rows or ()]
        known = [row for row in rows if row is not None]
        if not known or len(known) < len(rows) or not sum(row.shape[1] for row in known):
            raise MeasurementError(
                "there is no worst class: targets are no classes, or the metric is no value per sample"
            )
        classes, values = torch.cat(known, dim=1)
        _, members, counts = classes.unique(return_inverse=True, return_counts=True)
        sums = torch.zeros(len(counts), dtype=torch.float64, device=values.device).index_add_(0, members, values)
        means = sums / counts
        return float(means.min() if self.maximize else means.max())


def score_outputs(outputs: Outputs, metric: Metric) -> Scores:
    """Score a network by its outputs.

    Args:
        outputs: Pairs (outputs, targets) per batch, in evaluation mode.
        metric: Function of outputs and targets.

    Raises:
        DataError: There is no output, or the metric gives no number.
    """
    scorer: Scorer | None = None
    rows: list[tuple[Tensor, Tensor]] | None = []
    each: list[Tensor] | None = []
    with torch.inference_mode():
        for pair in outputs:
            batch = as_batch(pair)
            output, targets = batch
            scorer = scorer or Scorer(metric, _first_device(output))
            values = scorer.add(output, targets, batch.samples)
            each = _with_each(each, values, batch.samples)
            per_class = values is not None and are_classes(targets) and targets.dim() == 1
            rows = [*rows, (values, targets)] if per_class and rows is not None and values is not None else None
        if scorer is None:
            raise DataError("the data set to score on yields no sample")
        return Scores(scorer.value(), card_of(metric).maximize, torch.cat(each) if each else None, rows)


@dataclass(frozen=True)
class Losses:
    """A loss over a set.

    Attributes:
        mean: Mean over all samples.
        gap: Half of what the mean over every other batch is above that over the batches between: candidates scored on the same
            samples differ in it as their means differ by the choice of these. 0 where there is one batch.
    """

    mean: float
    gap: float


def losses_of(outputs: Outputs, loss: Loss) -> Losses:
    """Mean over the samples of a loss that gives the mean of a batch.

    Raises:
        DataError: There is no output, or the loss gives no number.
    """
    own, totals, samples, turn = as_given(loss), [0.0, 0.0], [0, 0], 0
    with torch.inference_mode():
        for pair in outputs:
            batch = as_batch(pair)
            totals[turn] += float(loss_value(own, *batch)) * batch.samples
            samples[turn] += batch.samples
            turn = 1 - turn
    if not samples[0]:
        raise DataError("the data set to score on yields no sample")
    gap = (totals[0] / samples[0] - totals[1] / samples[1]) / 2 if samples[1] else 0.0
    return Losses(sum(totals) / sum(samples), gap)


def _with_each(each: list[Tensor] | None, values: Tensor | None, samples: int) -> list[Tensor] | None:
    """Values per sample with those of another batch; None once a batch has none."""
    if each is None or values is None or values.dim() == 0 or len(values) != samples:
        return None
    return [*each, values.double().reshape(samples, -1).mean(dim=1)]


def _first_device(tree: Any) -> torch.device | None:
    return next((tensor.device for tensor in tensors_in(tree)), None)


def _by_class(values: Tensor, targets: Tensor, ignored: int) -> Tensor | None:
    """[2, n] float64, classes and values of the samples that count; None where they don't pair up."""
    if values.shape != targets.shape:
        targets = targets[targets.long() != ignored]
    return torch.stack([targets.double(), values.double()]) if values.shape == targets.shape else None
