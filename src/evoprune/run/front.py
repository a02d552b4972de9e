"""What a journal amounts to: the best candidate, and those that no other beats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from evoprune.errors import RunError
from evoprune.objectives.base import Objective
from evoprune.results import Evaluation, Status
from evoprune.run.journal import JournalEntry
from evoprune.search.pareto import non_dominated


def costs_of(evaluation: Evaluation, objectives: Iterable[Objective]) -> tuple[float, ...]:
    """The objectives' values with their signs turned so that lower is better."""
    values = evaluation.objectives
    return tuple(-values[one.name] if one.maximize else values[one.name] for one in objectives)


def usable(entries: Iterable[JournalEntry]) -> list[JournalEntry]:
    """Entries whose candidates were scored and keep every constraint."""
    return [entry for entry in entries if entry.evaluation.status is Status.OK]


def best_of(entries: Sequence[JournalEntry]) -> JournalEntry:
    """The fittest usable entry; the earlier one of equals.

    Raises:
        RunError: There is none.
    """
    candidates = usable(entries)
    if not candidates:
        raise RunError(
            f"none of {len(entries)} candidates keeps the constraints",
            "loosen search.constraints or search longer, in a new run with another --out",
        )
    return max(candidates, key=lambda entry: (entry.fitness or 0.0, -entry.index))


def front_of(entries: Sequence[JournalEntry], objectives: Sequence[Objective]) -> list[JournalEntry]:
    """The non-dominated usable entries, sorted by the first objective's cost."""
    candidates = usable(entries)
    if not candidates:
        return []
    costs = np.array([costs_of(entry.evaluation, objectives) for entry in candidates])
    return [candidates[position] for position in non_dominated(costs)]


def front_document(front: Iterable[JournalEntry]) -> list[dict[str, Any]]:
    """Front points as `comparison.json` has them: measured on select after the brief fine-tune, never on test."""
    return [
        {
            "index": entry.index,
            "genome": entry.evaluation.genome,
            "select_accuracy": entry.evaluation.objectives["accuracy"],
            **{name: _whole(value) for name, value in entry.evaluation.objectives.items() if name != "accuracy"},
        }
        for entry in front
    ]


def _whole(value: float) -> float | int:
    return int(value) if value.is_integer() else value
