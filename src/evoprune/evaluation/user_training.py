"""Trainings by the task's own function where it has one, and by ours otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.data.base import Source
from evoprune.data.own_training import TrainFn, TrainingBudget
from evoprune.data.task import Task
from evoprune.errors import DataError, DivergedError, EvopruneError, UsageError
from evoprune.evaluation.teacher import Teacher
from evoprune.evaluation.training import Schedule, StepListener, train
from evoprune.nn_utils.memory import MicroBatch, is_out_of_memory
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree


def train_for_task(
    model: nn.Module,
    task: Task,
    source: Source,
    schedule: Schedule,
    *,
    stage: str,
    seeds: SeedTree,
    device: torch.device,
    micro_batch: MicroBatch,
    on_step: StepListener | None = None,
    masks: Mapping[str, Tensor] | None = None,
    samples_seeds: SeedTree | None = None,
    teacher: Teacher | None = None,
    seconds: float | None = None,
) -> None:
    """Train `model` in place as the task says.

    Args:
        model: Network on `device`.
        task: Gives the loss, and perhaps a training function.
        source: As for `train`.
        schedule: As for `train`.
        stage: Name of the training, as in `TrainingBudget`.
        seeds: As for `train`.
        device: As for `train`.
        micro_batch: As for `train`.
        on_step: As for `train`.
        masks: As for `train`.
        samples_seeds: As for `train`.
        teacher: As for `train`.
        seconds: Seconds that it may take; None where nobody counts.

    Raises:
        UsageError: The task's function fails, is asked to hold masks or to learn from a teacher, or makes another network.
        DivergedError: The loss, or a weight after the task's function, is not finite.
        DeviceMemoryError: Not even the smallest sensible batch fits.
    """
    if task.train_fn is None:
        train(
            model,
            source,
            schedule,
            loss=task.loss,
            seeds=seeds,
            device=device,
            micro_batch=micro_batch,
            on_step=on_step,
            masks=masks,
            samples_seeds=samples_seeds,
            teacher=teacher,
        )
        return
    if schedule.steps == 0:
        return
    refuse_with_train_fn(task, masks=bool(masks), distils=teacher is not None)
    seed = (samples_seeds or seeds).child("order").seed % 2**31
    budget = TrainingBudget(
        stage, schedule.steps, schedule.batch_size, schedule.lr, seconds, seed, device, source, on_step or _nobody
    )
    with isolated_rng(seeds.child("draws").seed):
        call_train_fn(task.train_fn, model, budget)


def refuse_with_train_fn(task: Task, *, masks: bool = False, distils: bool = False) -> None:
    """See that a training function is not asked for what only our own training can do.

    Raises:
        UsageError: It is.
    """
    if task.train_fn is None:
        return
    if masks:
        raise UsageError(
            "Task(train_fn=...) can't hold weights at zero, which training with weight masks has to",
            "leave train_fn out, or prune channels",
        )
    if distils:
        raise UsageError(
            "training.distill is for our own training, and the task trains with its train_fn",
            "distil in train_fn, or leave one of them out",
        )


def call_train_fn(train_fn: TrainFn, model: nn.Module, budget: TrainingBudget) -> None:
    """Have the user's function train `model`, and see that it is the same network afterwards, with finite weights.

    Raises:
        DataError: The function fails, or what it leaves or returns is another network.
        DivergedError: A weight is not finite.
    """
    shapes = _shapes(model)
    learnt = {name: one.requires_grad for name, one in model.named_parameters()}
    model.train()
    try:
        returned = train_fn(model, budget)
    except EvopruneError:
        raise
    except Exception as error:
        if isinstance(error, (RuntimeError, MemoryError)) and is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())
        raise DataError(
            f"train_fn failed ({budget.stage}): {type(error).__name__}: {reason:.300}",
            "it is called as train_fn(model, budget)",
        ) from error
    _take_over(model, returned)
    if _shapes(model) != shapes:
        raise DataError(
            "train_fn left a network of other parameters or shapes", "it may change the values of weights alone"
        )
    model.to(budget.device).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(learnt[name])
        parameter.grad = None
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DivergedError(f"{name} is not finite after train_fn", "lower its learning rate")


def _take_over(model: nn.Module, returned: Any) -> None:
    """Put the weights of a network that was returned into `model`."""
    if returned is None or returned is model:
        return
    if not isinstance(returned, nn.Module):
        raise DataError(
            f"train_fn returned a {type(returned).__name__}",
            "return nothing, or the trained network of the same parameters",
        )
    try:
        model.load_state_dict(returned.state_dict())
    except RuntimeError as error:
        raise DataError(
            f"train_fn returned another network: {' '.join(str(error).split()):.300}",
            "return the network that it was given, without a wrapper",
        ) from error


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _nobody(step: int, loss: float) -> None:
    del step, loss
