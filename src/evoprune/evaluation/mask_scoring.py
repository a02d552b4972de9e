"""Accuracy, loss and the worst class of a network, in one pass over its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.errors import DataError
from evoprune.evaluation.whole import eval_mode
from evoprune.objectives.accuracy import summed
from evoprune.sources.base import Source
from evoprune.space.calling import call_model
from evoprune.task import Task

Outputs = Iterable[tuple[Any, Any]]


def tally(outputs: Outputs, task: Task) -> dict[str, float]:
    """Figures of a network from its outputs on a set.

    Args:
        outputs: Pairs (outputs, targets) per batch.
        task: Its metric and loss.

    Returns:
        `accuracy`, the mean metric; `loss`, the mean over the samples; and for targets that are classes with a metric per sample,
        `worst_class_accuracy`, the metric's mean over the samples of the class where it is lowest.

    Raises:
        DataError: There is no output.
    """
    counted, total, samples, loss = 0, 0.0, 0, 0.0
    per_class: list[Tensor] = []
    with torch.inference_mode():
        for output, targets in outputs:
            size = len(targets)
            values = task.metric(output, targets)
            loss += float(task.loss(output, targets)) * size
            value, number = summed(values, size)
            total, counted, samples = total + value, counted + number, samples + size
            if _is_by_class(values, targets):
                per_class.append(torch.stack([targets.double(), values.double()]))
    if counted == 0:
        raise DataError("the data set to score on yields no sample")
    figures = {"accuracy": total / counted, "loss": loss / samples}
    return figures | _worst_class(per_class)


def outputs_of(model: nn.Module, source: Source, *, device: torch.device, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """Pairs (outputs, targets) of `model` in eval mode on a set, in its order."""
    for inputs, targets in source.batches(batch_size, device=device):
        with torch.inference_mode(), eval_mode(model):
            output = call_model(model, inputs)
        yield output, targets


def _is_by_class(values: Any, targets: Any) -> bool:
    return (
        isinstance(values, Tensor)
        and isinstance(targets, Tensor)
        and targets.dim() == 1
        and values.shape == targets.shape
        and not targets.is_floating_point()
    )


def _worst_class(per_class: list[Tensor]) -> dict[str, float]:
    if not per_class:
        return {}
    classes, values = torch.cat(per_class, dim=1)
    _, members, counts = classes.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=torch.float64, device=values.device).index_add_(0, members, values)
    return {"worst_class_accuracy": float((sums / counts).min())}
