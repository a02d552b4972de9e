"""`events.jsonl` and log lines: what happened and when, for people and for benchmarks. Nothing is ever replayed from them."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from evoprune.events import (
    BatchHalved,
    CandidateTimedOut,
    Caution,
    DataProgress,
    Decision,
    EpochEnded,
    Event,
    GenerationEnded,
    RunEnded,
    StageEnded,
    StageStarted,
    TaskOpened,
    TrainingProgress,
    WorkerDied,
    WorkPlanned,
)
from evoprune.results import ACCURACY, MetricCard, values_text
from evoprune.store.atomic import append_line, open_lines

_logger = logging.getLogger(__name__)

# Too many of them, and a progress bar is all they are good for.
TRANSIENT = (DataProgress, TrainingProgress)
WARNINGS = (BatchHalved, CandidateTimedOut, Caution, WorkerDied)


class EventLog:
    """Appends every event but the transient ones to a JSON lines file, and logs the ones people want to read.

    Args:
        path: The file; appended to.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_lines(path)
        self._metric = ACCURACY
        self._objectives: Sequence[str] = ()

    def __call__(self, event: Event) -> None:
        """Write one line."""
        if isinstance(event, TRANSIENT):
            return
        line = {"time": round(time.time(), 3), "event": type(event).__name__, **asdict(event)}
        append_line(self._file, json.dumps(line, default=str), sync=False)
        if isinstance(event, TaskOpened):
            self._metric, self._objectives = event.metric, event.objectives
        text = describe(event, self._metric, self._objectives)
        if text is not None:
            level = logging.WARNING if isinstance(event, WARNINGS) else logging.INFO
            _logger.log(level, "%s", text)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def describe(  # noqa: PLR0911 - one line per kind of event
    event: Event, metric: MetricCard = ACCURACY, objectives: Sequence[str] = ()
) -> str | None:
    """The event in a line for people; None when it is not worth one.

    Args:
        event: The event.
        metric: Describes the values under the name `accuracy`.
        objectives: Names of what is searched for; of a candidate only these are shown.
    """
    match event:
        case StageStarted():
            return f"{event.stage}: {event.detail}" if event.detail else event.stage
        case StageEnded():
            return f"{event.stage} took {event.wall_s:.1f} s ({event.cpu_s:.1f} CPU s)"
        case EpochEnded():
            judged = (
                "" if event.select_accuracy is None else f", select {metric.name} {metric.line(event.select_accuracy)}"
            )
            return f"{event.stage} epoch {event.epoch + 1}/{event.epochs}: loss {event.loss:.4f}{judged}"
        case GenerationEnded() if event.best_fitness is not None:
            noise = "" if event.noise is None else f" ± {event.noise:.2g}"
            elite = "" if event.elite_fitness is None else f", elite of before {event.elite_fitness:.4f}"
            lasting = "" if event.rank_correlation is None else f", rank correlation {event.rank_correlation:.2f}"
            return (
                f"generation {event.generation}: best fitness {event.best_fitness:.4f}{noise}{elite}, mean "
                f"{event.mean_fitness:.4f}{lasting}, best candidate {values_text(event.best, metric, objectives)}"
            )
        case WorkPlanned():
            trainings = "retraining" if event.trainings == 1 else f"{event.trainings} retrainings"
            return (
                f"plan: {event.candidates} candidates in {event.generations} generations take {100 * event.search_share:.0f} % "
                f"of the compute, {trainings} of {event.epochs:g} epochs the rest"
            )
        case BatchHalved():
            return f"{event.stage}: out of memory, going on with {event.micro_batch} samples per pass"
        case WorkerDied():
            return f"{event.reason}; its candidate {'is tried again' if event.retried else 'is given up'}"
        case CandidateTimedOut():
            return f"a candidate took longer than {event.limit_s:g} s and is given up"
        case Decision() | Caution():
            return f"{event.what}: {event.detail}"
        case RunEnded():
            return f"done in {event.wall_s:.0f} s, everything is in {event.directory}"
        case _:
            return None


def read_hypervolumes(path: Path) -> dict[int, float]:
    """Hypervolume of each generation that has one, in order; none without the file, and lines that are damaged count nothing."""
    found: dict[int, float] = {}
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            document = json.loads(line)
            if document["event"] == GenerationEnded.__name__ and math.isfinite(document["hypervolume"]):
                found[int(document["generation"])] = float(document["hypervolume"])
    return dict(sorted(found.items()))
