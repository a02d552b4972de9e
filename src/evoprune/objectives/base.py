"""The seam for what a candidate is scored by: one number about one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import nn

from evoprune.data.base import Source
from evoprune.data.batches import Batch
from evoprune.errors import MeasurementError
from evoprune.metrics.base import Metric
from evoprune.metrics.losses import Loss
from evoprune.metrics.outputs import ignored_by
from evoprune.objectives.compute import ComputeReport, count
from evoprune.objectives.outputs import SharedOutputs, outputs_of
from evoprune.objectives.scores import Losses, Scores, losses_of, score_outputs


@dataclass(frozen=True)
class Deferred:
    """A network that is built when an objective looks at it.

    Attributes:
        build: Makes the network, on the subject's device.
    """

    build: Callable[[], nn.Module]


@dataclass(frozen=True)
class Zeros:
    """How sparse weight masks make a network.

    Attributes:
        share: Zeros among all prunable weights, 0 to 1.
        searched_share: Zeros among the weights that are searched now, 0 to 1.
    """

    share: float
    searched_share: float


@dataclass(frozen=True)
class Subject:
    """A model under measurement, with what a measurement may need.

    Attributes:
        network: The network, on `device`; objectives read it as `model`.
        example_inputs: Inputs of one forward pass, as for `evoprune.analyze`.
        data: Set that data-driven objectives look at, the validation set during a search.
        metric: The task's metric.
        device: Device of the network.
        batch_size: Most samples to put through the network at once.
        samples: Samples in the example inputs; found out when None.
        loss: The task's loss; None where there is none.
        zeros: Sparsities of its masks; None for a network without masks.
        run: Starts a pass over `data` where there is a faster way than to run the network.
    """

    network: nn.Module | Deferred
    example_inputs: Any
    data: Source
    metric: Metric
    device: torch.device
    batch_size: int
    samples: int | None = None
    loss: Loss | None = None
    zeros: Zeros | None = None
    run: Callable[[], Iterable[Batch]] | None = None

    @cached_property
    def model(self) -> nn.Module:
        """The network."""
        return self.network.build() if isinstance(self.network, Deferred) else self.network

    @cached_property
    def compute(self) -> ComputeReport:
        """MACs, parameters and bytes, counted once however many objectives ask."""
        return count(self.model, self.example_inputs, samples=self.samples)

    @cached_property
    def outputs(self) -> Iterable[Batch]:
        """Pairs (outputs, targets) per batch of `data`, in eval mode: one pass, which all objectives share."""
        return SharedOutputs(self.run or self._pass)

    @cached_property
    def scores(self) -> Scores:
        """The metric over the outputs, computed once however many objectives ask."""
        return score_outputs(self.outputs, self.metric)

    @property
    def worst_class(self) -> float:
        """The metric of the class where it is worst.

        Raises:
            MeasurementError: There is no such class.
        """
        return self.scores.worst_class(ignored_by(self.loss))

    @cached_property
    def losses(self) -> Losses:
        """The loss over the outputs, computed once however many objectives ask.

        Raises:
            MeasurementError: The subject has no loss.
        """
        if self.loss is None:
            raise MeasurementError("there is no loss to measure")
        return losses_of(self.outputs, self.loss)

    def _pass(self) -> Iterable[Batch]:
        return outputs_of(self.model, self.data, device=self.device, batch_size=self.batch_size)


class Objective(Protocol):
    """One number about one model.

    `measure` must not change the model or any global random state, and raises `MeasurementError` when there is no number to give;
    a value that is not finite makes the candidate FAILED as well. An objective that looks at the network's outputs takes those of
    `subject.outputs`, so that all of a candidate's objectives share one pass.
    """

    @property
    def name(self) -> str:
        """The key in journals, constraints and tables."""

    @property
    def maximize(self) -> bool:
        """Whether more is better."""

    @property
    def needs_training(self) -> bool:
        """Whether the value depends on the weights; others are measured first and spare a hopeless candidate the training."""

    def measure(self, subject: Subject) -> float:
        """The value, in the objective's own unit."""


def value_of(objective: Objective, subject: Subject) -> float:
    """What an objective measures, as a float: a user's own may give an int, a numpy number or a tensor of one element.

    Raises:
        MeasurementError: There is no number to give.
    """
    value: Any = objective.measure(subject)
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MeasurementError(f"{objective.name} gives no number but {type(value).__name__}") from error
