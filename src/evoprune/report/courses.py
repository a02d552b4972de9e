"""How the searches of a mask run went: the best so far, generation by generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any


@dataclass(frozen=True)
class Leader:
    """The fittest candidate so far.

    Attributes:
        fitness: Its fitness.
        accuracy: On select before retraining, 0 to 1; None where it was not measured.
        loss: On select before retraining; None where it was not measured.
        sparsity: Of the weights that are searched: one layer's, or all that may be pruned; 0 to 1.
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
        retraining: What came of the step.
    """

    step: int
    leaders: Sequence[Leader]
    retraining: Retraining


@dataclass(frozen=True)
class Course:
    """All searches that belong in one picture, one after the other: of a layer, or of a step."""

    title: str
    stretches: list[Stretch] = field(default_factory=list)


def courses(evaluations: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]) -> list[Course]:
    """A course per layer where layers are searched by themselves, else per step, in the order of the journal.

    Args:
        evaluations: Lines of the journal.
        steps: The run's steps, as `comparison.json` has them.
    """
    found: dict[str, Course] = {}
    for title, stretch in _stretches(evaluations, steps):
        if stretch.leaders:
            found.setdefault(title, Course(title)).stretches.append(stretch)
    return list(found.values())


def layers_apart(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the steps search one layer each, one after the other."""
    return len({tuple(step["layers"]) for step in steps}) > 1 and all(len(step["layers"]) == 1 for step in steps)


def passes_of(steps: Sequence[Mapping[str, Any]]) -> list[int]:
    """The passes there were, in order."""
    return list(dict.fromkeys(int(step.get("pass", 0)) for step in steps))


def step_title(step: Mapping[str, Any]) -> str:
    """What a step is called: its goal, or its number."""
    goal = step.get("goal")
    return f"step {step['step'] + 1}" if goal is None else f"{100 * goal:.4g} %"


def _panel_title(step: Mapping[str, Any]) -> str:
    return step_title(step) + ("" if step.get("goal") is None else " sparse")


def _stretches(
    evaluations: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Stretch]]:
    known = {int(step["step"]): step for step in steps}
    by_layer = layers_apart(steps)
    for number, lines in groupby(evaluations, key=lambda line: int(line.get("step", 0))):
        step = known.get(number, {"step": number, "layers": []})
        retraining = Retraining(step.get("select_accuracy_before"), step.get("select_accuracy"))
        together = []
        for line in lines:
            if "history" in line:
                yield str(line["layer"]), Stretch(number, [_leader(one, one) for one in line["history"]], retraining)
            else:
                together.append(line)
        title = ", ".join(step["layers"]) if by_layer else _panel_title(step)
        yield title, Stretch(number, list(_best_so_far(together)), retraining)


def _best_so_far(lines: Iterable[Mapping[str, Any]]) -> Iterator[Leader]:
    best: Leader | None = None
    for _, generation in groupby(lines, key=lambda line: (line.get("encoding"), line["generation"])):
        for line in generation:
            fitness = line.get("fitness")
            if line["status"] == "ok" and fitness is not None and (best is None or fitness > best.fitness):
                best = _leader(line, line["objectives"])
        if best is not None:
            yield best


def _leader(line: Mapping[str, Any], values: Mapping[str, Any]) -> Leader:
    return Leader(line["fitness"], values.get("accuracy"), values.get("loss"), values.get("layer_sparsity"))
