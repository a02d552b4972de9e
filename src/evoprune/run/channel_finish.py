"""The end of a run of channels: the best candidate built, retrained and compared, with the best criterion's beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from torch import nn

from evoprune.channels.encoding import Encoding
from evoprune.channels.surgery import prune
from evoprune.errors import StoreCorruptedError
from evoprune.evaluation.inheritance import inherit, read_trained
from evoprune.events import Decision
from evoprune.genome import BitGenome
from evoprune.nn_utils.cloning import clone
from evoprune.plan import PruningPlan
from evoprune.results import ModelReport, values_text
from evoprune.run.final_report import save_finished
from evoprune.run.front import best_of, fitness_of, front_of, front_points, last_rung, usable
from evoprune.run.latency_tables import check_finished
from evoprune.run.opened_run import OpenedRun
from evoprune.run.retraining import Retraining
from evoprune.run.stopwatch import stage
from evoprune.run.time_budget import LAST
from evoprune.seeding import SeedTree
from evoprune.space.latency_table import LatencyTable
from evoprune.store.comparison import Comparison, CriterionFigures, ModelFigures
from evoprune.store.journal import JournalEntry
from evoprune.store.run_directory import ARTIFACT
from evoprune.store.states import StateFolder

PROBE_SHARE: Final = 0.03
"""Of the last retraining, that is spent on each of two starts to choose between them."""
PROBE_EPOCHS: Final = 0.2
HALF: Final = 0.5
"""Share of the time left that the first of two networks may take."""


@dataclass(frozen=True)
class ChannelFinish:
    """Makes the finished networks of a run.

    Attributes:
        run: The opened run, whose search is over.
        encoding: Turns genomes into plans.
        first: Genomes that the search began with, by the names of criteria.
        compares: Whether the best criterion's network is finished as well.
        latencies: Latency tables, by the names of objectives.
    """

    run: OpenedRun
    encoding: Encoding
    first: Mapping[str, BitGenome]
    compares: bool
    latencies: Mapping[str, LatencyTable] = field(default_factory=dict)

    def comparison(self) -> Comparison:
        """Build the best candidate, retrain it, save it and compare it."""
        problem, searched = self.run.problem, self.run.measures.searched
        entries = self.run.parts.store.journal.entries
        best, rival = best_of(entries), self._best_criterion(entries)
        # Where the best is a criterion's own cut, there is one network to train and to judge.
        apart = rival is not None and rival[1].evaluation.genome != best.evaluation.genome
        plan, model = self._retrained(best, "the last retraining", share=HALF if apart else LAST)
        models = {"baseline": problem.model, "pruned": model}
        if rival is not None and apart:
            models["criterion"] = self._retrained(rival[1], "the criterion's retraining", share=LAST)[1]
        with stage("report", self.run.parts.notify):
            finished = self.run.judge.reports(models, self.run.measures.reported)
            check_finished(self.run, self.latencies, best.evaluation.objectives, finished["pruned"].to_json())
            artifact = self.run.parts.store.directory / ARTIFACT
            save_finished(artifact, model, plan, problem, self.run.parts.notify, factory=problem.factory)
            return Comparison(
                baseline=ModelFigures(finished["baseline"].to_json()),
                pruned=ModelFigures(finished["pruned"].to_json(), best.evaluation.genome),
                criterion=None if rival is None else self._compared(rival[0], rival[1].evaluation.genome, finished),
                metric=problem.task.card,
                front=front_points(front_of(last_rung(entries), searched)),
                objectives=tuple(one.name for one in searched),
                uncounted=finished["baseline"].uncounted,
            )

    def _retrained(self, entry: JournalEntry, name: str, *, share: float) -> tuple[PruningPlan, nn.Module]:
        """The network of a candidate, trained on train and select together."""
        run, parts = self.run, self.run.parts
        plan, genome = self._plan(entry), entry.evaluation.genome
        model = prune(run.problem.model, plan)
        seeds = parts.seeds.child("retrain", genome)
        searched = [one.name for one in run.measures.searched]
        figures = values_text(entry.evaluation.objectives, run.problem.task.card, searched)
        with stage("retrain", parts.notify, f"candidate {entry.index}: {figures}"):
            if "state" in entry.tags:
                model = self._better_start(model, plan, str(entry.tags["state"]), seeds)
            both = run.problem.task.train.joined(run.problem.task.val)
            run.retrainer.train(model, Retraining(name, both, parts.training.retrain_epochs, seeds, share=share))
        return plan, model

    def _better_start(self, cut: nn.Module, plan: PruningPlan, state: str, seeds: SeedTree) -> nn.Module:
        """The cut with the dense network's weights or with those of the search, whichever does better after a short training."""
        run, parts = self.run, self.run.parts
        path = StateFolder(parts.store.directory)
        trained = prune(run.problem.model, plan)
        inherit(trained, plan, run.problem.model, read_trained(path.get_bytes(state), plan, f"state {state}"))
        epochs = min(PROBE_SHARE * parts.training.retrain_epochs, PROBE_EPOCHS)
        costs = {}
        for name, model in (("dense", cut), ("searched", trained)):
            probe = clone(model)
            training, seed = run.problem.task.train, seeds.child("probe")
            what = Retraining(f"a probe of the {name} weights", training, epochs, seed, stage="probe")
            run.retrainer.train(probe, what)
            costs[name] = run.cost_on_select(probe)
        measure = "loss" if "loss" in run.measures.names else run.problem.task.card.name
        figures = ", ".join(f"{name} {abs(cost):.4g}" for name, cost in costs.items())
        best = min(costs, key=lambda name: costs[name])
        parts.notify(Decision("retraining", f"it starts from the {best} weights ({measure} on select: {figures})"))
        return trained if best == "searched" else cut

    def _best_criterion(self, entries: Sequence[JournalEntry]) -> tuple[str, JournalEntry] | None:
        """The criterion whose cut came furthest, by its name; None where there is nothing to compare."""
        if not self.compares:
            return None
        names = {genome.digest: name for name, genome in reversed(list(self.first.items()))}
        known = [one for one in usable(entries) if one.evaluation.genome in names and self._has_weights(one)]
        if not known:
            return None
        best = max(known, key=lambda entry: (entry.evaluation.rung, fitness_of(entry), -entry.index))
        return names[best.evaluation.genome], best

    def _has_weights(self, entry: JournalEntry) -> bool:
        """Whether what the search trained is still there; of those that were given up it is not."""
        folder = StateFolder(self.run.parts.store.directory)
        return "state" not in entry.tags or folder.path(str(entry.tags["state"])).is_file()

    def _compared(self, name: str, genome: str, reports: Mapping[str, ModelReport]) -> CriterionFigures:
        ours = reports["pruned"]
        theirs = reports.get("criterion", ours)
        error = None
        if ours.each is not None and theirs.each is not None and len(ours.each) == len(theirs.each) > 1:
            error = float(np.std(ours.each - theirs.each, ddof=1) / math.sqrt(len(ours.each)))
        figures = ModelFigures(theirs.to_json(), genome)
        return CriterionFigures(name, figures, ours.accuracy - theirs.accuracy, error)

    def _plan(self, entry: JournalEntry) -> PruningPlan:
        if entry.genome is None:
            raise StoreCorruptedError(
                f"evaluation {entry.index} of the journal has no bits", "restore the file from a copy"
            )
        return self.encoding.decode(entry.genome)
