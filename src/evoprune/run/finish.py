"""From the best genome to a finished model: prune, retrain, judge once on test."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from evoprune.evaluation.memory import MicroBatch
from evoprune.evaluation.training import Schedule, StepListener, train
from evoprune.events import Listener
from evoprune.execution.threads import torch_threads
from evoprune.objectives.accuracy import score
from evoprune.objectives.compute import count
from evoprune.objectives.latency import measure_latency_ms
from evoprune.plan import PruningPlan
from evoprune.pruning.structured import prune
from evoprune.results import ModelReport
from evoprune.run.assemble import SCORING_BATCH, retraining_schedule
from evoprune.run.config import Config
from evoprune.run.epoch_reporter import EpochReporter
from evoprune.run.problem import Problem
from evoprune.run.time_budget import TimeBudget, seconds_per_epoch
from evoprune.seeding import SeedTree
from evoprune.sources.base import Source
from evoprune.space.calling import call_model


def retrain(
    problem: Problem,
    plan: PruningPlan,
    genome: str,
    config: Config,
    device: torch.device,
    time_budget: TimeBudget,
    notify: Listener,
) -> nn.Module:
    """Prune the trained dense network by `plan` and train the result on train and select together, as long as there is time."""
    training, task = config.training, problem.task
    model = prune(problem.model, plan)
    both = task.train.joined(task.select)

    def train_for(network: nn.Module, schedule: Schedule, on_step: StepListener | None) -> None:
        train(
            network,
            both,
            schedule,
            loss=task.loss,
            seeds=SeedTree(config.run.seed).child("retrain", genome),
            device=device,
            micro_batch=MicroBatch(training.batch_size, stage="retraining", notify=notify),
            on_step=on_step,
        )

    with torch_threads(config.execution.training_threads):
        one_epoch = retraining_schedule(training, both, epochs=1)
        epochs = time_budget.epochs(
            "the last retraining", training.retrain_epochs, lambda: seconds_per_epoch(train_for, model, one_epoch)
        )
        reporter = EpochReporter("retrain", model, task, both, None, config, device, notify, epochs)
        train_for(model, retraining_schedule(training, both, epochs=epochs), reporter)
    return model.eval()


def judge(model: nn.Module, source: Source, problem: Problem, config: Config, device: torch.device) -> float:
    """The metric of a finished model on a set, with the threads of training."""
    batches = MicroBatch(SCORING_BATCH, stage="judging a finished model")
    with torch_threads(config.execution.training_threads):
        return batches.attempt(lambda size: score(model, source, problem.task.metric, device=device, batch_size=size))


def report_on(model: nn.Module, problem: Problem, *, accuracy: float, latency_ms: float | None) -> ModelReport:
    """Everything that `comparison.json` says of one finished model."""
    compute = count(model, problem.example_inputs)
    return ModelReport(
        accuracy=accuracy,
        params=compute.params,
        macs=compute.macs,
        size_bytes=compute.size_bytes,
        peak_activation_bytes=compute.peak_activation_bytes,
        latency_ms=latency_ms,
    )


def compare_latency(
    models: Mapping[str, nn.Module], problem: Problem, config: Config, device: torch.device
) -> dict[str, float]:
    """Median milliseconds of one forward pass of each model on the example inputs, measured by turns."""
    with torch_threads(config.execution.candidate_threads), torch.inference_mode():
        return measure_latency_ms(
            {name: partial(_forward, model.eval(), problem, device) for name, model in models.items()}
        )


def _forward(model: nn.Module, problem: Problem, device: torch.device) -> None:
    call_model(model, problem.example_inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
