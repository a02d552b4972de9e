"""From the settings of a run to another point of its front as a finished network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprune.config.kinds import is_mask_run
from evoprune.config.metric_names import bounds_with_metric_named
from evoprune.config.schema import Config
from evoprune.errors import UsageError
from evoprune.events import Decision, Listener
from evoprune.run.addition import finished_manifest
from evoprune.run.bounds import in_words_of
from evoprune.run.factories.additions import addition, addition_config, addition_source
from evoprune.run.factories.channels import channel_target
from evoprune.run.factories.common import wanted_measures
from evoprune.run.front_choice import FrontChoice, entries_on_front
from evoprune.run.measures import choose_measures
from evoprune.run.point_finish import POINTS, PointFinish
from evoprune.run.problem import ProblemSource
from evoprune.store.comparison import Comparison, read_comparison
from evoprune.store.journal import JournalEntry


@dataclass(frozen=True)
class Choice:
    """A point of a front.

    Attributes:
        entry: Line of the candidate in the journal.
        why: What it was chosen by.
        before: The run's comparison.
    """

    entry: JournalEntry
    why: str
    before: Comparison

    @property
    def folder(self) -> str:
        """Where its network goes in the run directory, unless another place is named."""
        return f"{POINTS}/{self.entry.index}"


def finish_config(
    directory: Path, *, epochs: float | None = None, lr: float | None = None, settings: Mapping[str, Any] | None = None
) -> Config:
    """The settings of a finish, as `addition_config` says.

    Raises:
        UsageError: Besides, it is a run of weight masks.
    """
    config = addition_config(directory, "finishing a point", epochs=epochs, lr=lr, settings=settings)
    if is_mask_run(config):
        raise UsageError(
            f"{directory} is a run of weight masks, which has no front to finish a point of",
            "its network after each step: evoprune.resume(directory).front",
        )
    return config


def finish_source(directory: Path, config: Config) -> ProblemSource:
    """Where the problem of a recipe's run comes from, as `addition_source` says."""
    return addition_source(directory, config, "finish")


def choose(directory: Path, config: Config, *, point: int | None, constraints: Sequence[str]) -> Choice:
    """The point that is meant: by its number, or the best that keeps the bounds.

    Args:
        directory: Folder of a finished run of channels.
        config: Settings that `finish_config` returned.
        point: Its number, as `evoprune front` shows it.
        constraints: Bounds, where there is no number.

    Raises:
        UsageError: There is none, or neither or both of the two are given.
        StoreCorruptedError: A file of the run is damaged.
    """
    if (point is None) == (not constraints):
        raise UsageError(
            "a point is chosen by its number or by bounds: give one of the two",
            f"evoprune front {directory} shows the points; a bound is such as macs<=0.2",
        )
    before = read_comparison(directory)
    if not before.front:
        raise UsageError(f"the run in {directory} has no front", "search again with this version")
    front = FrontChoice(
        directory,
        entries_on_front(directory, before),
        choose_measures(wanted_measures(config), before.metric),
        finished_manifest(directory).dense,
    )
    if point is not None:
        return Choice(front.numbered(point), "as asked", before)
    bounds = bounds_with_metric_named(constraints, before.metric)
    found = front.within(bounds)
    why = f"the best by {in_words_of(front.decisive.name, before.metric)} that keeps {' and '.join(constraints)}"
    return Choice(found, why, before)


def finish_point(
    directory: Path, config: Config, source: ProblemSource, choice: Choice, out: Path, notify: Listener
) -> Comparison:
    """Make the finished network of a point, and write it to a directory of its own.

    Args:
        directory: Folder of a finished run of channels.
        config: Settings that `finish_config` returned.
        source: The run's problem.
        choice: Point that `choose` returned.
        out: New or empty, or where the same was begun by a process that died.
        notify: Called with each event.

    Returns:
        What the models came to, as `PointFinish.execute` says.
    """
    notify(Decision("point", f"{choice.entry.index}, {choice.why}"))
    made = addition(directory, config, source, out, notify)
    return PointFinish(made, channel_target(config), wanted_measures(config), choice.entry).execute(choice.before)
