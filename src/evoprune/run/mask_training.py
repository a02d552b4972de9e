"""Training between the searches of a mask run, and the importance orders that the next search begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evoprune.evaluation.memory import MicroBatch
from evoprune.evaluation.training import Schedule, StepListener, train
from evoprune.events import Listener
from evoprune.execution.threads import torch_threads
from evoprune.mask_plan import MaskPlan
from evoprune.pruning.maskable import MaskableWeight
from evoprune.pruning.structure_names import parse_structure
from evoprune.pruning.weight_masks import masks_as_tensors
from evoprune.pruning.weight_orders import weight_scores
from evoprune.run.assemble import retraining_schedule
from evoprune.run.config import Config
from evoprune.run.epoch_reporter import EpochReporter
from evoprune.run.mask_schedule import Step
from evoprune.run.problem import Problem
from evoprune.run.time_budget import LAST, TimeBudget, seconds_per_epoch
from evoprune.seeding import SeedTree

FISHER_BATCH = 64


def retrain_masked(
    config: Config,
    problem: Problem,
    model: nn.Module,
    plan: MaskPlan,
    step: Step | None,
    device: torch.device,
    time_budget: TimeBudget,
    notify: Listener,
) -> None:
    """Train a masked network in place and leave it in eval mode; what is pruned stays zero.

    After a step it learns from the train set, because select goes on judging; at the end, without a step, from both together. A
    step leaves half of what is left of the time budget to what follows.
    """
    task, training = problem.task, config.training
    source = task.train if step is not None else task.train.joined(task.select)
    if step is None:
        epochs = training.retrain_epochs
    else:
        epochs = config.masks.between_epochs if step.between else config.masks.retrain_epochs
    name, share = ("the last retraining", LAST) if step is None else (f"the retraining of step {step.index}", 0.5)
    seeds = SeedTree(config.run.seed).child("retrain", "masks", "end" if step is None else step.index)

    def train_for(network: nn.Module, schedule: Schedule, on_step: StepListener | None) -> None:
        train(
            network,
            source,
            schedule,
            loss=task.loss,
            seeds=seeds,
            device=device,
            micro_batch=MicroBatch(training.batch_size, stage="retraining", notify=notify),
            on_step=on_step,
            masks=masks_as_tensors(network, plan),
        )

    with torch_threads(config.execution.training_threads):
        one_epoch = retraining_schedule(training, source, epochs=1)
        epochs = time_budget.epochs(name, epochs, lambda: seconds_per_epoch(train_for, model, one_epoch), share=share)
        reporter = EpochReporter("retrain", model, task, source, None, config, device, notify, epochs)
        train_for(model, retraining_schedule(training, source, epochs=epochs), reporter)
    model.eval()


def importance_orders(
    config: Config, problem: Problem, weights: Sequence[MaskableWeight], step: int, device: torch.device
) -> Mapping[str, Mapping[str, NDArray[np.float32]]]:
    """Scores of the network as it is, per unit, by each configured criterion; none where the search goes without a rule."""
    if config.search.seeding == "none":
        return {}
    structure = parse_structure(config.masks.structure)
    seed = SeedTree(config.run.seed).child("fisher", step).seed
    count = -(-config.masks.fisher_samples // FISHER_BATCH)
    with torch_threads(config.execution.training_threads):
        batches = islice(problem.task.train.batches(FISHER_BATCH, device=device, seed=seed), count)
        scores = weight_scores(problem.model, weights, config.masks.criteria, batches, problem.task.loss)
    return {
        criterion: {
            weight.name: structure.reduce(_outputs_first(by_name[weight.name], weight), _shape(weight)).astype(
                np.float32
            )
            for weight in weights
        }
        for criterion, by_name in scores.items()
    }


def _outputs_first(values: NDArray[np.float32], weight: MaskableWeight) -> NDArray[np.float32]:
    return np.swapaxes(values, 0, 1) if weight.output_dim else values


def _shape(weight: MaskableWeight) -> tuple[int, ...]:
    shape = weight.shape
    return (shape[1], shape[0], *shape[2:]) if weight.output_dim else shape
