"""The trainings that make a finished model of a pruned network, and go on with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from evoprune.data.base import Source
from evoprune.evaluation.teacher import Teacher
from evoprune.evaluation.training import Schedule, StepListener
from evoprune.evaluation.user_training import train_for_task
from evoprune.events import Listener, ignore
from evoprune.nn_utils.memory import MicroBatch
from evoprune.run.epoch_reporter import EpochReporter
from evoprune.run.guarded import TrainingGuard
from evoprune.run.problem import Problem
from evoprune.run.time_budget import LAST, TimeBudget, seconds_per_epoch
from evoprune.run.training_plan import Learning
from evoprune.run.workplace import Workplace
from evoprune.seeding import SeedTree


@dataclass(frozen=True)
class Retraining:
    """One training of a pruned network.

    Attributes:
        name: Name of the training in messages and kept decisions.
        source: Samples to learn from.
        epochs: Number of epochs, where there is time.
        seeds: Root of its seeds.
        masks: Bool tensors by parameter name, False where a weight stays zero; None where none do.
        share: Part of the time that is left which it may take.
        stage: Name of the training in events.
        teacher: Network whose outputs are learnt besides the targets; None: the targets alone.
    """

    name: str
    source: Source
    epochs: float
    seeds: SeedTree
    masks: Mapping[str, Tensor] | None = None
    share: float = LAST
    stage: str = "retrain"
    teacher: Teacher | None = None


@dataclass(frozen=True)
class Retrainer:
    """Trains the pruned networks of a run, each guarded against crashes and in the time that is left.

    Attributes:
        problem: Gives the task.
        workplace: Device, threads and layout of the networks.
        learning: The way in which they learn.
        guard: Does the trainings.
        time_budget: Time budget of the run; None where there is none.
    """

    problem: Problem
    workplace: Workplace
    learning: Learning
    guard: TrainingGuard
    time_budget: TimeBudget | None = None

    def train(self, model: nn.Module, what: Retraining) -> None:
        """Train `model` in place and leave it in eval mode.

        Raises:
            DivergedError: The loss is not finite.
            WorkerLostError: The training crashes however it is done.
        """

        def train_for(
            network: nn.Module, schedule: Schedule, on_step: StepListener | None, notify: Listener = ignore
        ) -> None:
            train_for_task(
                network,
                self.problem.task,
                what.source,
                schedule,
                stage="finetune" if what.stage == "probe" else what.stage,
                seeds=what.seeds,
                device=self.workplace.device,
                micro_batch=MicroBatch(None, stage=_IN_WORDS[what.stage], notify=notify),
                on_step=on_step,
                masks=what.masks,
                teacher=what.teacher,
                seconds=None if self.time_budget is None else self.time_budget.seconds_left(what.share),
            )

        def work(notify: Listener) -> None:
            schedule = self.learning.over(what.source, epochs)
            steps = self.learning.steps_per_epoch(what.source)
            train_for(model, schedule, EpochReporter(what.stage, steps, schedule.steps, notify), notify)

        epochs = what.epochs
        if self.time_budget is not None:
            one_epoch = self.learning.over(what.source, 1)
            epochs = self.time_budget.epochs(
                what.name,
                epochs,
                lambda: self.guard.train(what.name, model, lambda _: seconds_per_epoch(train_for, model, one_epoch)),
                share=what.share,
            )
        self.guard.train(what.name, model, work)
        model.eval()


_IN_WORDS = {"retrain": "retraining", "finetune": "fine-tuning", "probe": "trying a start"}
