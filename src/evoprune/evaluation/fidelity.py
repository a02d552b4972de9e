"""How much work a score costs: nothing, BatchNorm statistics, or some steps of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evoprune.evaluation.memory import MicroBatch
from evoprune.evaluation.recalibrate import recalibrate_batch_norm
from evoprune.evaluation.training import Schedule, train
from evoprune.seeding import SeedTree
from evoprune.task import Task


@dataclass(frozen=True)
class Fidelity:
    """One rung: what happens to a pruned network before it is scored.

    Attributes:
        recalibrate_batches: Batches for BatchNorm statistics, 0 for none.
        schedule: Fine-tuning; zero steps for none.
        select_samples: Samples of the select set to score on; all when None.
    """

    recalibrate_batches: int
    schedule: Schedule
    select_samples: int | None = None


def recover(
    model: nn.Module,
    task: Task,
    fidelity: Fidelity,
    *,
    seeds: SeedTree,
    device: torch.device,
    micro_batch: MicroBatch,
    masks: Mapping[str, Tensor] | None = None,
) -> None:
    """Let a freshly pruned network find its feet again, in place, as much as the rung pays for.

    `masks`, bool tensors by parameter name, say which weights stay zero meanwhile.

    Raises:
        DivergedError: The loss is not finite.
        DeviceMemoryError: Not even the smallest sensible batch fits.
    """
    micro_batch.attempt(
        lambda size: recalibrate_batch_norm(
            model,
            task.train,
            batches=fidelity.recalibrate_batches,
            batch_size=min(size, fidelity.schedule.batch_size),
            device=device,
            seed=seeds.child("recalibrate").seed,
        )
    )
    train(
        model,
        task.train,
        fidelity.schedule,
        loss=task.loss,
        seeds=seeds.child("finetune"),
        device=device,
        micro_batch=micro_batch,
        masks=masks,
    )
