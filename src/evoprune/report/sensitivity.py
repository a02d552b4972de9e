"""How much each group matters: the accuracy that is lost when half of it goes, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from evoprune.channels.importance.scores import importance
from evoprune.channels.surgery import prune
from evoprune.data.task import Task
from evoprune.objectives.accuracy import score
from evoprune.space.pruning_space import PruningSpace

BATCH = 500


def select_accuracy(model: nn.Module, task: Task) -> float:
    """The task's metric on the select set."""
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    return score(model, task.val, task.metric, device=device, batch_size=BATCH)


def sensitivity(model: nn.Module, space: PruningSpace, task: Task, dense: float) -> Iterator[tuple[str, float]]:
    """Cut each group alone by the half with the smaller l2 norms, without recovery, and score on the select set.

    Args:
        model: The trained dense network; untouched.
        space: Pruning space of the model.
        task: Gives the validation set and the metric; its test set is never read.
        dense: The dense network's accuracy.

    Yields:
        Name of a group, and how much worse the metric is, so that a gain is negative: dense minus pruned where higher is better.
    """
    norms = importance(model, space, "l2")
    for group in space.groups:
        bits = np.ones(space.size, dtype=np.bool_)
        weakest = np.argsort(norms[group.start : group.stop], kind="stable")[: group.size // 2]
        bits[group.start + weakest] = False
        pruned = select_accuracy(prune(model, space.plan(bits)), task)
        yield group.name, task.card.gain(dense) - task.card.gain(pruned)
