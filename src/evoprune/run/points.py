"""What a finished run found, as plans and networks, read from its directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from evoprune.artifact import put_weights, read_weights
from evoprune.errors import UsageError
from evoprune.mask_plan import MaskPlan
from evoprune.plan import PruningPlan
from evoprune.pruning.apply import AnyPlan, prune
from evoprune.pruning.checked import analyze
from evoprune.run.artifacts import read_artifact_plan, read_artifact_weights
from evoprune.run.assemble import build_encoding
from evoprune.run.config import Config
from evoprune.run.journal import JournalEntry, read_journal
from evoprune.run.mask_stage import build_space
from evoprune.run.presets import is_mask_run
from evoprune.run.problem import ProblemSource
from evoprune.run.states import StateFolder
from evoprune.run.store import ARTIFACT, BASELINE, JOURNAL
from evoprune.space.base import Encoding


@dataclass(frozen=True)
class Point:
    """One network that a run found.

    Attributes:
        objectives: Its scores on the select set: after the brief fine-tune for a candidate that keeps channels, after retraining
            for a step of a run that masks weights.
        plan: What it keeps of the dense network.
    """

    objectives: Mapping[str, float]
    plan: AnyPlan
    _build: Callable[[], nn.Module]

    @cached_property
    def model(self) -> nn.Module:
        """The pruned network: retrained, but for points of a front of channels, which have the dense network's weights."""
        return self._build()


class Points(Protocol):
    """The networks of one run."""

    def best(self) -> Point:
        """The one that was finished."""

    def front(self) -> list[Point]:
        """The others that are worth having."""


@dataclass(frozen=True)
class _RunFiles:
    directory: Path
    config: Config
    source: ProblemSource
    comparison: Mapping[str, Any]

    @cached_property
    def dense(self) -> nn.Module:
        """The dense network, trained."""
        model = self.source.load().model
        path = self.directory / BASELINE
        put_weights(model, read_weights(path), str(path))
        return model.eval()

    def finished(self, plan: AnyPlan) -> nn.Module:
        """The network of the artifact."""
        model = prune(self.dense, plan)
        path = self.directory / ARTIFACT
        put_weights(model, read_artifact_weights(path), str(path))
        return model.eval()


class ChannelPoints:
    """Candidates that keep some of the channels.

    Args:
        files: Of the run.
    """

    def __init__(self, files: _RunFiles) -> None:
        self._files = files

    def best(self) -> Point:
        """The fittest candidate, with its retrained network."""
        entries = {entry.evaluation.genome: entry for entry in self._entries}
        return self._point(entries[self._files.comparison["pruned"]["genome"]], self._files.finished)

    def front(self) -> list[Point]:
        """Candidates that no other beats in every objective, sorted by the first one."""
        return [
            self._point(self._entries[point["index"]], lambda plan: prune(self._files.dense, plan))
            for point in self._files.comparison["front"]
        ]

    @cached_property
    def _entries(self) -> list[JournalEntry]:
        return read_journal(self._files.directory / JOURNAL)

    @cached_property
    def _encoding(self) -> Encoding:
        return build_encoding(self._files.config, analyze(self._files.dense, self._files.source.load().example_inputs))

    def _point(self, entry: JournalEntry, build: Callable[[PruningPlan], nn.Module]) -> Point:
        if entry.genome is None:
            raise UsageError(f"the genome of evaluation {entry.index} is too large to stand in the journal")
        plan = self._encoding.decode(entry.genome)
        return Point(entry.evaluation.objectives, plan, lambda: build(plan))


class MaskPoints:
    """Networks with masked weights: the finished one, and the one after each step.

    Args:
        files: Of the run.
    """

    def __init__(self, files: _RunFiles) -> None:
        self._files = files

    def best(self) -> Point:
        """The finished network."""
        plan = read_artifact_plan(self._files.directory / ARTIFACT)
        figures = {"sparsity": float(self._files.comparison["pruned"]["sparsity"])}
        return Point(figures, plan, lambda: self._files.finished(plan))

    def front(self) -> list[Point]:
        """The network after each step that was taken, in order: sparser from step to step."""
        return [self._point(step) for step in self._files.comparison["steps"] if step["taken"]]

    def _point(self, step: Mapping[str, Any]) -> Point:
        folder, dense = StateFolder(self._files.directory), self._files.dense
        state = folder.get(str(step["state"]))
        plan: MaskPlan = build_space(self._files.config, dense, state, list(state.alive), None).plan(state.alive)

        def build() -> nn.Module:
            model = prune(dense, plan)
            put_weights(model, dict(state.weights), str(folder.path(str(step["state"]))))
            return model.eval()

        return Point({"accuracy": step["select_accuracy"], "sparsity": step["sparsity"]}, plan, build)


def points_of(directory: Path, config: Config, source: ProblemSource, comparison: Mapping[str, Any]) -> Points:
    """The networks of a finished run."""
    files = _RunFiles(directory, config, source, comparison)
    return MaskPoints(files) if is_mask_run(config) else ChannelPoints(files)
