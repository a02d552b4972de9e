"""How the searches of a mask run went: the best so far, generation by generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from evoprune.store.journal import JournalEntry
from evoprune.store.steps import StepRecord


@dataclass(frozen=True)
class Leader:
    """The fittest candidate so far.

    Attributes:
        fitness: Fitness of the candidate.
        accuracy: On select before retraining, 0 to 1; None where it was not measured.
        loss: On select before retraining; None where it was not measured.
        sparsity: Sparsity of the weights that are searched: one layer's, or all that may be pruned; 0 to 1.
    """

    fitness: float
    accuracy: float | None
    loss: float | None
    sparsity: float | None


@dataclass(frozen=True)
class Retraining:
    """Accuracy on select with the masks just put on, and after retraining with them held; None where not measured."""

    before: float | None
    after: float | None


@dataclass(frozen=True)
class Stretch:
    """One step's search.

    Attributes:
        step: The step's number, from 0.
        leaders: Best so far after each generation; the generations of all phases one after the other.
        retraining: The metric before and after retraining.
    """

    step: int
    leaders: Sequence[Leader]
    retraining: Retraining


@dataclass(frozen=True)
class Course:
    """All searches that belong in one picture, one after the other: of a layer, or of a step."""

    title: str
    stretches: list[Stretch] = field(default_factory=list)


def courses(entries: Sequence[JournalEntry], steps: Sequence[StepRecord]) -> list[Course]:
    """A course per layer where layers are searched by themselves, else per step, in the order of the journal.

    Args:
        entries: Entries of the journal.
        steps: The run's steps.
    """
    found: dict[str, Course] = {}
    for title, stretch in _stretches(entries, steps):
        if stretch.leaders:
            found.setdefault(title, Course(title)).stretches.append(stretch)
    return list(found.values())


def layers_apart(steps: Sequence[StepRecord]) -> bool:
    """Whether the steps search one layer each, one after the other."""
    return len({step.layers for step in steps}) > 1 and all(len(step.layers) == 1 for step in steps)


def passes_of(steps: Sequence[StepRecord]) -> list[int]:
    """The passes there were, in order."""
    return list(dict.fromkeys(step.pass_number for step in steps))


def step_title(number: int, goal: float | None) -> str:
    """What the step of this number is called: its goal, or the number."""
    return f"step {number + 1}" if goal is None else f"{100 * goal:.4g} %"


def _stretches(entries: Sequence[JournalEntry], steps: Sequence[StepRecord]) -> Iterator[tuple[str, Stretch]]:
    known = {step.step: step for step in steps}
    by_layer = layers_apart(steps)
    for number, mine in groupby(entries, key=lambda entry: entry.step):
        step = known.get(number)
        retraining = Retraining(None, None)
        title = "" if by_layer else step_title(number, None)
        if step is not None:
            retraining = Retraining(step.select_accuracy_before, step.select_accuracy)
            goal = step_title(number, step.goal) + ("" if step.goal is None else " sparse")
            title = ", ".join(step.layers) if by_layer else goal
        together = []
        for entry in mine:
            if entry.history is None:
                together.append(entry)
            else:
                leaders = [_leader(one["fitness"], one) for one in entry.history]
                yield str(entry.tags["layer"]), Stretch(number, leaders, retraining)
        yield title, Stretch(number, list(_best_so_far(together)), retraining)


def _best_so_far(entries: Iterable[JournalEntry]) -> Iterator[Leader]:
    best: Leader | None = None
    for _, generation in groupby(entries, key=lambda entry: entry.phase):
        for entry in generation:
            if entry.score is not None and (best is None or entry.score > best.fitness):
                best = _leader(entry.score, entry.evaluation.objectives)
        if best is not None:
            yield best


def _leader(fitness: float, values: Mapping[str, float]) -> Leader:
    return Leader(fitness, values.get("accuracy"), values.get("loss"), values.get("layer_sparsity"))
