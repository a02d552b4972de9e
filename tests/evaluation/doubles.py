"""Stand-ins that evaluation tests share: exact data, small networks, a device that is short of memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoprune.rng import isolated_rng

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Points:
    """A `Source` of float64 points, [n, features] with [n] labels, shuffled as `randperm` of the seed says."""

    inputs: Tensor
    targets: Tensor

    def __len__(self):
        return len(self.targets)

    def batches(self, batch_size, *, device, seed=None):
        rows = torch.arange(len(self))
        if seed is not None:
            rows = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for chosen in rows.split(batch_size):
            yield self.inputs[chosen].to(device), self.targets[chosen].to(device)

    def batch_count(self, batch_size):
        return math.ceil(len(self) / batch_size)

    def joined(self, other):
        return Points(torch.cat([self.inputs, other.inputs]), torch.cat([self.targets, other.targets]))

    def head(self, size):
        return Points(self.inputs[:size], self.targets[:size])


def points(count, *, features=5, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, features, generator=generator, dtype=torch.float64)
    return Points(inputs, torch.randint(classes, (count,), generator=generator))


def network(*between, seed=0):
    """5 features -> 7 -> 3 classes in float64, with more layers of 7 features in between."""
    with isolated_rng(seed):
        return nn.Sequential(nn.Linear(5, 7), *between, nn.Tanh(), nn.Linear(7, 3)).double()


class ShortOfMemory:
    """Cross entropy on a device that holds activations of at most `room` samples."""

    def __init__(self, room, error=torch.OutOfMemoryError):
        self.room, self.error, self.refused = room, error, []

    def __call__(self, outputs, targets):
        if len(targets) > self.room:
            self.refused.append(len(targets))
            raise self.error("can't allocate memory")
        return functional.cross_entropy(outputs, targets)
