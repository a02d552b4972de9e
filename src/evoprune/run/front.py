"""What a journal amounts to: the best candidate, and those that no other beats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from evoprune.errors import RunError
from evoprune.objectives.base import Objective
from evoprune.objectives.loss import LossGap
from evoprune.results import Evaluation, Status
from evoprune.search.pareto import non_dominated
from evoprune.store.comparison import FrontPoint
from evoprune.store.journal import JournalEntry


def costs_of(evaluation: Evaluation, objectives: Iterable[Objective]) -> tuple[float, ...]:
    """The objectives' values with their signs turned so that lower is better."""
    values = evaluation.objectives
    return tuple(-values[one.name] if one.maximize else values[one.name] for one in objectives)


def usable(entries: Iterable[JournalEntry]) -> list[JournalEntry]:
    """Entries whose candidates were scored and keep every constraint."""
    return [entry for entry in entries if entry.evaluation.status is Status.OK]


def last_rung(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """The entries at the highest fidelity that a usable one was scored at: scores of different rungs don't compare."""
    highest = max((entry.evaluation.rung for entry in usable(entries)), default=0)
    return [entry for entry in entries if entry.evaluation.rung == highest]


def best_of(entries: Sequence[JournalEntry]) -> JournalEntry:
    """The fittest usable entry of the last rung; the earlier one of equals.

    Raises:
        RunError: There is none.
    """
    candidates = usable(last_rung(entries))
    if not candidates:
        raise RunError(
            f"none of {len(entries)} candidates keeps the constraints",
            "loosen search.constraints or search longer, in a new run with another --out",
        )
    return max(candidates, key=lambda entry: (fitness_of(entry), -entry.index))


def fitness_of(entry: JournalEntry) -> float:
    """The fitness of a usable entry."""
    return -math.inf if entry.fitness is None else entry.fitness


def front_of(entries: Sequence[JournalEntry], objectives: Sequence[Objective]) -> list[JournalEntry]:
    """The non-dominated usable entries, sorted by the first objective's cost."""
    candidates = usable(entries)
    if not candidates:
        return []
    costs = np.array([costs_of(entry.evaluation, objectives) for entry in candidates])
    return [candidates[position] for position in non_dominated(costs)]


def front_points(front: Iterable[JournalEntry]) -> tuple[FrontPoint, ...]:
    """The front as `comparison.json` has it: measured on select after the brief fine-tune, never on test."""
    return tuple(FrontPoint(entry.index, entry.evaluation.genome, _figures(entry)) for entry in front)


def _figures(entry: JournalEntry) -> dict[str, float]:
    """The values by name; the metric is called so that it is not taken for one on test, as other accuracies there are."""
    values = {name: value for name, value in entry.evaluation.objectives.items() if name != LossGap.name}
    metric = {"select_accuracy": values.pop("accuracy")} if "accuracy" in values else {}
    return metric | {name: _whole(value) for name, value in values.items()}


def _whole(value: float) -> float | int:
    return int(value) if value.is_integer() else value
