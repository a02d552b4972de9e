"""Which candidate of a run's front is meant: one by its number, or the best that keeps some bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.objectives.base import Objective
from evoprune.objectives.constraint import COSTS, Constraint, total_violation
from evoprune.objectives.latency_names import is_latency
from evoprune.results import value_text
from evoprune.run.bounds import check_bounds, in_words_of
from evoprune.run.front import costs_of, front_points, usable
from evoprune.run.measures import Measures
from evoprune.store.comparison import Comparison, FrontPoint
from evoprune.store.journal import JournalEntry, read_journal
from evoprune.store.run_directory import JOURNAL

LISTED: Final = 40
"""Numbers of points that a message lists."""


@dataclass(frozen=True)
class FrontChoice:
    """The front of a finished run, to choose from.

    Attributes:
        directory: The run directory, for messages.
        front: Entries of the journal that are on the front.
        measures: What candidates are measured by.
        dense: The dense network's values, on select where they depend on data.
    """

    directory: Path
    front: Sequence[JournalEntry]
    measures: Measures
    dense: Mapping[str, float]

    def numbered(self, number: int) -> JournalEntry:
        """The point of this number, which is its index in the journal.

        Raises:
            UsageError: It is not on the front.
        """
        found = next((one for one in self.front if one.index == number), None)
        if found is None:
            known = ", ".join(str(one.index) for one in self.front[:LISTED])
            raise UsageError(
                f"the front of {self.directory} has no point {number!r}: it has {known}",
                f"what they score and cost: evoprune front {self.directory}",
            )
        return found

    def within(self, texts: Sequence[str]) -> JournalEntry:
        """The best point that keeps all bounds: by the first objective of the search that is no cost, the earlier one of equals.

        Args:
            texts: Bounds as in `search.constraints`; what is relative is a share of the dense network's value.

        Raises:
            UsageError: A bound is none, is on something that was not measured, or is out of reach.
        """
        constraints = tuple(Constraint.parse(text) for text in texts)
        self._check_measured(texts, constraints)
        check_bounds({"constraint": texts}, self.measures.metric, self.dense)

        def excess(entry: JournalEntry) -> float:
            return total_violation(constraints, entry.evaluation.objectives, self.dense)

        kept = [one for one in self.front if excess(one) == 0]
        if not kept:
            beyond = partial(_beyond, constraints, self.dense)
            nearest = min(self.front, key=lambda one: (excess(one), beyond(one.evaluation.objectives), one.index))
            self._refuse(texts, constraints, nearest)
        return min(kept, key=lambda one: (costs_of(one.evaluation, [self.decisive]), one.index))

    @property
    def decisive(self) -> Objective:
        """What the best is the best by: the first objective of the search that is no cost; of costs alone, the first."""
        searched = self.measures.searched
        return next((one for one in searched if one.name not in COSTS and not is_latency(one.name)), searched[0])

    def _check_measured(self, texts: Sequence[str], constraints: Sequence[Constraint]) -> None:
        known = [one for one in self.measures.names if all(one in entry.evaluation.objectives for entry in self.front)]
        for text, one in zip(texts, constraints, strict=True):
            if one.objective not in known:
                metric, own = self.measures.metric, in_words_of
                listed = ", ".join(own(name, metric) for name in known)
                raise UsageError(
                    f"{text!r}: the run has not measured {one.objective} of its candidates; it has {listed}",
                    "a run measures what search.objectives, search.constraints and search.also_measure name",
                )
            if one.relative and one.objective not in self.dense:
                told = in_words_of(text, self.measures.metric)
                raise UsageError(
                    f"{told!r} is a fraction of the dense network's value, which {self.directory} doesn't tell",
                    "give the bound with a unit, such as macs<=20M",
                )

    def _refuse(self, texts: Sequence[str], constraints: Sequence[Constraint], nearest: JournalEntry) -> None:
        names = dict.fromkeys(one.objective for one in constraints)
        figures = ", ".join(self._figure(name, nearest.evaluation.objectives[name]) for name in names)
        asked = " and ".join(in_words_of(text, self.measures.metric) for text in texts)
        raise UsageError(
            f"no point on the front of {self.directory} keeps {asked}; the nearest is {nearest.index}: {figures}",
            "loosen the bound, or begin a run with it in search.constraints",
        )

    def _figure(self, name: str, value: float) -> str:
        dense = self.dense.get(name)
        of_dense = (
            f" ({value / dense:.1%} of the dense network's)" if dense and dense > 0 and name not in _JUDGED else ""
        )
        return value_text(name, value, self.measures.metric) + of_dense


def _beyond(
    constraints: Sequence[Constraint], dense: Mapping[str, float], values: Mapping[str, float]
) -> tuple[float, ...]:
    """By how much each bound is missed: what tells points apart where the bound is 0, and all miss it by all of their value."""
    limits = [(one, one.limit(dense[one.objective] if one.relative else 0.0)) for one in constraints]
    return tuple(
        max(0.0, values[one.objective] - limit if one.at_most else limit - values[one.objective])
        for one, limit in limits
    )


_JUDGED: Final = frozenset({"accuracy", "worst_class_accuracy", "loss"})
"""What nobody reads as a share of the dense network's."""


def entries_on_front(directory: Path, comparison: Comparison) -> list[JournalEntry]:
    """The lines of the journal that the front of a finished run is made of, in its order.

    Raises:
        StoreCorruptedError: The journal and the comparison are not of each other.
    """
    known = {entry.index: entry for entry in usable(read_journal(directory / JOURNAL))}
    found = [known[point.index] for point in comparison.front if point.index in known]
    if len(found) != len(comparison.front) or not all(map(_same, front_points(found), comparison.front)):
        raise StoreCorruptedError(
            f"the front in {directory} is not of the candidates in its {JOURNAL}", "restore both files from a copy"
        )
    return found


def _same(one: FrontPoint, other: FrontPoint) -> bool:
    shared = one.figures.keys() & other.figures.keys()
    return one.genome == other.genome and all(one.figures[name] == other.figures[name] for name in shared)
