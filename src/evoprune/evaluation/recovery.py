"""How much work a score costs: nothing, BatchNorm statistics, or some steps of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evoprune.data.task import Task
from evoprune.evaluation.recalibrate import recalibrate_batch_norm
from evoprune.evaluation.training import Schedule
from evoprune.evaluation.user_training import train_for_task
from evoprune.nn_utils.memory import MicroBatch
from evoprune.seeding import SeedTree


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
    samples_seeds: SeedTree | None = None,
) -> None:
    """Recover a freshly pruned network in place, as far as the rung pays for.

    Args:
        model: Network on `device`.
        task: Training samples and loss.
        fidelity: The rung.
        seeds: Node of the seed tree for what the network draws.
        device: Device of the network.
        micro_batch: Samples per pass.
        masks: Bool tensors by parameter name, False where a weight stays zero meanwhile.
        samples_seeds: Node for the order of the samples; `seeds` when None. Candidates that share it see the same batches, and
            so differ by what they are and not by what they saw.

    Raises:
        DivergedError: The loss is not finite.
        DeviceMemoryError: Not even the smallest sensible batch fits.
    """
    samples_seeds = samples_seeds or seeds
    micro_batch.attempt(
        lambda size: recalibrate_batch_norm(
            model,
            task.train,
            batches=fidelity.recalibrate_batches,
            batch_size=size,
            device=device,
            seed=samples_seeds.child("recalibrate").seed,
        ),
        samples=fidelity.schedule.batch_size,
    )
    train_for_task(
        model,
        task,
        task.train,
        fidelity.schedule,
        stage="finetune",
        seeds=seeds.child("finetune"),
        samples_seeds=samples_seeds.child("finetune"),
        device=device,
        micro_batch=micro_batch,
        masks=masks,
    )
