"""What a run's models came to: `comparison.json`, written when a run has ended."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.results import MetricCard
from evoprune.store.atomic import read_json
from evoprune.store.claim import MANIFEST
from evoprune.store.run_directory import COMPARISON
from evoprune.store.steps import StepRecord
from evoprune.store.timings import Timings


@dataclass(frozen=True)
class ModelFigures:
    """The figures of one finished model.

    Attributes:
        figures: Values by name; `accuracy`, the task's metric on test, and `params` are always there.
        genome: Digest of the candidate that it was made from; None for other models.
    """

    figures: Mapping[str, float]
    genome: str | None = None

    @property
    def accuracy(self) -> float:
        """The task's metric on test."""
        return self.figures["accuracy"]

    @property
    def params(self) -> int:
        """Number of parameters."""
        return int(self.figures["params"])

    def to_json(self) -> dict[str, Any]:
        """The figures as `comparison.json` has them."""
        return {**({} if self.genome is None else {"genome": self.genome}), **self.figures}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ModelFigures:
        """Read what `to_json` wrote, or raise as `Comparison.from_json` does."""
        figures = {name: _number(name, value) for name, value in document.items() if name != "genome"}
        for name in ("accuracy", "params"):
            if name not in figures:
                raise KeyError(name)
        genome = document.get("genome")
        return cls(figures, None if genome is None else _text(genome))


@dataclass(frozen=True)
class LayerFigures:
    """What stays of one weight tensor of a mask run.

    Attributes:
        layer: Name of the layer.
        name: Name of the parameter.
        weights: Number of weights.
        kept: Number of weights that stay.
        sparsity: Share of the others, 0 to 1.
    """

    layer: str
    name: str
    weights: int
    kept: int
    sparsity: float

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LayerFigures:
        """Read a row, or raise as `Comparison.from_json` does."""
        weights, kept, sparsity = (_number(name, document[name]) for name in ("weights", "kept", "sparsity"))
        return cls(_text(document["layer"]), _text(document["name"]), int(weights), int(kept), sparsity)


@dataclass(frozen=True)
class FrontPoint:
    """A candidate on the front, measured on select after the brief fine-tune.

    Attributes:
        index: Index of its line in the journal.
        genome: Digest of its genome.
        figures: `select_accuracy`, and the other objectives by name.
    """

    index: int
    genome: str
    figures: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The point as `comparison.json` has it."""
        return {"index": self.index, "genome": self.genome, **self.figures}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FrontPoint:
        """Read what `to_json` wrote, or raise as `Comparison.from_json` does."""
        figures = {name: _number(name, value) for name, value in document.items() if name not in ("index", "genome")}
        return cls(int(document["index"]), _text(document["genome"]), figures)


@dataclass(frozen=True)
class CriterionFigures:
    """The best criterion's network at the same bounds, trained alike.

    Attributes:
        name: Name of the criterion.
        model: Figures of the finished network.
        gain: What the pruned network's metric is above it, true to the metric's sign.
        standard_error: Standard error of the gain over the test samples, which both networks saw; None where it can't be told.
    """

    name: str
    model: ModelFigures
    gain: float
    standard_error: float | None

    def to_json(self) -> dict[str, Any]:
        """The figures as `comparison.json` has them."""
        error = {} if self.standard_error is None else {"standard_error": self.standard_error}
        return {"criterion": self.name, "gain": self.gain, **error, **self.model.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CriterionFigures:
        """Read what `to_json` wrote, or raise as `Comparison.from_json` does."""
        apart = ("criterion", "gain", "standard_error")
        error = document.get("standard_error")
        return cls(
            _text(document["criterion"]),
            ModelFigures.from_json({name: value for name, value in document.items() if name not in apart}),
            _number("gain", document["gain"]),
            None if error is None else _number("standard_error", error),
        )


@dataclass(frozen=True)
class FinishedStep:
    """A step of a mask run, and what its network is worth.

    Attributes:
        record: Result of the step.
        accuracy: The task's metric on test; None where nobody looked.
    """

    record: StepRecord
    accuracy: float | None

    def to_json(self) -> dict[str, Any]:
        """The step as `comparison.json` has it."""
        return {**self.record.to_json(), **({} if self.accuracy is None else {"accuracy": self.accuracy})}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FinishedStep:
        """Read what `to_json` wrote, or raise as `Comparison.from_json` does."""
        accuracy = document.get("accuracy")
        return cls(StepRecord.from_json(document), None if accuracy is None else _number("accuracy", accuracy))


@dataclass(frozen=True)
class Comparison:
    """The models of a finished run, or of a fine-tuning, side by side.

    Attributes:
        baseline: The dense network.
        pruned: The finished network.
        metric: Metric that the models are judged by.
        finetuned: The finished network trained further; None in the comparison of a run.
        layers: Each weight tensor that could be masked; empty for runs of channels.
        steps: Steps of a mask run; None for other runs.
        front: Candidates of channels that no other beats in every objective.
        objectives: Names of what these were searched for; empty in older files, whose front is of accuracy and MACs.
        uncounted: Names of operations that MACs leave out.
        criterion: The best criterion's network, for comparison; None where it was not asked for.
        timings: How long the dense and the finished network take; None in older files and where nothing was timed.
    """

    baseline: ModelFigures
    pruned: ModelFigures
    metric: MetricCard
    finetuned: ModelFigures | None = None
    layers: tuple[LayerFigures, ...] = ()
    steps: tuple[FinishedStep, ...] | None = None
    front: tuple[FrontPoint, ...] = ()
    objectives: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    criterion: CriterionFigures | None = None
    timings: Timings | None = None

    def model(self, name: str) -> ModelFigures:
        """The figures of `baseline`, `pruned` or `finetuned`."""
        models = {"baseline": self.baseline, "pruned": self.pruned, "finetuned": self.finetuned}
        found = models[name]
        if found is None:
            raise KeyError(name)
        return found

    def to_json(self) -> dict[str, Any]:
        """The document of `comparison.json`."""
        document: dict[str, Any] = {"baseline": self.baseline.to_json(), "pruned": self.pruned.to_json()}
        metric = {"metric": self.metric.to_json()}
        if self.criterion is not None:
            document["criterion"] = self.criterion.to_json()
        if self.finetuned is not None:
            document |= {"finetuned": self.finetuned.to_json(), **metric}
        if self.layers:
            document["layers"] = [vars(layer) for layer in self.layers]
        if self.steps is not None:
            document["steps"] = [step.to_json() for step in self.steps]
        if self.finetuned is None:
            document |= {"front": [point.to_json() for point in self.front], **metric}
        if self.objectives:
            document["objectives"] = list(self.objectives)
        if self.timings is not None:
            document["timings"] = self.timings.to_json()
        return document | ({"uncounted": list(self.uncounted)} if self.uncounted else {})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Comparison:
        """Read what `to_json` wrote.

        Raises:
            LookupError: Something is missing.
            TypeError: Something is of another kind.
            ValueError: A number is none.
        """
        finetuned, steps = document.get("finetuned"), document.get("steps")
        criterion, timings = document.get("criterion"), document.get("timings")
        return cls(
            baseline=ModelFigures.from_json(document["baseline"]),
            pruned=ModelFigures.from_json(document["pruned"]),
            metric=MetricCard.from_json(document.get("metric")),
            finetuned=None if finetuned is None else ModelFigures.from_json(finetuned),
            layers=tuple(map(LayerFigures.from_json, document.get("layers", []))),
            steps=None if steps is None else tuple(map(FinishedStep.from_json, steps)),
            front=tuple(map(FrontPoint.from_json, document.get("front", []))),
            objectives=tuple(map(_text, document.get("objectives", []))),
            uncounted=tuple(map(_text, document.get("uncounted", []))),
            criterion=None if criterion is None else CriterionFigures.from_json(criterion),
            timings=None if timings is None else Timings.from_json(timings),
        )


def read_comparison(directory: Path) -> Comparison:
    """The comparison of a finished run.

    Raises:
        UsageError: There is no finished run in the directory.
        StoreCorruptedError: The file is damaged.
    """
    path = directory / COMPARISON
    if not path.is_file():
        begun = (directory / MANIFEST).is_file()
        hint = f"finish it first: evoprune resume {directory}" if begun else "name the directory of one"
        raise UsageError(f"{directory} holds no finished run: it has no {path.name}", hint)
    with damage_told(path):
        return Comparison.from_json(read_json(path))


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Say which file is damaged, where something that has to be in it is missing or of another kind.

    Raises:
        StoreCorruptedError: It is so.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise StoreCorruptedError(
            f"{path} is damaged: {type(error).__name__}: {error}", "restore the file from a copy"
        ) from error


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r:.40}")
    number: float = value
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value
