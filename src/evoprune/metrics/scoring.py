"""One scoring: batches go in, one number comes out, with what chance may make of it."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from evoprune.errors import DataError
from evoprune.metrics.base import Metric, SetMetric, card_of, number_of
from evoprune.metrics.outputs import kind_of


class Scorer:
    """Takes in a set batch by batch; the metric itself is left as it is.

    Args:
        metric: A function of outputs and targets, or a `SetMetric`.
        device: Device of the outputs.
    """

    def __init__(self, metric: Metric, device: torch.device | None = None) -> None:
        self._metric = metric
        self._name = card_of(metric).name
        self._of_set = _fresh(metric, device) if isinstance(metric, SetMetric) else None
        self._total, self._values, self._samples = 0.0, 0, 0
        self._spread = _Spread()

    def add(self, outputs: Any, targets: Any, samples: int) -> Tensor | None:
        """Take in a batch of so many samples.

        Returns:
            A value per sample or position; None where the metric gives one number for the batch, or for the set.

        Raises:
            DataError: The metric gives something else than numbers.
        """
        self._samples += samples
        if self._of_set is not None:
            self._of_set.update(outputs, targets)
            return None
        assert callable(self._metric)
        value = self._metric(outputs, targets)
        if isinstance(value, list) and all(isinstance(one, (int, float)) for one in value):
            value = torch.tensor(value)
        if getattr(value, "ndim", 0) == 0:
            number = number_of(value, f"the metric {self._name}")
            self._total += number * samples
            self._values += samples
            self._spread.add_mean(number, samples)
            return None
        values = _numbers(torch.as_tensor(value), self._name)
        self._total += float(values.double().sum())
        self._values += values.numel()
        self._spread.add_values(values, samples)
        return values

    def value(self) -> float:
        """The mean over all values, summed in float64 so that counts are exact; or what the metric says of the set.

        Raises:
            DataError: There was no sample, or the metric gives something else than a number.
        """
        if self._samples == 0 or (self._of_set is None and self._values == 0):
            raise DataError("the data set to score on yields no sample")
        if self._of_set is not None:
            return number_of(self._of_set.compute(), f"compute() of the metric {self._name}")
        return self._total / self._values

    def standard_error(self) -> float | None:
        """How far off the value may be because the set is a sample: one standard error; None where that can't be told."""
        return None if self._of_set is not None else self._spread.standard_error()


class _Spread:
    """How values vary from sample to sample, or means from batch to batch."""

    def __init__(self) -> None:
        self._samples = self._values = self._batches = 0
        self._sum = self._squares = 0.0
        self._means: list[tuple[float, int]] = []

    def add_values(self, values: Tensor, samples: int) -> None:
        """A value per sample, or several, which are not independent: their mean counts where it is clear whose they are."""
        each = values.double()
        if each.dim() > 1 and len(each) == samples:
            each = each.flatten(1).mean(dim=1)
        self._samples += samples
        self._values += each.numel()
        self._sum += float(each.sum())
        self._squares += float(each.square().sum())

    def add_mean(self, mean: float, samples: int) -> None:
        """The mean over a batch."""
        self._means.append((mean, samples))

    def standard_error(self) -> float | None:
        """Standard error of the mean over all; None from too little."""
        if self._values > 1 and not self._means:
            mean = self._sum / self._values
            variance = max(0.0, self._squares / self._values - mean**2)
            return math.sqrt(variance / max(1, self._samples))
        if len(self._means) < FEWEST_BATCHES:
            return None
        weight = sum(samples for _, samples in self._means)
        mean = sum(value * samples for value, samples in self._means) / weight
        variance = sum(samples * (value - mean) ** 2 for value, samples in self._means) / weight
        return math.sqrt(variance / (len(self._means) - 1))


FEWEST_BATCHES = 8
"""Means of batches that an error can be estimated from."""


def _fresh(metric: SetMetric, device: torch.device | None) -> SetMetric:
    own: Any = copy.deepcopy(metric)
    if device is not None and hasattr(own, "to"):
        own = own.to(device)
    own.reset()
    fresh: SetMetric = own
    return fresh


def _numbers(value: Tensor, name: str) -> Tensor:
    if value.is_complex():
        raise DataError(f"the metric {name} gave {kind_of(value)}", "it must give real numbers")
    return value
