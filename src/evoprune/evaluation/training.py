"""The training loop: baseline, brief fine-tuning and final retraining are the same few lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.errors import DataError, DivergedError
from evoprune.evaluation.held_masks import hold_masks
from evoprune.evaluation.memory import MicroBatch
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree
from evoprune.sources.base import Batch, Source
from evoprune.space.calling import call_model
from evoprune.task import Loss

# Reading the loss makes an accelerator wait; every so many steps is soon enough to stop a diverged run.
CHECK_EVERY = 50


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        steps: Optimisation steps, at least 0.
        batch_size: Samples per step.
        optimizer: `adamw` or `sgd` (momentum 0.9, Nesterov).
        lr: Peak learning rate; it rises linearly over the warm-up and falls to zero along a cosine.
        weight_decay: Decoupled for `adamw`, L2 for `sgd`.
        warmup: Share of the steps spent rising, 0 to 1.
        precision: `float32`, or `bfloat16` for products and convolutions in half of the bits; weights stay float32.
    """

    steps: int
    batch_size: int
    optimizer: str
    lr: float
    weight_decay: float
    warmup: float = 0.2
    precision: str = "float32"

    def lr_factor(self, step: int) -> float:
        """Share of the peak rate used at `step`, counted from 0."""
        rising = self.warmup * self.steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, self.steps - rising)))


StepListener = Callable[[int, float], None]
Forward = Callable[[Any, Any], Tensor]


def train(
    model: nn.Module,
    source: Source,
    schedule: Schedule,
    *,
    loss: Loss,
    seeds: SeedTree,
    device: torch.device,
    micro_batch: MicroBatch,
    on_step: StepListener | None = None,
    masks: Mapping[str, Tensor] | None = None,
) -> None:
    """Train `model` in place for `schedule.steps` steps and leave it in train mode; without steps, leave it as it is.

    Args:
        model: Network on `device`.
        source: Samples, shuffled anew for every pass by `seeds`.
        schedule: Steps, batch size, optimiser and rates.
        loss: `loss(outputs, targets)` -> mean over the batch.
        seeds: Node of the seed tree for order and dropout of this training.
        device: Where the batches go.
        micro_batch: Samples per pass, shrunk when the device runs out of memory.
        on_step: Called after each step with the number of steps done and the batch's loss.
        masks: `{parameter name: bool tensor of its shape}`; what they prune is zero from the start and stays exactly zero.

    Raises:
        InvalidPlanError: A mask doesn't fit the model.
        DivergedError: The loss is not finite.
        DeviceMemoryError: Not even the smallest sensible batch fits.
    """
    if schedule.steps == 0:
        return
    model.train()
    optimizer = _optimizer(model, schedule)
    hold_masks(model, masks or {}, optimizer)
    forward = _forward(model, loss, schedule.precision, device)
    total = torch.zeros((), device=device)
    with isolated_rng(seeds.child("draws").seed), repeatable_kernels():
        batches = _endless(source, schedule.batch_size, seeds.child("order"), device)
        for step in range(schedule.steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr * schedule.lr_factor(step)
            value = _step(forward, next(batches), optimizer, micro_batch)
            total += value
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == schedule.steps:
                _check_finite(total, step)
            if on_step is not None:
                on_step(step + 1, float(value))
    optimizer.zero_grad(set_to_none=True)


def repeatable_kernels() -> AbstractContextManager[None]:
    """Have cuDNN choose the same, deterministic algorithms every time; without CUDA it changes nothing."""
    cudnn = torch.backends.cudnn
    flags: AbstractContextManager[None] = cudnn.flags(
        enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32
    )
    return flags


def _forward(model: nn.Module, loss: Loss, precision: str, device: torch.device) -> Forward:
    """From inputs and targets to the loss, computed in the precision asked for."""

    def forward(inputs: Any, targets: Any) -> Tensor:
        # Opened anew for every pass: the context keeps the weights that it has rounded until it ends.
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return loss(call_model(model, inputs), targets)

    return forward


def _step(forward: Forward, batch: Batch, optimizer: torch.optim.Optimizer, micro_batch: MicroBatch) -> Tensor:
    inputs, targets = batch
    samples = len(targets)

    def attempt(size: int) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        if size >= samples:
            value = forward(inputs, targets)
            value.backward()
        else:
            value = _accumulate(forward, inputs, targets, size)
        return value.detach()

    value = micro_batch.attempt(attempt)
    # Not part of the attempt: done twice, it could move some of the weights twice.
    optimizer.step()
    return value


def _accumulate(forward: Forward, inputs: Any, targets: Any, size: int) -> Tensor:
    samples = len(targets)
    # Even parts: BatchNorm can't learn from the single sample that a batch of 9 leaves over after one of 8.
    parts = math.ceil(samples / size)
    bounds = [samples * part // parts for part in range(parts + 1)]
    total: Tensor | None = None
    for start, stop in pairwise(bounds):
        part = slice_batch(targets, start, stop)
        value = forward(slice_batch(inputs, start, stop), part) * ((stop - start) / samples)
        value.backward()
        total = value.detach() if total is None else total + value.detach()
    assert total is not None
    return total


def slice_batch(value: Any, start: int, stop: int) -> Any:
    """Samples from `start` up to `stop` of a batch: a tensor, or containers of them."""
    if isinstance(value, dict):
        return {key: slice_batch(item, start, stop) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [slice_batch(item, start, stop) for item in value]
    return value[start:stop]


def _endless(source: Source, batch_size: int, seeds: SeedTree, device: torch.device) -> Iterator[Batch]:
    epoch = 0
    while True:
        count = 0
        for inputs, targets in source.batches(batch_size, device=device, seed=seeds.child(epoch).seed):
            # BatchNorm can't learn from a single value; a left-over sample comes round in another epoch.
            if len(targets) > 1 or batch_size == 1:
                count += 1
                yield inputs, targets
        if count == 0:
            raise DataError("the training set yields no batch of more than one sample")
        epoch += 1


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=schedule.lr, momentum=0.9, nesterov=True, weight_decay=schedule.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=schedule.weight_decay)


def _check_finite(total: Tensor, step: int) -> None:
    if not bool(torch.isfinite(total)):
        raise DivergedError(f"the loss is not finite after {step + 1} steps", "lower the learning rate")
