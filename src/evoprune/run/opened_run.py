"""The beginning of every run: data, and the trained dense network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from evoprune.data.batches import Batch, as_batch
from evoprune.data.trees import moved, tensors_in
from evoprune.errors import DataError
from evoprune.evaluation.task_check import Uses, check_task
from evoprune.events import Caution, Listener, TaskOpened
from evoprune.nn_utils.quantised import require_unquantised
from evoprune.objectives.compute import uncounted_operations
from evoprune.run.baseline import BaselineTraining, prepare_baseline
from evoprune.run.final_report import Judge
from evoprune.run.fingerprints import (
    LOSS,
    TRAIN_FN,
    digest_of_model,
    digests_of_data,
    name_of_loss,
    name_of_train_fn,
)
from evoprune.run.guarded import TrainingGuard
from evoprune.run.layout import settle_layout
from evoprune.run.measures import Measures, Wanted, choose_measures
from evoprune.run.problem import Problem, ProblemSource
from evoprune.run.retraining import Retrainer
from evoprune.run.stopwatch import stage
from evoprune.run.time_budget import TimeBudget
from evoprune.run.timing.model_timing import TimingPlan
from evoprune.run.training_plan import TrainingPlan
from evoprune.run.workplace import Workplace
from evoprune.seeding import SeedTree
from evoprune.store.run_directory import RunStore


@dataclass(frozen=True)
class RunParts:
    """What every run is made of, whatever it prunes.

    Attributes:
        source: Gives model, task and example inputs.
        store: The run directory.
        notify: Called with each event.
        time_budget: Time budget of the whole run.
        workplace: Device, threads and layout of trainings and scores.
        training: Says how networks learn.
        seeds: Root of all seeds.
        checkpoint: File of trained weights for the dense network.
        learns: Whether anything is trained.
        distills: Whether cut networks learn from the outputs of the dense one.
        wanted: Measures of candidates.
        timing: Says what of finished networks is timed.
    """

    source: ProblemSource
    store: RunStore
    notify: Listener
    time_budget: TimeBudget
    workplace: Workplace
    training: TrainingPlan
    seeds: SeedTree
    checkpoint: Path | None
    learns: bool
    distills: bool
    wanted: Wanted
    timing: TimingPlan

    def guard(self) -> TrainingGuard:
        """What long trainings are done by."""
        return TrainingGuard(self.workplace, self.store, self.store.directory, self.notify)


@dataclass(frozen=True)
class OpenedRun:
    """A run with its trained dense network.

    Attributes:
        parts: Parts of the run, with the memory layout settled.
        problem: Problem with its network, in eval mode, and its example inputs on the device.
    """

    parts: RunParts
    problem: Problem

    @cached_property
    def measures(self) -> Measures:
        """What candidates are measured by, and what that is worth."""
        return choose_measures(self.parts.wanted, self.problem.task.card)

    @property
    def retrainer(self) -> Retrainer:
        """Trains the networks that are kept."""
        parts = self.parts
        return Retrainer(self.problem, parts.workplace, parts.training.retraining, parts.guard(), parts.time_budget)

    @property
    def judge(self) -> Judge:
        """Reads the test set."""
        return Judge(self.problem, self.parts.workplace, self.parts.store, self.parts.timing)


def open_run(parts: RunParts, check: Callable[[Problem], None]) -> OpenedRun:
    """Load the problem, see that it is the one that the run began with, and give its network the trained weights.

    Args:
        parts: Parts of the run.
        check: Raises a `UsageError` where the problem can't be used, before there is any work.

    Raises:
        ReplayMismatchError: Data or model are not those that the run began with.
        UsageError: They can't be used.
    """
    store, notify = parts.store, parts.notify
    unsettled = replace(parts, workplace=parts.workplace.laid_out(channels_last=False))
    with stage("data", notify):
        problem = parts.source.load(notify)
        require_unquantised(problem.model)
        problem = problem.keeping_given()
        data = pin_problem(store, problem)
        _check_layout(problem)
        check(problem)
        measures = choose_measures(parts.wanted, problem.task.card)
        uses = Uses(learns=parts.learns, distills=parts.distills, scores_loss="loss" in measures.names)
        try_a_batch(problem, unsettled.guard(), parts.workplace.device, uses)
        _name_uncounted(problem, notify)
    notify(TaskOpened(**problem.task.card.to_json(), objectives=tuple(one.name for one in measures.searched)))
    workplace = settle_layout(parts.workplace, problem, parts.training.baseline, store, notify)
    parts = replace(parts, workplace=workplace)
    with stage("baseline", notify, "the dense network, trained now or taken from an earlier run"):
        training = BaselineTraining(
            problem, workplace, parts.training.baseline, parts.training.epochs, parts.seeds, parts.checkpoint
        )
        model = prepare_baseline(training, store, parts.guard(), data, notify).eval()
    example_inputs = moved(problem.example_inputs, workplace.device)
    return OpenedRun(parts, replace(problem, model=model, example_inputs=example_inputs))


def try_a_batch(problem: Problem, guard: TrainingGuard, device: torch.device, uses: Uses) -> None:
    """See that network, loss and metric work on a batch, before there is any work.

    Raises:
        UsageError: They don't.
    """
    guard.train(
        "trying a batch",
        problem.model,
        lambda _: check_task(problem.model, problem.task, device=device, uses=uses),
    )


def _name_uncounted(problem: Problem, notify: Listener) -> None:
    """Say what MACs will leave out, and find out before there is any work whether the network runs on the example inputs."""
    uncounted = uncounted_operations(problem.model, problem.example_inputs)
    if uncounted:
        notify(Caution("counting", f"MACs leave out {', '.join(uncounted)}, for which there is no formula"))


def pin_problem(store: RunStore, problem: Problem) -> dict[str, str]:
    """Keep the digests of data and model, or see that they are those that the run began with; gives the data's."""
    data = digests_of_data(problem.task)
    store.pin("data", data)
    store.pin("model", digest_of_model(problem.model))
    store.pin(LOSS, name_of_loss(problem.task.loss))
    store.pin(TRAIN_FN, name_of_train_fn(problem.task))
    return data


def _check_layout(problem: Problem) -> None:
    """See that samples are counted along the dimension in which a single example input is one long.

    Raises:
        DataError: They are not: [40, 16, 3] was read as 40 samples, but the example is [40, 1, 3].
    """
    pair = next(iter(problem.task.select.batches(1, device=torch.device("cpu"))), None)
    if pair is None or (isinstance(pair, Batch) and pair.known):
        return
    batch = as_batch(pair)
    shapes = [next((list(one.shape) for one in tensors_in(tree)), []) for tree in (problem.example_inputs, batch[0])]
    example, given = shapes
    longer = [dim for dim, (one, many) in enumerate(zip(example, given, strict=False)) if one != many]
    other = len(example) == len(given) and len(longer) == 1 and longer[0] > 0 and example[longer[0]] == 1
    if other and batch.samples == given[0] != given[longer[0]]:
        raise DataError(
            f"batches of {given} were counted as {given[0]} samples, but the example inputs {example} hold one",
            f"pass Task(batch_dim={longer[0]}) if that dimension counts the samples",
        )
