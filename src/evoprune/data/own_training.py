"""A training of the user's own in place of ours: what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from evoprune.data.base import Source
from evoprune.data.batches import Batch, as_batch


@dataclass(frozen=True, repr=False)
class TrainingBudget:
    """How long a network is to be trained, and what on.

    Attributes:
        stage: `finetune` of a candidate, `retrain` of a network that is kept, `baseline` of the dense one, or `check`, a single
            step to see that all fits together.
        steps: Optimisation steps of `batch_size` samples, at least 1; candidates are comparable where all take as many.
        batch_size: Samples per step.
        lr: Peak learning rate of the settings.
        seconds: Seconds that it may take; None where the run has no time budget.
        seed: Seed of this training, below 2^32; torch's, numpy's and Python's global generators are seeded with it already.
        device: Device that the network is on.
        source: Samples to learn from: train, and val as well where the network is kept.
        on_step: May be called with the number of steps done and the loss, for progress.
    """

    stage: str
    steps: int
    batch_size: int
    lr: float
    seconds: float | None
    seed: int
    device: torch.device
    source: Source
    on_step: Callable[[int, float], None]

    @property
    def epochs(self) -> float:
        """The steps as passes over `source`."""
        return self.steps / max(1, self.source.batch_count(self.batch_size))

    def batches(self) -> Iterator[Batch]:
        """As many batches as there are steps, (inputs, targets) on the device, shuffled anew in each pass."""
        left, epoch = self.steps, 0
        while left:
            before = left
            for batch in self.source.batches(self.batch_size, device=self.device, seed=self.seed + epoch):
                yield as_batch(batch)
                left -= 1
                if not left:
                    return
            epoch += 1
            if left == before:
                return

    def __repr__(self) -> str:
        return f"<training budget: {self.stage}, {self.steps} steps of {self.batch_size} samples, on {self.device}>"


TrainFn = Callable[[nn.Module, TrainingBudget], Any]
"""`train_fn(model, budget)`: trains the model in place, or returns the trained one, of the same parameters."""
