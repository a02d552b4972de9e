"""What a run would have to do and how long that would take, found out without a run directory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Final

from evoprune.config.kinds import is_mask_run
from evoprune.config.schema import Config
from evoprune.evaluation.user_training import train_for_task
from evoprune.events import Listener, ignore
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.compute import count
from evoprune.run.bounds import check_bounds
from evoprune.run.factories.channels import channel_target
from evoprune.run.factories.common import bounds_by_setting, placement_of, search_plan, training_plan, workplace_of
from evoprune.run.factories.masks import mask_schedule, mask_target
from evoprune.run.factories.runs import build_run
from evoprune.run.problem import Problem, ProblemSource
from evoprune.run.rungs import TRAINING_COST, Rung
from evoprune.run.training_plan import Learning, TrainingPlan
from evoprune.seeding import SeedTree
from evoprune.space.pruning_space import nothing_to_prune

BASELINE: Final = "baseline"
STEPS: Final = 12
"""Steps of the dense network that times are predicted from."""


@dataclass(frozen=True)
class Generation:
    """Candidates that are scored at the same time.

    Attributes:
        candidates: Number of candidates.
        steps: Optimisation steps of each.
        scored: Samples of the select set that each is scored on.
    """

    candidates: int
    steps: int
    scored: int


@dataclass(frozen=True)
class PlannedWork:
    """What there would be to do.

    Attributes:
        parameters: Parameters of the dense network.
        macs: Its multiply-accumulates for one sample.
        samples: Samples of each set, by name.
        choice: What may go, in words.
        generations: The search.
        workers: Candidates at a time.
        trainings: Epochs of each training of a whole network, by what it is.
        seconds: Predicted seconds of each stage, at the dense network's speed here; pruned networks are faster.
    """

    parameters: int
    macs: int
    samples: dict[str, int]
    choice: str
    generations: tuple[Generation, ...]
    workers: int
    trainings: dict[str, float]
    seconds: dict[str, float]

    @property
    def candidates(self) -> int:
        """Candidates of all generations."""
        return sum(one.candidates for one in self.generations)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**asdict(self), "candidates": self.candidates, "total_seconds": sum(self.seconds.values())}


def planned_work(config: Config, source: ProblemSource, notify: Listener = ignore) -> PlannedWork:
    """What the run that a configuration describes would have to do; nothing is written.

    Args:
        config: Complete configuration.
        source: Model, task and example inputs.
        notify: Called while data are fetched.

    Raises:
        UsageError: The run would be refused.
    """
    build_run(config, source)
    problem = source.load(notify)
    check_bounds(bounds_by_setting(config), problem.task.card)
    training, task = training_plan(config), problem.task
    masks = is_mask_run(config)
    choice = _weights(config, problem) if masks else _channels(config, problem)
    generations = _mask_generations(config, problem) if masks else _generations(config, problem)
    trainings = _trainings(config)
    workers = placement_of(config).settled(source, notify).workers
    dense = count(problem.model, problem.example_inputs)
    return PlannedWork(
        dense.params,
        dense.macs,
        {name: len(getattr(task, name)) for name in ("train", "val", "test")},
        choice,
        generations,
        workers,
        trainings,
        _seconds(config, problem, training, generations, trainings, workers),
    )


def _channels(config: Config, problem: Problem) -> str:
    target = channel_target(config)
    space = target.space(problem.model, problem, self_check=False)
    if not space.groups:
        return nothing_to_prune(space)
    target.encoding(space, model=problem.model)
    return f"{space.size:,} channels in {len(space.groups)} groups, before the self-check"


def _weights(config: Config, problem: Problem) -> str:
    weights = mask_target(config).of(problem.model, problem.example_inputs).weights
    return f"{sum(one.size for one in weights):,} weights in {len(weights)} layers"


def _generations(config: Config, problem: Problem) -> tuple[Generation, ...]:
    plan, training, task = search_plan(config), training_plan(config), problem.task
    select = len(training.scored(task))
    if plan.ladder is not None:
        return _most(config, [_generation(rung) for rung in training.rungs(plan.ladder, task)])
    steps = training.fidelity(task.train).schedule.steps
    return _most(config, [Generation(plan.settings.pop_size, steps, select)] * plan.generations)


def _generation(rung: Rung) -> Generation:
    return Generation(rung.candidates, rung.steps, rung.scored)


def _mask_generations(config: Config, problem: Problem) -> tuple[Generation, ...]:
    """As many as there are at most: a step may end early."""
    plan, training, task = search_plan(config), training_plan(config), problem.task
    steps = training.fidelity(task.train).schedule.steps
    each = Generation(plan.settings.pop_size, steps, len(training.scored(task)))
    rounds = len(mask_schedule(config).steps(mask_target(config).of(problem.model, problem.example_inputs).weights))
    return _most(config, [each] * (rounds * (1 if mask_schedule(config).inherits else plan.generations)))


def _most(config: Config, generations: Sequence[Generation]) -> tuple[Generation, ...]:
    """The generations, cut where the run is to end."""
    left = config.run.max_candidates
    if left is None:
        return tuple(generations)
    kept = []
    for one in generations:
        if left > 0:
            kept.append(Generation(min(left, one.candidates), one.steps, one.scored))
            left -= one.candidates
    return tuple(kept)


def _trainings(config: Config) -> dict[str, float]:
    training = config.training
    found = {BASELINE: training.epochs}
    if is_mask_run(config):
        passes = mask_schedule(config).passes
        found["between steps"] = config.masks.between_epochs * max(0, passes - 1)
        found["retraining"] = config.masks.retrain_epochs
    else:
        bounded = bool(config.search.constraints)
        found["retraining"] = training.retrain_epochs
        if config.search.baselines == "best" and bounded:
            found["retraining of the best criterion's network"] = training.retrain_epochs
    return {name: epochs for name, epochs in found.items() if epochs}


def _seconds(
    config: Config,
    problem: Problem,
    training: TrainingPlan,
    generations: Sequence[Generation],
    trainings: dict[str, float],
    workers: int,
) -> dict[str, float]:
    """Predicted from a few steps of the dense network; its scoring takes a third of its training."""
    alone, beside = config.execution.training_threads, config.execution.candidate_threads
    train_set, both = len(problem.task.train), len(problem.task.train) + len(problem.task.val)
    found = {}
    for name, epochs in trainings.items():
        learning, samples = (training.baseline, train_set) if name == BASELINE else (training.retraining, both)
        found[name] = _seconds_per_sample(config, problem, learning, alone) * epochs * samples
    batch = training.finetuning.batch_size
    searched = sum(one.candidates * (one.steps * batch + one.scored / TRAINING_COST) for one in generations)
    return {**found, "search": _seconds_per_sample(config, problem, training.finetuning, beside) * searched / workers}


def _seconds_per_sample(config: Config, problem: Problem, learning: Learning, threads: int) -> float:
    """The step in the middle of a few: the first takes far longer, and any may be disturbed."""
    if not any(parameter.requires_grad for parameter in problem.model.parameters()):
        return 0.0
    device, times = workplace_of(config).device, [time.perf_counter()]
    with torch_threads(threads):
        train_for_task(
            clone(problem.model).to(device),
            problem.task,
            problem.task.train,
            learning.of_steps(STEPS),
            stage="check",
            seeds=SeedTree(0),
            device=device,
            micro_batch=MicroBatch(None, stage="trying some steps", notify=ignore),
            on_step=lambda step, loss: times.append(time.perf_counter()),
        )
    if len(times) == 1:  # a training function of the user's own need not tell its steps
        return (time.perf_counter() - times[0]) / STEPS / learning.batch_size
    return median(later - sooner for sooner, later in pairwise(times)) / learning.batch_size
