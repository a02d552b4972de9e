"""Another point of a front as a finished network: built, retrained and judged without another search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from evoprune.events import Decision
from evoprune.results import ModelReport
from evoprune.run.addition import POINT, Addition, OpenedAddition
from evoprune.run.candidate_networks import LAST_RETRAINING, CandidateNetworks
from evoprune.run.channel_work import ChannelTarget
from evoprune.run.final_report import Timed, save_finished, untimed
from evoprune.run.measures import Wanted, choose_measures
from evoprune.run.stopwatch import stage
from evoprune.run.stored_encoding import stored_encoding
from evoprune.store.comparison import Comparison, ModelFigures
from evoprune.store.journal import JournalEntry
from evoprune.store.states import StateFolder

POINTS: Final = "points"
"""Folder in the run directory, with a folder for each point."""


@dataclass(frozen=True)
class PointFinish:
    """Makes the finished network of one candidate: the one that the run would have given, had that candidate been its best.

    Attributes:
        addition: The run, how the network learns, and where the result goes.
        target: Says which channels the run may prune.
        wanted: Measures of the run.
        entry: Line of the candidate in the journal.
    """

    addition: Addition
    target: ChannelTarget
    wanted: Wanted
    entry: JournalEntry

    def execute(self, before: Comparison) -> Comparison:
        """Build the network, retrain it, save it and compare it with the dense one.

        Args:
            before: The run's comparison.

        Returns:
            `baseline`, as the run judged it but for its latency, and `pruned`.

        Raises:
            UsageError: There is no finished run, `out` holds something or another process is at work there, or the problem is not
                the run's.
            StoreCorruptedError: A file of the run is damaged.
            RunError: There was no room on the disk.
        """
        entry = self.entry
        with self.addition.opened({POINT: entry.index, "genome": entry.evaluation.genome}) as opened:
            dense = opened.dense()
            return self._finished(replace(opened, problem=replace(opened.problem, model=dense)), before)

    def _finished(self, opened: OpenedAddition, before: Comparison) -> Comparison:
        problem, notify, out = opened.problem, self.addition.notify, opened.claim.directory
        networks = self._networks(opened)
        plan, model = networks.retrained(self._begun(networks), LAST_RETRAINING)
        with stage("report", notify):
            measured = networks.measures.reported
            timed = opened.judge.timed({"baseline": problem.model, "pruned": model}, measured)
            save_finished(out, model, plan, problem, notify, factory=problem.factory)
            report = opened.judge.report(model, timed.latencies["pruned"], untimed(measured))
            return opened.finish(self._comparison(before, report, timed))

    def _networks(self, opened: OpenedAddition) -> CandidateNetworks:
        problem, directory = opened.problem, self.addition.directory
        with stage("analysis", self.addition.notify):
            encoding = opened.guard.train(
                "analysis",
                problem.model,
                lambda _: stored_encoding(directory, self.target, problem.model, problem),
            )
        return CandidateNetworks(
            problem,
            opened.workplace,
            choose_measures(self.wanted, problem.task.card),
            encoding,
            StateFolder(directory),
            self.addition.epochs,
            self.addition.learning.distillation,
            self.addition.seeds,
            opened.train,
            self.addition.notify,
        )

    def _begun(self, networks: CandidateNetworks) -> JournalEntry:
        """The candidate, without the weights of the search where these are gone."""
        entry = self.entry
        if networks.has_weights(entry):
            return entry
        detail = f"it starts from the dense weights: what the search trained of candidate {entry.index} is gone"
        self.addition.notify(Decision("retraining", detail))
        return replace(entry, tags={name: value for name, value in entry.tags.items() if name != "state"})

    def _comparison(self, before: Comparison, report: ModelReport, timed: Timed) -> Comparison:
        return Comparison(
            # Milliseconds compare only where they were measured by turns.
            baseline=ModelFigures({**before.baseline.figures, **timed.latencies["baseline"]}),
            pruned=ModelFigures(report.to_json(), self.entry.evaluation.genome),
            metric=before.metric,
            objectives=before.objectives,
            uncounted=before.uncounted,
            timings=timed.timings,
        )
