"""The loss as a metric, where nothing else says how good a network is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar

from torch import Tensor

from evoprune.errors import DataError
from evoprune.metrics.losses import Loss, loss_value


@dataclass(frozen=True)
class NegativeLoss:
    """The task's loss with its sign turned, so that higher is better; the mean over batches, weighted by their samples.

    Attributes:
        loss: The task's own when None.
    """

    loss: Loss | None = None
    name: ClassVar[str] = "negative loss"
    unit: ClassVar[str] = ""
    maximize: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-inf, inf)

    def for_loss(self, loss: Any) -> NegativeLoss:
        """The metric of this loss, unless it has one of its own."""
        return self if self.loss is not None else replace(self, loss=loss)

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """A scalar for a batch.

        Raises:
            DataError: There is no loss, or it gives no number.
        """
        if self.loss is None:
            raise DataError(
                "the metric negative loss has no loss", "pass it to a Task, or evoprune.metrics.NegativeLoss(loss)"
            )
        return -loss_value(self.loss, outputs, targets).detach()
