"""Objectives that a user brings: named in settings as `tests.run.own_objectives:WidestLayer`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class WidestLayer:
    """Channels of the widest convolution."""

    name: str = "widest_layer"
    maximize: bool = False
    needs_training: bool = False

    def measure(self, subject):
        return float(max(one.out_channels for one in subject.model.modules() if isinstance(one, nn.Conv2d)))


@dataclass(frozen=True)
class Confidence:
    """Mean share of the most likely class."""

    name: str = "confidence"
    maximize: bool = True
    needs_training: bool = True

    def measure(self, subject):
        total, samples = 0.0, 0
        for batch in subject.outputs:
            total += float(batch[0].softmax(1).amax(1).double().sum())
            samples += batch.samples
        return total / samples


@dataclass(frozen=True)
class DeadFilters:
    """Filters of the first convolution without any weight: looks at the network itself."""

    name: str = "dead_filters"
    maximize: bool = False
    needs_training: bool = False

    def measure(self, subject):
        return float((subject.model.conv1.weight.detach().flatten(1).abs().amax(1) == 0).sum())


@dataclass(frozen=True)
class Weights:
    """Number of weights, as whatever `kind` makes of it: no float, though the protocol asks for one."""

    kind: Callable[[int], Any] = int
    name: str = "weights"
    maximize: bool = False
    needs_training: bool = False

    def measure(self, subject):
        return self.kind(sum(one.numel() for one in subject.model.parameters()))


@dataclass(frozen=True)
class Accuracy(WidestLayer):
    """Goes by the name of a built-in objective."""

    name: str = "accuracy"


class Nameless:
    """Looks like an objective, and says neither its name nor which way it is better."""

    needs_training = True

    def measure(self, subject):
        return float(subject.batch_size)


@dataclass(frozen=True)
class OtherWidest(WidestLayer):
    """Goes by the name of `WidestLayer`."""
