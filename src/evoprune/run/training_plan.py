"""How the networks of a run learn: the baseline, each candidate, the final model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evoprune.data.base import Source
from evoprune.data.task import Task
from evoprune.evaluation.recovery import Fidelity
from evoprune.evaluation.teacher import Distillation
from evoprune.evaluation.training import Schedule
from evoprune.run.rungs import TRAINING_COST, LadderShape, Rung


@dataclass(frozen=True)
class Learning:
    """One way of learning, of any length.

    Attributes:
        batch_size: Samples per step.
        optimizer: Name of the optimiser, as for `Schedule`; so are the others.
        lr: Peak learning rate.
        weight_decay: Weight decay of the optimiser.
        precision: Precision of products and convolutions.
        clip_grad_norm: Largest norm of a gradient; None: any.
        distillation: What cut networks learn from the dense one; None: nothing.
    """

    batch_size: int
    optimizer: str
    lr: float
    weight_decay: float
    precision: str
    clip_grad_norm: float | None = None
    distillation: Distillation | None = None

    def steps_per_epoch(self, source: Source) -> int:
        """Steps of one epoch over `source`."""
        return source.batch_count(self.batch_size)

    def over(self, source: Source, epochs: float) -> Schedule:
        """A schedule of so many epochs over `source`, fractions rounded to whole steps."""
        return self.of_steps(round(epochs * self.steps_per_epoch(source)))

    def of_steps(self, steps: int) -> Schedule:
        """A schedule of so many steps."""
        return Schedule(
            steps,
            self.batch_size,
            self.optimizer,
            self.lr,
            self.weight_decay,
            precision=self.precision,
            clip_grad_norm=self.clip_grad_norm,
        )


@dataclass(frozen=True)
class TrainingPlan:
    """How long and in which way the networks of a run learn, and what candidates are scored on.

    Attributes:
        baseline: Training of the dense network.
        finetuning: Training of each candidate.
        retraining: Training of the networks that are kept.
        epochs: Epochs of the baseline.
        retrain_epochs: Epochs of the final network.
        finetune_epochs: Epochs of a candidate, where no steps are given.
        finetune_steps: Steps of a candidate; None where epochs say it.
        finetune_min_steps: Steps that epochs above 0 stand for at least.
        recalibrate_batches: Batches for a candidate's BatchNorm statistics.
        select_samples: Samples of the select set that candidates are scored on; all when None.
    """

    baseline: Learning
    finetuning: Learning
    retraining: Learning
    epochs: float
    retrain_epochs: float
    finetune_epochs: float
    finetune_steps: int | None
    finetune_min_steps: int
    recalibrate_batches: int
    select_samples: int | None

    @property
    def learns(self) -> bool:
        """Whether anything is trained."""
        return any((self.epochs, self.retrain_epochs, self.finetune_epochs, self.finetune_steps or 0))

    def fidelity(self, train_set: Source) -> Fidelity:
        """What a candidate learns before it is scored."""
        steps = self.finetune_steps
        if steps is None:
            steps = round(self.finetune_epochs * self.finetuning.steps_per_epoch(train_set))
            steps = max(steps, self.finetune_min_steps) if self.finetune_epochs else 0
        return Fidelity(self.recalibrate_batches, self.finetuning.of_steps(steps), self.select_samples)

    def rungs(self, shape: LadderShape, task: Task) -> tuple[Rung, ...]:
        """The generations of a ladder that takes its share of the compute, the last retraining being the rest."""
        select = len(task.val)
        retraining = self.retrain_epochs * (len(task.train) + select)
        return shape.rungs(retraining=retraining, batch_size=self.finetuning.batch_size, select=select)

    def share_of(self, rungs: Sequence[Rung], task: Task, *, trainings: int = 1) -> float:
        """Share that the generations take of their compute and that of so many last retrainings together."""
        search = sum(rung.passes(self.finetuning.batch_size) for rung in rungs)
        retraining = TRAINING_COST * self.retrain_epochs * (len(task.train) + len(task.val))
        return search / (search + trainings * retraining)

    def fidelity_of(self, rung: Rung) -> Fidelity:
        """What a candidate learns on a rung, and what it is scored on."""
        base = self.retraining if rung.as_retraining else self.finetuning
        learning = replace(base, batch_size=self.finetuning.batch_size, lr=rung.rate * base.lr)
        return Fidelity(self.recalibrate_batches, learning.of_steps(rung.steps), rung.scored)

    def scored(self, task: Task) -> Source:
        """The part of the select set that candidates are scored on."""
        return task.select if self.select_samples is None else task.select.head(self.select_samples)
