"""The task's metric on a data set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from evoprune.errors import DataError
from evoprune.objectives.base import Subject
from evoprune.sources.base import Source
from evoprune.space.calling import call_model
from evoprune.task import Metric


class Accuracy:
    """Mean of the task's metric; top-1 accuracy, 0 to 1, unless the task says otherwise."""

    name = "accuracy"
    maximize = True
    needs_training = True

    def measure(self, subject: Subject) -> float:
        """The mean over all samples of the subject's data."""
        return score(subject.model, subject.data, subject.metric, device=subject.device, batch_size=subject.batch_size)


def score(model: nn.Module, source: Source, metric: Metric, *, device: torch.device, batch_size: int) -> float:
    """Mean metric of `model` over `source`, in eval mode; the model's mode is restored.

    Args:
        model: Network on `device`.
        source: Samples to judge by.
        metric: `metric(outputs, targets)` -> a value per sample, or their mean as a scalar.
        device: Where the batches go.
        batch_size: Samples per forward pass; the mean does not depend on it.

    Returns:
        The mean, summed in float64, so that counts of right answers are exact.

    Raises:
        DataError: The source yields no sample.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    total, samples = 0.0, 0
    try:
        with torch.inference_mode():
            for inputs, targets in source.batches(batch_size, device=device):
                value, size = summed(metric(call_model(model, inputs), targets), len(targets))
                total += value
                samples += size
    finally:
        for module, training in modes:
            module.training = training
    if samples == 0:
        raise DataError("the data set to score on yields no sample")
    return total / samples


def summed(value: Tensor | float, size: int) -> tuple[float, int]:
    """Sum of what a metric gave for a batch of `size` samples, and how many values that is: one for each, or their mean."""
    if isinstance(value, Tensor) and value.dim() > 0:
        return float(value.double().sum()), value.numel()
    return float(value) * size, size
