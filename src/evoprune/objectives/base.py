"""The seam for what a candidate is scored by: one number about one model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import nn

from evoprune.objectives.compute import ComputeReport, count
from evoprune.sources.base import Source
from evoprune.task import Metric


@dataclass(frozen=True)
class Subject:
    """A model under measurement, with what a measurement may need.

    Attributes:
        model: The network, on `device`.
        example_inputs: Inputs of one forward pass, as for `evoprune.analyze`.
        data: Set that data-driven objectives look at, the select set during a search.
        metric: The task's metric.
        device: Where the network lives.
        batch_size: Most samples to put through the network at once.
    """

    model: nn.Module
    example_inputs: Any
    data: Source
    metric: Metric
    device: torch.device
    batch_size: int

    @cached_property
    def compute(self) -> ComputeReport:
        """MACs, parameters and bytes, counted once however many objectives ask."""
        return count(self.model, self.example_inputs)


class Objective(Protocol):
    """One number about one model.

    `measure` must not change the model or any global random state, and raises `MeasurementError` when there is no number to give;
    a value that is not finite makes the candidate FAILED as well.
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
