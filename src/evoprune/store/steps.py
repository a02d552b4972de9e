"""What each step of a mask run came to: `steps.json`, from which a resumed run goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from evoprune.errors import StoreCorruptedError
from evoprune.store.atomic import read_json
from evoprune.store.run_directory import RunStore

STEPS: Final = "steps.json"


@dataclass(frozen=True)
class StepRecord:
    """A step that is over.

    Attributes:
        step: Position in the schedule, from 0.
        pass_number: Number of the pass, from 0.
        goal: Sparsity asked for after the pass; None when fitness decided.
        between: Whether that is one between two of the configured goals.
        layers: Layers that were searched.
        layer_sparsity: Sparsity of each layer after the step.
        sparsity: Sparsity of all prunable weights after the step.
        select_accuracy_before: The metric on select, masked and not yet retrained.
        select_accuracy: The metric on select, after retraining.
        worst_class_accuracy: Accuracy of the worst class, after retraining; None for targets that are no classes.
        start: Digest of the state that the search began with.
        state: Digest of the state after retraining.
        evaluations: Journal lines that the step has taken.
        generations: Generations begun.
        taken: Whether the run goes on from it; a step that costs too much is the last one, and the one before it counts.
    """

    step: int
    pass_number: int
    goal: float | None
    between: bool
    layers: tuple[str, ...]
    layer_sparsity: Mapping[str, float]
    sparsity: float
    select_accuracy_before: float
    select_accuracy: float
    worst_class_accuracy: float | None
    start: str
    state: str
    evaluations: int
    generations: int
    taken: bool = True

    def to_json(self) -> dict[str, Any]:
        """The record as `steps.json` has it."""
        return {
            "step": self.step,
            "pass": self.pass_number,
            "goal": self.goal,
            "between": self.between,
            "layers": list(self.layers),
            "layers_pruned": sum(sparsity > 0 for sparsity in self.layer_sparsity.values()),
            "sparsity": self.sparsity,
            "layer_sparsity": dict(self.layer_sparsity),
            "select_accuracy_before": self.select_accuracy_before,
            "select_accuracy": self.select_accuracy,
            "worst_class_accuracy": self.worst_class_accuracy,
            "start": self.start,
            "state": self.state,
            "evaluations": self.evaluations,
            "generations": self.generations,
            "taken": self.taken,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StepRecord:
        """Read what `to_json` wrote.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is of the wrong kind.
            ValueError: A number is none.
        """
        worst, goal = document["worst_class_accuracy"], document["goal"]
        return cls(
            step=int(document["step"]),
            pass_number=int(document["pass"]),
            goal=None if goal is None else _finite(goal),
            between=bool(document["between"]),
            layers=tuple(map(str, document["layers"])),
            layer_sparsity={str(name): _finite(value) for name, value in document["layer_sparsity"].items()},
            sparsity=_finite(document["sparsity"]),
            select_accuracy_before=float(document["select_accuracy_before"]),
            select_accuracy=float(document["select_accuracy"]),
            worst_class_accuracy=None if worst is None else float(worst),
            start=str(document["start"]),
            state=str(document["state"]),
            evaluations=_count(document["evaluations"]),
            generations=_count(document["generations"]),
            taken=bool(document["taken"]),
        )


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a finite number")
    return number


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is not a count")
    return value


class StepRecords:
    """`steps.json` of a run directory.

    Args:
        store: The run directory.

    Raises:
        StoreCorruptedError: The file is damaged.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        path = store.directory / STEPS
        try:
            self.all = [StepRecord.from_json(one) for one in read_json(path)["steps"]] if path.exists() else []
            if [record.step for record in self.all] != list(range(len(self.all))):
                raise ValueError("steps are missing")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise StoreCorruptedError(f"{path} is damaged: {error}", "restore the file from a copy") from error

    def at(self, step: int) -> StepRecord | None:
        """The record of a step; None when it is not over."""
        return self.all[step] if step < len(self.all) else None

    def add(self, record: StepRecord) -> None:
        """Keep one more, on disk before this returns."""
        self.all.append(record)
        self._store.write_json(STEPS, {"steps": [one.to_json() for one in self.all]})
