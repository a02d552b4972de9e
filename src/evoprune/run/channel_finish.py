"""The end of a run of channels: the best candidate built, retrained and compared, with the best criterion's beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from evoprune.channels.encoding import Encoding
from evoprune.genome import BitGenome
from evoprune.results import ModelReport
from evoprune.run.candidate_networks import LAST_RETRAINING, CandidateNetworks
from evoprune.run.final_report import save_finished
from evoprune.run.front import best_of, fitness_of, front_of, front_points, last_rung, usable
from evoprune.run.latency_tables import check_finished
from evoprune.run.opened_run import OpenedRun
from evoprune.run.stopwatch import stage
from evoprune.run.time_budget import LAST
from evoprune.run.widths_record import recorded_widths
from evoprune.space.latency_table import LatencyTable
from evoprune.space.pruning_space import PruningSpace
from evoprune.store.comparison import Comparison, CriterionFigures, ModelFigures
from evoprune.store.journal import JournalEntry
from evoprune.store.run_directory import ARTIFACT
from evoprune.store.states import StateFolder
from evoprune.store.widths import WIDTHS

HALF: Final = 0.5
"""Share of the time left that the first of two networks may take."""


@dataclass(frozen=True)
class ChannelFinish:
    """Makes the finished networks of a run.

    Attributes:
        run: The opened run, whose search is over.
        space: The pruning space.
        encoding: Turns genomes into plans.
        first: Genomes that the search began with, by the names of criteria.
        compares: Whether the best criterion's network is finished as well.
        latencies: Latency tables, by the names of objectives.
    """

    run: OpenedRun
    space: PruningSpace
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
        plan, model = self._networks.retrained(best, LAST_RETRAINING, share=HALF if apart else LAST)
        models = {"baseline": problem.model, "pruned": model}
        if rival is not None and apart:
            models["criterion"] = self._networks.retrained(rival[1], "the criterion's retraining")[1]
        with stage("report", self.run.parts.notify):
            judge, measured = self.run.judge, self.run.measures.reported
            timed = judge.timed(models, measured)
            finished = judge.reports(models, timed, measured)
            check_finished(self.run, self.latencies, best.evaluation.objectives, finished["pruned"].to_json())
            artifact = self.run.parts.store.directory / ARTIFACT
            save_finished(artifact, model, plan, problem, self.run.parts.notify, factory=problem.factory)
            widths = recorded_widths(self.space, self.encoding, entries, searched, best)
            self.run.parts.store.write_json(WIDTHS, widths.to_json())
            return Comparison(
                baseline=ModelFigures(finished["baseline"].to_json()),
                pruned=ModelFigures(finished["pruned"].to_json(), best.evaluation.genome),
                criterion=None if rival is None else self._compared(rival[0], rival[1].evaluation.genome, finished),
                metric=problem.task.card,
                front=front_points(front_of(last_rung(entries), searched)),
                objectives=tuple(one.name for one in searched),
                uncounted=finished["baseline"].uncounted,
                timings=timed.timings,
            )

    @cached_property
    def _networks(self) -> CandidateNetworks:
        run, parts = self.run, self.run.parts
        return CandidateNetworks(
            run.problem,
            parts.workplace,
            run.measures,
            self.encoding,
            StateFolder(parts.store.directory),
            parts.training.retrain_epochs,
            parts.training.retraining.distillation,
            parts.seeds,
            run.retrainer.train,
            parts.notify,
        )

    def _best_criterion(self, entries: Sequence[JournalEntry]) -> tuple[str, JournalEntry] | None:
        """The criterion whose cut came furthest, by its name; None where there is nothing to compare."""
        if not self.compares:
            return None
        names = {genome.digest: name for name, genome in reversed(list(self.first.items()))}
        known = [one for one in usable(entries) if one.evaluation.genome in names and self._networks.has_weights(one)]
        if not known:
            return None
        best = max(known, key=lambda entry: (entry.evaluation.rung, fitness_of(entry), -entry.index))
        return names[best.evaluation.genome], best

    def _compared(self, name: str, genome: str, reports: Mapping[str, ModelReport]) -> CriterionFigures:
        ours = reports["pruned"]
        theirs = reports.get("criterion", ours)
        error = None
        if ours.each is not None and theirs.each is not None and len(ours.each) == len(theirs.each) > 1:
            error = float(np.std(ours.each - theirs.each, ddof=1) / math.sqrt(len(ours.each)))
        figures = ModelFigures(theirs.to_json(), genome)
        return CriterionFigures(name, figures, ours.accuracy - theirs.accuracy, error)
