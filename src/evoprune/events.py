"""What happens during a run, as typed values for whoever listens: terminal, log, `events.jsonl`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from evoprune.results import Cost, Evaluation


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
class RunStarted(Event):
    """A run directory is open; `replayed` evaluations were found in its journal."""

    directory: str
    replayed: int


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
    """A population is scored and told to the search. Fitness is None when no candidate was OK."""

    generation: int
    best_fitness: float | None
    mean_fitness: float | None
    best_accuracy: float | None
    best_macs: float | None
    hypervolume: float | None = None
    diversity: float | None = None
    best_sparsity: float | None = None


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
