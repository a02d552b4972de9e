"""What a finished run found, as plans and networks, read from its directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from torch import nn

from evoprune.channels.encoding import Encoding
from evoprune.errors import UsageError
from evoprune.evaluation.inheritance import inherit, read_trained
from evoprune.html_tables import html_table
from evoprune.mask_plan import MaskPlan
from evoprune.nn_utils.weights import put_weights, read_weights
from evoprune.plan import PruningPlan
from evoprune.pruning import AnyPlan, prune
from evoprune.results import values_text
from evoprune.run.channel_work import ChannelTarget
from evoprune.run.front_choice import entries_on_front
from evoprune.run.mask_context import MaskTarget
from evoprune.run.problem import ProblemSource
from evoprune.run.stored_encoding import plan_of, stored_encoding
from evoprune.store.artifact import fill_from_artifact, read_artifact_plan
from evoprune.store.comparison import Comparison
from evoprune.store.journal import JournalEntry, read_journal
from evoprune.store.run_directory import ARTIFACT, BASELINE, JOURNAL
from evoprune.store.states import StateFolder
from evoprune.store.steps import StepRecord


@dataclass(frozen=True, repr=False)
class Point:
    """One network that a run found.

    Attributes:
        objectives: Scores on the select set: after the brief fine-tune for a candidate that keeps channels, after retraining
            for a step of a run that masks weights.
        plan: Says what it keeps of the dense network.
    """

    objectives: Mapping[str, float]
    plan: AnyPlan
    _build: Callable[[], nn.Module]

    @cached_property
    def model(self) -> nn.Module:
        """The pruned network: retrained, but for points of a front of channels, which are as the search left them."""
        return self._build()

    def __repr__(self) -> str:
        return f"<point: {values_text(self.objectives)}; {self.plan.summary()}>"

    def _repr_html_(self) -> str:
        rows = [(name, f"{value:,.6g}") for name, value in self.objectives.items()]
        return html_table("one network of a run", ("on select", "value"), rows, [self.plan.summary()])


class Points(Protocol):
    """The networks of one run."""

    def best(self) -> Point:
        """The one that was finished."""

    def front(self) -> list[Point]:
        """The others that are worth having."""


@dataclass(frozen=True)
class _RunFiles:
    directory: Path
    source: ProblemSource
    comparison: Comparison

    @cached_property
    def dense(self) -> nn.Module:
        """The dense network, trained."""
        model = self.source.load().model
        path = self.directory / BASELINE
        put_weights(model, read_weights(path), str(path))
        return model.eval()

    def finished(self, plan: AnyPlan) -> nn.Module:
        """The network of the artifact."""
        return fill_from_artifact(prune(self.dense, plan), self.directory / ARTIFACT)


class ChannelPoints:
    """Candidates that keep some of the channels.

    Args:
        files: Files of the run.
        target: Says which channels may go.
    """

    def __init__(self, files: _RunFiles, target: ChannelTarget) -> None:
        self._files, self._target = files, target

    def best(self) -> Point:
        """The fittest candidate, with its retrained network."""
        entries = {entry.evaluation.genome: entry for entry in self._entries}
        return self._point(entries[str(self._files.comparison.pruned.genome)], self._files.finished)

    def front(self) -> list[Point]:
        """Candidates that no other beats in every objective, sorted by the first one."""
        entries = entries_on_front(self._files.directory, self._files.comparison)
        return [self._point(entry, partial(self._candidate, entry)) for entry in entries]

    def _candidate(self, entry: JournalEntry, plan: PruningPlan) -> nn.Module:
        """The network of a candidate, with the weights that the search trained where it kept them."""
        model, state = prune(self._files.dense, plan), entry.tags.get("state")
        folder = StateFolder(self._files.directory)
        if state is not None and folder.path(str(state)).is_file():
            content = folder.get_bytes(str(state))
            inherit(model, plan, self._files.dense, read_trained(content, plan, f"state {state}"))
        return model.eval()

    @cached_property
    def _entries(self) -> list[JournalEntry]:
        return read_journal(self._files.directory / JOURNAL)

    @cached_property
    def _encoding(self) -> Encoding:
        return stored_encoding(self._files.directory, self._target, self._files.dense, self._files.source.load())

    def _point(self, entry: JournalEntry, build: Callable[[PruningPlan], nn.Module]) -> Point:
        if entry.genome is None:
            raise UsageError(f"the genome of evaluation {entry.index} is too large to stand in the journal")
        plan = plan_of(entry, self._encoding)
        return Point(entry.evaluation.objectives, plan, lambda: build(plan))


class MaskPoints:
    """Networks with masked weights: the finished one, and the one after each step.

    Args:
        files: Files of the run.
        target: Says which weights may go.
    """

    def __init__(self, files: _RunFiles, target: MaskTarget) -> None:
        self._files, self._target = files, target

    def best(self) -> Point:
        """The finished network."""
        plan = read_artifact_plan(self._files.directory / ARTIFACT)
        figures = {"sparsity": self._files.comparison.pruned.figures["sparsity"]}
        return Point(figures, plan, lambda: self._files.finished(plan))

    def front(self) -> list[Point]:
        """The network after each step that was taken, in order: sparser from step to step."""
        return [self._point(step.record) for step in self._files.comparison.steps or () if step.record.taken]

    def _point(self, step: StepRecord) -> Point:
        folder, dense = StateFolder(self._files.directory), self._files.dense
        state = folder.get(step.state)
        plan: MaskPlan = self._target.of(dense).plan(state)

        def build() -> nn.Module:
            model = prune(dense, plan)
            put_weights(model, dict(state.weights), str(folder.path(step.state)))
            return model.eval()

        return Point({"accuracy": step.select_accuracy, "sparsity": step.sparsity}, plan, build)


def points_of(
    directory: Path, target: ChannelTarget | MaskTarget, source: ProblemSource, comparison: Comparison
) -> Points:
    """The networks of a finished run."""
    files = _RunFiles(directory, source, comparison)
    return MaskPoints(files, target) if isinstance(target, MaskTarget) else ChannelPoints(files, target)
