"""Numbers that are to be met."""

from __future__ import annotations

from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from evoprune.errors import DataError
from evoprune.metrics.base import OfOneBatch
from evoprune.metrics.classification import paired
from evoprune.metrics.outputs import kind_of


class R2(OfOneBatch):
    """Share of the targets' variance in the whole set that is explained; 1 is perfect, 0 as good as their mean.

    Of several outputs, the mean of what each explains.
    """

    name: ClassVar[str] = "R²"
    unit: ClassVar[str] = ""
    maximize: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-inf, 1.0)

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._samples = 0
        self._mean: Tensor | None = None
        self._spread: Tensor | None = None
        self._missed: Tensor | None = None

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in a batch: outputs and targets [n], [n, 1] or [n, k].

        Raises:
            DataError: They are of other shapes, or the targets are class indices of a network with several outputs.
        """
        values, wanted = paired(outputs, targets, self.name)
        if values.dim() not in (1, 2):
            raise DataError(f"the metric {self.name} takes outputs [n] or [n, k], not {kind_of(values)}")
        values, wanted = (one.detach().double().cpu().view(len(one), -1) for one in (values, wanted))
        missed, mean = (wanted - values).square().sum(dim=0), wanted.mean(dim=0)
        spread = (wanted - mean).square().sum(dim=0)
        if self._mean is None or self._spread is None or self._missed is None:
            self._samples, self._mean, self._spread, self._missed = len(wanted), mean, spread, missed
            return
        # Chan et al. 1979: about the mean of both parts, without the cancellation of a sum of squares.
        together, apart = self._samples + len(wanted), mean - self._mean
        self._spread = self._spread + spread + apart.square() * (self._samples * len(wanted) / together)
        self._mean = self._mean + apart * (len(wanted) / together)
        self._samples, self._missed = together, self._missed + missed

    def compute(self) -> float:
        """One minus what is missed over the spread.

        Raises:
            DataError: The targets don't vary: there is nothing to explain.
        """
        if self._spread is None or self._missed is None or bool((self._spread == 0).any()):
            raise DataError(
                f"the metric {self.name} needs targets that vary, in every output",
                "use mean_squared_error, or more samples",
            )
        return float((1 - self._missed / self._spread).mean())


def squared_errors(outputs: Any, targets: Any) -> Tensor:
    """[n] squared errors, each the mean over a sample's outputs."""
    return _per_sample((torch.subtract(*_numbers(outputs, targets, "mean squared error"))).square())


def absolute_errors(outputs: Any, targets: Any) -> Tensor:
    """[n] absolute errors, each the mean over a sample's outputs."""
    return _per_sample((torch.subtract(*_numbers(outputs, targets, "mean absolute error"))).abs())


def _numbers(outputs: Any, targets: Any, name: str) -> tuple[Tensor, Tensor]:
    values, wanted = paired(outputs, targets, name)
    return values.double(), wanted.double()


def _per_sample(values: Tensor) -> Tensor:
    return values.flatten(1).mean(dim=1) if values.dim() > 1 else values
