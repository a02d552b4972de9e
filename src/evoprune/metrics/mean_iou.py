"""Intersection over union, for segmentation."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from evoprune.errors import DataError
from evoprune.metrics.base import OfOneBatch
from evoprune.metrics.classification import class_logits
from evoprune.metrics.outputs import ignored_by


class MeanIoU(OfOneBatch):
    """Intersection over union of each class, counted over the whole set, averaged over the classes that occur.

    Args:
        ignore_index: Targets that don't count. In a `Task` with a loss that has an `ignore_index`, that one.
    """

    name: ClassVar[str] = "mean IoU"
    unit: ClassVar[str] = "%"
    maximize: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, ignore_index: int | None = None) -> None:
        self.ignore_index = ignore_index
        self._counts: Tensor | None = None

    def for_loss(self, loss: Any) -> MeanIoU:
        """The metric that leaves out what the loss leaves out."""
        return self if self.ignore_index is not None else MeanIoU(ignored_by(loss))

    def reset(self) -> None:
        """Forget everything."""
        self._counts = None

    def update(self, outputs: Any, targets: Any) -> None:
        """Count a batch: logits [n, classes, ...] and integer targets [n, ...].

        Raises:
            DataError: Outputs or targets are of another kind or shape, or a class is out of range.
        """
        logits, ignored = class_logits(outputs, targets, self.name, self.ignore_index)
        classes, indices = logits.shape[1], targets.long()
        counts = indices != ignored
        pairs = indices[counts] * classes + logits.argmax(dim=1)[counts]
        found = torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()
        self._counts = found if self._counts is None else self._counts + found

    def compute(self) -> float:
        """The mean over the classes that are among targets or answers.

        Raises:
            DataError: No position counts.
        """
        if self._counts is None or int(self._counts.sum()) == 0:
            raise DataError(f"the metric {self.name} has nothing to count: no target but ignored ones")
        both = self._counts.diagonal().double()
        either = self._counts.sum(dim=0) + self._counts.sum(dim=1) - both
        occurs = either > 0
        return float((both[occurs] / either[occurs]).mean())
