"""What happens during a run, as typed values for whoever listens: terminal, log, `events.jsonl`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from evoprune.results import Cost, Evaluation, MetricCard


@dataclass(frozen=True)
class Event:
    """Base of all events."""


Listener = Callable[[Event], None]


@dataclass(frozen=True)
class DataProgress(Event):
    """A data file is on its way; `total_bytes` is 0 while unknown."""

    name: str
    source: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class AnalysisProgress(Event):
    """The analysis of a model goes on: forward passes so far, groups that are being proven, and those frozen so far."""

    passes: int
    groups: int
    frozen: int
    seconds: float


@dataclass(frozen=True)
class RunStarted(Event):
    """A run directory is open; `replayed` evaluations were found in its journal."""

    directory: str
    replayed: int


@dataclass(frozen=True)
class TaskOpened(Event):
    """Model and data are there; what later events call accuracy is this metric, true to its sign.

    `objectives` are the names of what is searched for, for who shows candidates to people.
    """

    name: str
    unit: str
    maximize: bool
    objectives: tuple[str, ...] = ()

    @property
    def metric(self) -> MetricCard:
        """How to read its values."""
        return MetricCard.from_json({"name": self.name, "unit": self.unit, "maximize": self.maximize})


@dataclass(frozen=True)
class Caution(Event):
    """The result is worth less than it seems; `detail` says why, and what to do."""

    what: str
    detail: str


@dataclass(frozen=True)
class StageStarted(Event):
    """One of `baseline`, `search`, `retrain`, `report` begins; `detail` says what, for people."""

    stage: str
    detail: str = ""


@dataclass(frozen=True)
class StageEnded(Event):
    """A stage is over; `cpu_s` covers this process and its finished workers."""

    stage: str
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class TrainingProgress(Event):
    """Part of an epoch of the baseline or of the final model is done."""

    stage: str
    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float


@dataclass(frozen=True)
class EpochEnded(Event):
    """An epoch of the baseline or of the final model is over; accuracy is on select, None when that was trained on."""

    stage: str
    epoch: int
    epochs: int
    loss: float
    select_accuracy: float | None


@dataclass(frozen=True)
class SpaceAnalyzed(Event):
    """What may go is known: units to choose from, groups they form, and why the rest is frozen."""

    units: int
    groups: int
    frozen: int


@dataclass(frozen=True)
class WorkPlanned(Event):
    """How the compute that is left divides: `search_share` of it, 0 to 1, goes into the search, the rest into last retrainings.

    `trainings` is their number, of `epochs` each.
    """

    candidates: int
    generations: int
    search_share: float
    trainings: int
    epochs: float


@dataclass(frozen=True)
class GenerationStarted(Event):
    """A population is about to be evaluated; generations count from 0."""

    generation: int
    generations: int
    candidates: int


@dataclass(frozen=True)
class CandidateEvaluated(Event):
    """A candidate has its score; `replayed` when the journal had it already."""

    index: int
    generation: int
    evaluation: Evaluation
    fitness: float | None
    cost: Cost | None
    replayed: bool


@dataclass(frozen=True)
class GenerationEnded(Event):
    """A population is scored and told to the search. Fitness is None when no candidate was OK.

    `best` holds the values of the fittest candidate by objective; it is empty when no candidate was OK. `hypervolume` is that of
    the front, as a multiple of the box around the first generation. `noise` is the standard error of differences in fitness that
    comes from the choice of samples to score on. `elite_fitness` is what the best of the generations before scores now, or scored
    where it was not scored again. `rank_correlation` compares the ranks of those that were on the rung before with their ranks
    there.
    """

    generation: int
    best_fitness: float | None
    mean_fitness: float | None
    best: Mapping[str, float] = field(default_factory=dict)
    hypervolume: float | None = None
    diversity: float | None = None
    noise: float | None = None
    elite_fitness: float | None = None
    rank_correlation: float | None = None


@dataclass(frozen=True)
class BatchHalved(Event):
    """The device ran out of memory; training goes on with `micro_batch` samples per pass."""

    stage: str
    micro_batch: int


@dataclass(frozen=True)
class WorkerDied(Event):
    """A worker process died with a candidate; it is tried again when `retried`."""

    genome: str
    reason: str
    retried: bool


@dataclass(frozen=True)
class CandidateTimedOut(Event):
    """A candidate was at work for longer than it may, `limit_s` seconds; it is given up."""

    genome: str
    limit_s: float


@dataclass(frozen=True)
class Decision(Event):
    """The run chose something that depends on the machine or the clock; `detail` says what."""

    what: str
    detail: str


@dataclass(frozen=True)
class RunEnded(Event):
    """Everything is written."""

    directory: str
    wall_s: float
    cpu_s: float


def broadcast(listeners: Iterable[Listener]) -> Listener:
    """One listener that passes every event on to all of `listeners`, in order."""
    known = tuple(listeners)

    def notify(event: Event) -> None:
        for listener in known:
            listener(event)

    return notify


def ignore(event: Event) -> None:
    """A listener that does nothing."""


def warn(event: Event) -> None:
    """A listener that tells of cautions alone, as warnings: what a caller who listens to nothing should know all the same."""
    if isinstance(event, Caution):
        # No place in the code: it would be one of ours, and a second line.
        warnings.warn_explicit(f"{event.what}: {event.detail}", UserWarning, "evoprune", 1)
