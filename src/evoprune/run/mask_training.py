"""Training between the searches of a mask run, and the importance orders that the next search begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from torch import nn

from evoprune.evaluation.teacher import Teacher
from evoprune.events import Listener
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import masks_as_tensors
from evoprune.masks.weight_scores import weight_scores
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.weights import put_weights, read_weights
from evoprune.run.mask_context import MaskContext
from evoprune.run.mask_schedule import Step
from evoprune.run.opened_run import OpenedRun
from evoprune.run.retraining import Retraining
from evoprune.store.run_directory import BASELINE

FISHER_BATCH = 64


@dataclass(frozen=True)
class MaskTraining:
    """How the networks between the searches of a mask run learn, and by which rules weights are ordered.

    Attributes:
        retrain_epochs: After a step.
        between_epochs: After a step on the way to a goal.
        criteria: Names of the criteria that searches begin with; none where the search goes without a rule.
        fisher_samples: Samples that criteria may look at.
        distill: Share of the loss that is the distance to the dense network's outputs.
        distill_temperature: Temperature of these outputs.
        regrow: Share of the kept weights that members of a population may give up for pruned ones that come back.
    """

    retrain_epochs: float
    between_epochs: float
    criteria: tuple[str, ...]
    fisher_samples: int
    distill: float = 0.0
    distill_temperature: float = 1.0
    regrow: float = 0.0

    def after_step(self, run: OpenedRun, model: nn.Module, plan: MaskPlan, step: Step) -> None:
        """Train a masked network on the train set, in place: select goes on judging.

        It takes half of what is left of the time budget at most.
        """
        what = Retraining(
            f"the retraining of step {step.index}",
            run.problem.task.train,
            self.between_epochs if step.between else self.retrain_epochs,
            run.parts.seeds.child("retrain", "masks", step.index),
            masks_as_tensors(model, plan),
            share=0.5,
            teacher=self._teacher(run),
        )
        run.retrainer.train(model, what)

    def at_the_end(self, run: OpenedRun, model: nn.Module, plan: MaskPlan) -> None:
        """Train the final network on train and select together, in place."""
        task, parts = run.problem.task, run.parts
        what = Retraining(
            "the last retraining",
            task.train.joined(task.select),
            parts.training.retrain_epochs,
            parts.seeds.child("retrain", "masks", "end"),
            masks_as_tensors(model, plan),
            teacher=self._teacher(run),
        )
        run.retrainer.train(model, what)

    def _teacher(self, run: OpenedRun) -> Teacher | None:
        """The dense network, in a copy of its own: the run's network takes the weights of one state after the other."""
        if not self.distill:
            return None
        network: nn.Module = clone(run.problem.model)
        put_weights(network, read_weights(run.parts.store.directory / BASELINE), "the baseline")
        return Teacher(network.eval(), self.distill, self.distill_temperature)

    def orders(
        self, run: OpenedRun, context: MaskContext, step: Step
    ) -> Mapping[str, Mapping[str, NDArray[np.float32]]]:
        """Scores of the network as it is, per unit, by each criterion."""
        if not self.criteria:
            return {}
        task, model = run.problem.task, run.problem.model
        seed = run.parts.seeds.child("fisher", step.index).seed
        count = -(-self.fisher_samples // FISHER_BATCH)

        def work(_: Listener) -> Mapping[str, Mapping[str, NDArray[np.float32]]]:
            batches = task.train.batches(FISHER_BATCH, device=run.parts.workplace.device, seed=seed)
            return weight_scores(model, context.weights, self.criteria, islice(batches, count), task.loss)

        scores = run.parts.guard().train("scoring weights", model, work)
        return {criterion: context.units_of(by_name) for criterion, by_name in scores.items()}
