"""The training loop: baseline, brief fine-tuning and final retraining are the same few lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from evoprune.data.base import Source
from evoprune.data.batches import Batch, as_batch, micro_batch_bounds
from evoprune.errors import DataError, DivergedError, UnsupportedModelError
from evoprune.evaluation.known_outputs import Taught
from evoprune.evaluation.teacher import Teacher
from evoprune.masks.held import hold_masks
from evoprune.metrics.losses import Loss, as_given, loss_value
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.memory import MicroBatch
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree

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
        clip_grad_norm: Largest norm of the gradient of all parameters together; None: any.
    """

    steps: int
    batch_size: int
    optimizer: str
    lr: float
    weight_decay: float
    warmup: float = 0.2
    precision: str = "float32"
    clip_grad_norm: float | None = None

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
    samples_seeds: SeedTree | None = None,
    teacher: Teacher | None = None,
) -> None:
    """Train `model` in place for `schedule.steps` steps and leave it in train mode; without steps, leave it as it is.

    Args:
        model: Network on `device`.
        source: Samples, shuffled anew for every pass by `seeds`; with a teacher, perhaps with its outputs in `Taught` targets.
        schedule: Steps, batch size, optimiser and rates.
        loss: `loss(outputs, targets)` -> mean over the batch.
        seeds: Node of the seed tree for order and dropout of this training.
        device: Device that the batches go to.
        micro_batch: Samples per pass, shrunk when the device runs out of memory.
        on_step: Called after each step with the number of steps done and the batch's loss.
        masks: `{parameter name: bool tensor of its shape}`; what they prune is zero from the start and stays exactly zero.
        samples_seeds: Node of the seed tree for the order of the samples; `seeds` when None.
        teacher: Network whose outputs are learnt besides the targets; None: the targets alone.

    Raises:
        InvalidPlanError: A mask doesn't fit the model.
        UnsupportedModelError: The model has no parameter to train.
        DataError: The source yields no batch, or one that has to be cut and can't be.
        DivergedError: The loss is not finite.
        DeviceMemoryError: Not even the smallest sensible batch fits.
    """
    if schedule.steps == 0:
        return
    model.train()
    optimizer = _optimizer(model, schedule)
    hold_masks(model, masks or {}, optimizer)
    if schedule.clip_grad_norm is not None:
        _clip_gradients(optimizer, schedule.clip_grad_norm)
    forward = _forward(model, as_given(loss), schedule.precision, device, teacher)
    total = torch.zeros((), device=device)
    with isolated_rng(seeds.child("draws").seed), repeatable_kernels():
        batches = _endless(source, schedule.batch_size, (samples_seeds or seeds).child("order"), device)
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


def _forward(model: nn.Module, loss: Loss, precision: str, device: torch.device, teacher: Teacher | None) -> Forward:
    """From inputs and targets to the loss, computed in the precision asked for."""

    def forward(inputs: Any, targets: Any) -> Tensor:
        # Opened anew for every pass: the context keeps the weights that it has rounded until it ends.
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = call_model(model, inputs)
            targets, wanted = targets if isinstance(targets, Taught) else (targets, None)
            value = loss_value(loss, outputs, targets)
            return value if teacher is None else teacher.mixed(value, outputs, inputs, wanted)

    return forward


def _step(forward: Forward, batch: Batch, optimizer: torch.optim.Optimizer, micro_batch: MicroBatch) -> Tensor:
    def attempt(size: int) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        if size >= batch.samples:
            value = forward(*batch)
            value.backward()
        else:
            value = _accumulate(forward, batch, size)
        return value.detach()

    value = micro_batch.attempt(attempt, samples=batch.samples)
    _densify(optimizer)
    # Not part of the attempt: done twice, it could move some of the weights twice.
    optimizer.step()
    return value


def _accumulate(forward: Forward, batch: Batch, size: int) -> Tensor:
    total: Tensor | None = None
    for start, stop in micro_batch_bounds(batch.samples, size):
        value = forward(*batch.part(start, stop)) * ((stop - start) / batch.samples)
        value.backward()
        total = value.detach() if total is None else total + value.detach()
    assert total is not None
    return total


def _clip_gradients(optimizer: torch.optim.Optimizer, norm: float) -> None:
    """Scale gradients down before each step; after masks are held, so that those of pruned weights don't count."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]

    def clip(*_: Any) -> None:
        clip_grad_norm_(parameters, norm)

    optimizer.register_step_pre_hook(clip)


def _densify(optimizer: torch.optim.Optimizer) -> None:
    """Gradients as plain tensors: those of sparse embeddings are no food for AdamW or Nesterov's momentum."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()


def _endless(source: Source, batch_size: int, seeds: SeedTree, device: torch.device) -> Iterator[Batch]:
    epoch = 0
    singles = batch_size == 1
    while True:
        count = 0
        for pair in source.batches(batch_size, device=device, seed=seeds.child(epoch).seed):
            batch = as_batch(pair)
            # BatchNorm can't learn from a single value; a left-over sample comes round in another epoch.
            if batch.samples > 1 or singles:
                count += 1
                yield batch
        if count == 0:
            # A loader that makes batches of one wants them; a single sample is left over from what is no set at all.
            if singles or source.batch_count(batch_size) < 2:
                raise DataError("the training set yields no batch of more than one sample")
            singles = True
        epoch += 1


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise UnsupportedModelError(
            "no parameter of the model requires a gradient, so there is nothing to train",
            "set requires_grad, or train for no epochs and no steps",
        )
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=schedule.lr, momentum=0.9, nesterov=True, weight_decay=schedule.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=schedule.weight_decay)


def _check_finite(total: Tensor, step: int) -> None:
    if not bool(torch.isfinite(total)):
        raise DivergedError(f"the loss is not finite after {step + 1} steps", "lower the learning rate")
