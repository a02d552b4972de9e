"""What of a run a tracker keeps: numbers by name and step, settings, and the figures of the finished networks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evoprune.events import CandidateEvaluated, EpochEnded, Event, GenerationEnded, TaskOpened, TrainingProgress
from evoprune.results import ACCURACY
from evoprune.store.run_directory import ARTIFACT, COMPARISON, CONFIG


@dataclass(frozen=True)
class Numbers:
    """Values at one step.

    Attributes:
        step: Candidates, generations, epochs and batches are counted from 0, each for itself.
        values: Finite values by name, such as `search/best_fitness`.
    """

    step: int
    values: Mapping[str, float]


class Reader:
    """Follows the events of a run; the task's metric goes by its own name."""

    def __init__(self) -> None:
        self._metric = ACCURACY

    def numbers(self, event: Event) -> Numbers | None:
        """The numbers of an event; None where it has none."""
        match event:
            case TaskOpened():
                self._metric = event.metric
                return None
            case TrainingProgress():
                return _finite(event.epoch * event.batches + event.batch, {f"{event.stage}/loss": event.loss})
            case EpochEnded():
                name = f"{event.stage}/select_{self._metric.key}"
                return _finite(event.epoch, {f"{event.stage}/epoch_loss": event.loss, name: event.select_accuracy})
            case CandidateEvaluated():
                found = {self._named(name): value for name, value in event.evaluation.objectives.items()}
                values = {f"candidates/{name}": value for name, value in found.items()}
                return _finite(event.index, {**values, "candidates/fitness": event.fitness})
            case GenerationEnded():
                return _finite(event.generation, self._of_generation(event))
            case _:
                return None

    def _of_generation(self, event: GenerationEnded) -> dict[str, float | None]:
        names = (
            "best_fitness",
            "mean_fitness",
            "hypervolume",
            "diversity",
            "noise",
            "elite_fitness",
            "rank_correlation",
        )
        best = {f"search/best_{self._named(name)}": value for name, value in event.best.items()}
        return {**{f"search/{name}": getattr(event, name) for name in names}, **best}

    def _named(self, objective: str) -> str:
        return self._metric.key if objective == "accuracy" else objective.replace("@", "_at_")


def settings(directory: Path) -> dict[str, str]:
    """The run's settings, flat, as `ga.pop_size`."""
    path = directory / CONFIG
    return dict(_flat(yaml.safe_load(path.read_text(encoding="utf-8")))) if path.is_file() else {}


def figures(directory: Path) -> dict[str, float]:
    """The figures of the finished networks, as `pruned/macs`; none where the run isn't finished."""
    path = directory / COMPARISON
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {
        f"{model}/{name}": float(value)
        for model in ("baseline", "pruned")
        for name, value in document.get(model, {}).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def files(directory: Path) -> list[Path]:
    """What is worth keeping with a run: the comparison, the settings, and the finished network."""
    found = [directory / COMPARISON, directory / CONFIG, *sorted((directory / ARTIFACT).glob("*"))]
    return [path for path in found if path.is_file()]


def _finite(step: int, values: Mapping[str, float | None]) -> Numbers | None:
    kept = {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
    return Numbers(step, kept) if kept else None


def _flat(document: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(document, Mapping) and document:
        return [pair for key, value in document.items() for pair in _flat(value, f"{prefix}{key}.")]
    return [(prefix.rstrip("."), "null" if document is None else str(document))]
