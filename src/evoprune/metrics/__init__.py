"""Ready-made metrics, and how to bring your own.

A metric is a function of outputs and targets that gives one value per sample, or their mean; or, where the number is about a
whole set, an object with `update`, `compute` and `reset`, as torchmetrics has them. `Task(metric=...)` takes either, or the name
of one below.
"""

from typing import Final

from evoprune.metrics.base import PerSample, SetMetric, card_of
from evoprune.metrics.classification import Accuracy, BinaryAccuracy, MultilabelAccuracy
from evoprune.metrics.mean_iou import MeanIoU
from evoprune.metrics.negative_loss import NegativeLoss
from evoprune.metrics.regression import R2, absolute_errors, squared_errors
from evoprune.results import MetricCard

accuracy: Final = Accuracy()
"""Top-1: argmax over dimension 1 against class indices."""
binary_accuracy: Final = BinaryAccuracy()
"""Yes or no: logits [n], [n, 1] or [n, ...] against targets of 0 and 1."""
multilabel_accuracy: Final = MultilabelAccuracy()
"""Share of right labels per sample: logits [n, labels] against targets of 0 and 1."""
mean_iou: Final = MeanIoU()
"""Intersection over union of a class in the whole set, averaged over the classes."""
r2: Final = R2()
"""Share of the targets' variance in the whole set that is explained."""
mean_squared_error: Final = PerSample(squared_errors, "mean squared error", maximize=False, bounds=(0.0, float("inf")))
"""Lower is better."""
mean_absolute_error: Final = PerSample(
    absolute_errors, "mean absolute error", maximize=False, bounds=(0.0, float("inf"))
)
"""Lower is better."""
negative_loss: Final = NegativeLoss()
"""The task's loss with its sign turned."""

__all__ = [
    "R2",
    "Accuracy",
    "BinaryAccuracy",
    "MeanIoU",
    "MetricCard",
    "MultilabelAccuracy",
    "NegativeLoss",
    "PerSample",
    "SetMetric",
    "accuracy",
    "binary_accuracy",
    "card_of",
    "mean_absolute_error",
    "mean_iou",
    "mean_squared_error",
    "multilabel_accuracy",
    "negative_loss",
    "r2",
]
