"""The task's metric on a data set, of all samples or of the class where it is worst."""

from __future__ import annotations

import torch
from torch import nn

from evoprune.data.base import Source
from evoprune.metrics.base import Metric
from evoprune.objectives.base import Subject
from evoprune.objectives.outputs import outputs_of
from evoprune.objectives.scores import score_outputs
from evoprune.rng import isolated_rng


class Accuracy:
    """The task's metric, true to its sign; top-1 accuracy, 0 to 1, unless the task says otherwise.

    Args:
        maximize: Whether higher is better.
    """

    name = "accuracy"
    needs_training = True

    def __init__(self, *, maximize: bool = True) -> None:
        self.maximize = maximize

    def measure(self, subject: Subject) -> float:
        """The metric over all samples of the subject's data."""
        return subject.scores.value


class WorstClassAccuracy:
    """The task's metric over the samples of the class where it is worst, for targets that are classes.

    Args:
        maximize: Whether higher is better.
    """

    name = "worst_class_accuracy"
    needs_training = True

    def __init__(self, *, maximize: bool = True) -> None:
        self.maximize = maximize

    def measure(self, subject: Subject) -> float:
        """The metric's mean over the samples of one class."""
        return subject.worst_class


def score(model: nn.Module, source: Source, metric: Metric, *, device: torch.device, batch_size: int) -> float:
    """Metric of `model` over `source`, in eval mode; the model's mode is restored.

    Args:
        model: Network on `device`.
        source: Samples to judge by.
        metric: `metric(outputs, targets)` -> a value per sample, or their mean as a scalar; or a `SetMetric`.
        device: Device that the batches go to.
        batch_size: Samples per forward pass; the value does not depend on it.

    Returns:
        The mean, summed in float64, so that counts of right answers are exact; or what the metric computes of the set.

    Raises:
        DataError: The source yields no sample, or the metric gives no number.
    """
    with isolated_rng(0):
        return score_outputs(outputs_of(model, source, device=device, batch_size=batch_size), metric).value
