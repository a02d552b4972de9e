"""Orders of a network's units by criteria, measured once for a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from evoprune.channels.importance.scores import WEIGHTS_ALONE, importance
from evoprune.channels.orders import Orders
from evoprune.data.task import Task
from evoprune.errors import EvopruneError
from evoprune.events import Caution, Listener
from evoprune.metrics.losses import as_given, loss_value
from evoprune.seeding import SeedTree
from evoprune.space.pruning_space import PruningSpace

BATCH: Final = 64
"""Samples per batch of criteria that look at data."""


def measure_orders(
    model: nn.Module,
    space: PruningSpace,
    task: Task,
    criteria: Sequence[str],
    *,
    samples: int,
    device: torch.device,
    seeds: SeedTree,
    notify: Listener,
    says_left_out: bool = True,
) -> Orders:
    """Score all units by each criterion.

    Args:
        model: The trained dense network, on `device`; untouched.
        space: Pruning space of the model.
        task: Training samples and loss, for criteria that look at data.
        criteria: Names of the criteria. One that can't score this network is left out, and a caution says why.
        samples: Training samples that they look at.
        device: Device of the network.
        seeds: Node of the seed tree for the choice of the samples.
        notify: Called with cautions.
        says_left_out: Whether it is said which criteria don't apply to the network; errors are said anyway.

    Returns:
        The orders; by nothing but random scores where no criterion can be used.
    """
    loss, found = as_given(task.loss), {}
    batches = [] if WEIGHTS_ALONE.issuperset(criteria) else _batches(task, samples, device, seeds)
    for name in criteria:
        data: dict[str, Any] = {}
        if name not in WEIGHTS_ALONE:
            data = {"batches": batches, "loss": lambda outputs, targets: loss_value(loss, outputs, targets)}
        try:
            found[name] = importance(model, space, name, seed=seeds.seed, **data)
        except EvopruneError as error:
            if says_left_out:
                notify(Caution("criteria", f"{name} is left out: {error.message}"))
        except Exception as error:  # a user's loss may need more than one sample, or what a criterion can't give it
            notify(Caution("criteria", f"{name} is left out: {type(error).__name__}: {error}"))
    if not found:
        found["random"] = importance(model, space, "random", seed=seeds.seed)
    return Orders(tuple(found), np.stack(list(found.values())))


def _batches(task: Task, samples: int, device: torch.device, seeds: SeedTree) -> list[Any]:
    source = task.train.batches(BATCH, device=device, seed=seeds.child("samples").seed)
    return list(islice(source, -(-samples // BATCH)))
