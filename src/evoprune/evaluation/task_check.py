"""Before there is any work: one batch of each set through the network, the loss and the metric."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.base import Source
from evoprune.data.batches import Batch, as_batch
from evoprune.data.own_training import TrainingBudget
from evoprune.data.task import Task
from evoprune.data.trees import tensors_in
from evoprune.errors import DataError, EvopruneError
from evoprune.evaluation.teacher import check_distilled
from evoprune.evaluation.user_training import call_train_fn, refuse_with_train_fn
from evoprune.metrics.base import Metric, SetMetric, direction_unknown, seems_lower_is_better
from evoprune.metrics.losses import as_given, loss_value
from evoprune.metrics.outputs import class_out_of_range, ignored_by, kind_of, logits_of
from evoprune.metrics.scoring import Scorer
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.memory import is_out_of_memory
from evoprune.rng import isolated_rng

SAMPLES: Final = 32
"""Samples of each set that are looked at; a loader's own batch where that is larger."""


@dataclass(frozen=True)
class Uses:
    """What a run does with network, data and loss.

    Attributes:
        learns: Whether it trains.
        distills: Whether cut networks learn from the outputs of the dense one.
        scores_loss: Whether the loss is also computed on what the network returns in evaluation mode.
    """

    learns: bool = True
    distills: bool = False
    scores_loss: bool = False


def check_task(model: nn.Module, task: Task, *, device: torch.device, uses: Uses = Uses()) -> None:
    """See that network, data, loss and metric go together; nothing of them is changed, and no value is kept.

    Args:
        model: The dense network, anywhere.
        task: Data, loss and metric.
        device: Device of the run.
        uses: What the run does with them.

    Raises:
        DataError: They don't; says what to change.
        UnsupportedModelError: The run distills, and outputs or targets are not those of classes.
    """
    try:
        with isolated_rng(0):
            own = copy.deepcopy(model).to(device)
            if uses.learns:
                _check_learning(own, task, device, uses)
                _check_train_fn(own, task, device, uses)
            for name in ("select", "test"):
                _check_scoring(own, task, name, device, scores_loss=uses.scores_loss and name == "select")
    except (RuntimeError, MemoryError) as error:
        # Where a batch has no room, training goes on with smaller ones.
        if not is_out_of_memory(error):
            raise


def _check_learning(model: nn.Module, task: Task, device: torch.device, uses: Uses) -> None:
    batch = _first(task.train, "train", device)
    inputs, targets = batch
    model.train()
    with torch.enable_grad():
        try:
            with _told("the network can't run on a batch of the train set"):
                outputs = call_model(model, inputs)
        except DataError:
            if batch.samples == 1:  # BatchNorm can't learn from one sample, and need not
                return
            raise
        value = _loss(task, outputs, targets, "the loss failed on a batch of the train set")
    if uses.distills:
        check_distilled(outputs, targets)
    if not value.requires_grad and any(parameter.requires_grad for parameter in model.parameters()):
        raise DataError(
            "the loss does not depend on any weight that is to be trained",
            "compute it from the network's outputs with tensors, without detach()",
        )
    _check_learners(model, value, [outputs, inputs, targets])
    number = float(value.detach())
    if not math.isfinite(number):
        raise DataError(
            f"the loss is {number} on a batch of the train set", "look at the weights, the samples and the loss"
        )


def _check_train_fn(model: nn.Module, task: Task, device: torch.device, uses: Uses) -> None:
    """Have the task's own training take a step, if it has one."""
    if task.train_fn is None:
        return
    refuse_with_train_fn(task, distils=uses.distills)
    model.zero_grad(set_to_none=True)
    call_train_fn(task.train_fn, model, TrainingBudget("check", 1, SAMPLES, 1e-5, None, 0, device, task.train, _nobody))


def _nobody(step: int, loss: float) -> None:
    del step, loss


def _check_learners(model: nn.Module, loss: Tensor, given: Any) -> None:
    """See that the loss has gradients for nothing but the network and what it was given."""
    known = {id(leaf) for leaf in (*model.parameters(), *_leaves(tensors_in(given)))}
    others = [leaf for leaf in _leaves([loss]) if id(leaf) not in known]
    if others:
        raise DataError(
            f"the loss depends on {kind_of(others[0])} that requires a gradient and is no part of the network that learns",
            "parameters of a loss are not trained: call requires_grad_(False) on them, or detach() what the loss reads of "
            "other networks, the original among them",
        )


def _leaves(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Tensors that a backward pass from these would put gradients into."""
    seen: set[Any] = set()
    for tensor in tensors:
        if tensor.grad_fn is None and tensor.requires_grad:
            yield tensor
        left = [tensor.grad_fn]
        while left:
            node = left.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if hasattr(node, "variable"):
                yield node.variable
            left.extend(before for before, _ in node.next_functions)


def _check_scoring(model: nn.Module, task: Task, name: str, device: torch.device, *, scores_loss: bool) -> None:
    batch = _first(getattr(task, name), name, device)
    inputs, targets = batch
    model.eval()
    with torch.inference_mode():
        with _told(f"the network can't run on a batch of the {name} set"):
            outputs = call_model(model, inputs)
        _check_metric(task, Batch(outputs, targets, batch.samples), name)
        if scores_loss:
            _loss(
                task,
                outputs,
                targets,
                "the loss can't be computed on what the network returns in evaluation mode",
                "let the loss take both, or score by the metric alone: fitness.w_loss 0, fitness.w_acc 1, and no loss in "
                "search.objectives, constraints and target",
            )


def _check_metric(task: Task, batch: Batch, name: str) -> None:
    metric: Any = task.metric
    outputs, targets = batch
    what = f"the metric {task.card.name} failed on a batch of the {name} set"
    with _told(what, "it is called with what the network returns and the targets"):
        if hasattr(metric, "check"):
            metric.check(outputs, targets)
        scorer = Scorer(metric, next((one.device for one in (logits_of(outputs),) if isinstance(one, Tensor)), None))
        values = scorer.add(outputs, targets, batch.samples)
        if values is not None and values.numel() == 0:  # all of the batch is left out
            return
        if seems_lower_is_better(metric, _value(scorer, metric)):
            raise direction_unknown(task.card.name)


def _value(scorer: Scorer, metric: Metric) -> float:
    """The metric of the batch; not a number where one batch is too little for a number about a set."""
    try:
        return scorer.value()
    except Exception as error:
        if not isinstance(metric, SetMetric) or (isinstance(error, DataError) and " gave " in error.message):
            raise
        return math.nan


def _loss(task: Task, outputs: Any, targets: Any, what: str, hint: str = "") -> Tensor:
    wrong = class_out_of_range(logits_of(outputs), targets, ignored_by(task.loss))
    if wrong and _takes_classes(task.loss):
        # Not left to the loss: on a GPU it would take the process's context with it.
        raise DataError(wrong, "correct the targets or the network's last layer")
    if _takes_classes(task.loss) and not isinstance(logits_of(outputs), Tensor):
        raise DataError(
            f"the loss takes a tensor, and the network returns {kind_of(outputs)}",
            "pass loss= a function of your own: loss(outputs, targets) -> a scalar tensor",
        )
    with _told(what, hint or "it is called with what the network returns and the targets"), warnings.catch_warnings():
        warnings.filterwarnings("error", "Using a target size")  # torch's word of two shapes broadcast to a third
        try:
            return loss_value(as_given(task.loss), outputs, targets)
        except UserWarning:
            raise DataError(
                f"the loss would broadcast outputs, {kind_of(logits_of(outputs))}, and targets, {kind_of(targets)}",
                "give the targets the shape of the outputs",
            ) from None


def _takes_classes(loss: Any) -> bool:
    return loss is nn.functional.cross_entropy or isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss))


def _first(source: Source, name: str, device: torch.device) -> Batch:
    for batch in source.batches(SAMPLES, device=device):
        return as_batch(batch)
    raise DataError(
        f"the {name} set yields no batch", "look at its loader: drop_last drops all of a set smaller than a batch"
    )


@contextmanager
def _told(what: str, hint: str = "") -> Iterator[None]:
    """Turn an error from inside the user's code or torch into one line that says where it came from."""
    try:
        yield
    except EvopruneError:
        raise
    except Exception as error:
        if isinstance(error, (RuntimeError, MemoryError)) and is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())
        raise DataError(f"{what}: {type(error).__name__}: {reason:.300}", hint) from error
