"""Candidates of channels as finished networks: cut from the dense one, begun with the better weights, retrained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from torch import nn

from evoprune.channels.encoding import Encoding
from evoprune.channels.surgery import prune
from evoprune.data.base import Source
from evoprune.evaluation.inheritance import inherit, read_trained
from evoprune.evaluation.known_outputs import with_known_outputs
from evoprune.evaluation.teacher import Distillation, Teacher
from evoprune.events import Decision, Listener
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.outputs import outputs_of
from evoprune.objectives.scores import losses_of, score_outputs
from evoprune.plan import PruningPlan
from evoprune.results import values_text
from evoprune.rng import isolated_rng
from evoprune.run.measures import Measures
from evoprune.run.problem import Problem
from evoprune.run.retraining import Retraining
from evoprune.run.stopwatch import stage
from evoprune.run.stored_encoding import plan_of
from evoprune.run.time_budget import LAST
from evoprune.run.workplace import SCORING_BATCH, Workplace
from evoprune.seeding import SeedTree
from evoprune.store.journal import JournalEntry
from evoprune.store.states import StateFolder

LAST_RETRAINING: Final = "the last retraining"
"""Name of the training of the network that a run is about."""
PROBE_SHARE: Final = 0.03
"""Of the last retraining, that is spent on each of two starts to choose between them."""
PROBE_EPOCHS: Final = 0.2


@dataclass(frozen=True)
class CandidateNetworks:
    """Makes finished networks of the candidates of one run: the same for a candidate, whenever it is made.

    Attributes:
        problem: Problem of the run, with the trained dense network.
        workplace: Device and threads of trainings.
        measures: What candidates are measured by.
        encoding: Turns genomes into plans.
        states: What the search trained.
        epochs: Epochs of the last retraining.
        distillation: What networks learn from the dense one besides; None: nothing.
        seeds: Root of the run's seeds.
        train: Trains a network in place.
        notify: Called with each event.
    """

    problem: Problem
    workplace: Workplace
    measures: Measures
    encoding: Encoding
    states: StateFolder
    epochs: float
    distillation: Distillation | None
    seeds: SeedTree
    train: Callable[[nn.Module, Retraining], None]
    notify: Listener

    def retrained(self, entry: JournalEntry, name: str, *, share: float = LAST) -> tuple[PruningPlan, nn.Module]:
        """The network of a candidate, trained on train and select together.

        Args:
            entry: Line of the candidate in the journal; where it names a state, that must be there.
            name: Name of the training in messages and kept decisions.
            share: Part of the time that is left which it may take.
        """
        task = self.problem.task
        plan, seeds = plan_of(entry, self.encoding), self.seeds.child("retrain", entry.evaluation.genome)
        model = prune(self.problem.model, plan)
        searched = [one.name for one in self.measures.searched]
        figures = values_text(entry.evaluation.objectives, task.card, searched)
        with stage("retrain", self.notify, f"candidate {entry.index}: {figures}"):
            if "state" in entry.tags:
                model = self._better_start(model, plan, str(entry.tags["state"]), seeds)
            self.train(model, Retraining(name, self._lessons, self.epochs, seeds, share=share, teacher=self._teacher))
        return plan, model

    def has_weights(self, entry: JournalEntry) -> bool:
        """Whether what the search trained is still there; of those that were given up it is not."""
        return "state" not in entry.tags or self.states.path(str(entry.tags["state"])).is_file()

    @cached_property
    def _teacher(self) -> Teacher | None:
        return None if self.distillation is None else self.distillation.by(self.problem.model)

    @cached_property
    def _lessons(self) -> Source:
        """Train and select together, with the teacher's outputs where they can be known."""
        samples, device = self.problem.task.train.joined(self.problem.task.val), self.workplace.device
        if self._teacher is None:
            return samples
        with torch_threads(self.workplace.training_threads):
            return with_known_outputs(samples, self._teacher.model, device=device, batch_size=SCORING_BATCH)

    def _better_start(self, cut: nn.Module, plan: PruningPlan, state: str, seeds: SeedTree) -> nn.Module:
        """The cut with the dense network's weights or with those of the search, whichever does better after a short training."""
        trained = prune(self.problem.model, plan)
        inherit(trained, plan, self.problem.model, read_trained(self.states.get_bytes(state), plan, f"state {state}"))
        epochs = min(PROBE_SHARE * self.epochs, PROBE_EPOCHS)
        costs = {}
        for name, model in (("dense", cut), ("searched", trained)):
            probe = clone(model)
            training, seed = self.problem.task.train, seeds.child("probe")
            self.train(probe, Retraining(f"a probe of the {name} weights", training, epochs, seed, stage="probe"))
            costs[name] = self._cost_on_select(probe)
        measure = "loss" if "loss" in self.measures.names else self.problem.task.card.name
        figures = ", ".join(f"{name} {abs(cost):.4g}" for name, cost in costs.items())
        best = min(costs, key=lambda name: costs[name])
        self.notify(Decision("retraining", f"it starts from the {best} weights ({measure} on select: {figures})"))
        return trained if best == "searched" else cut

    def _cost_on_select(self, model: nn.Module) -> float:
        """The loss of a network on the whole select set, with the threads of training; the metric where no loss is scored.

        Lower is better: a metric of which more is better has its sign turned.
        """
        task = self.problem.task
        with torch_threads(self.workplace.training_threads), isolated_rng(0):
            outputs = outputs_of(model, task.val, device=self.workplace.device, batch_size=SCORING_BATCH)
            if "loss" in self.measures.names:
                return losses_of(outputs, task.loss).mean
            return -task.card.gain(score_outputs(outputs, task.metric).value)
