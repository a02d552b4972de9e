"""`events.jsonl` and log lines: what happened and when, for people and for benchmarks. Nothing is ever replayed from them."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from evoprune.events import (
    BatchHalved,
    CandidateTimedOut,
    DataProgress,
    Decision,
    EpochEnded,
    Event,
    GenerationEnded,
    RunEnded,
    StageEnded,
    StageStarted,
    TrainingProgress,
    WorkerDied,
)
from evoprune.run.files import append_line, open_lines

_logger = logging.getLogger(__name__)

# Too many of them, and a progress bar is all they are good for.
TRANSIENT = (DataProgress, TrainingProgress)


class EventLog:
    """Appends every event but the transient ones to a JSON lines file, and logs the ones people want to read.

    Args:
        path: The file; appended to.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_lines(path)

    def __call__(self, event: Event) -> None:
        """Write one line."""
        if isinstance(event, TRANSIENT):
            return
        line = {"time": round(time.time(), 3), "event": type(event).__name__, **asdict(event)}
        append_line(self._file, json.dumps(line, default=str), sync=False)
        text = describe(event)
        if text is not None:
            level = logging.WARNING if isinstance(event, (BatchHalved, CandidateTimedOut, WorkerDied)) else logging.INFO
            _logger.log(level, "%s", text)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def describe(event: Event) -> str | None:  # noqa: PLR0911 - one line per kind of event
    """The event in a line for people; None when it is not worth one."""
    match event:
        case StageStarted():
            return f"{event.stage}: {event.detail}" if event.detail else event.stage
        case StageEnded():
            return f"{event.stage} took {event.wall_s:.1f} s ({event.cpu_s:.1f} CPU s)"
        case EpochEnded():
            judged = "" if event.select_accuracy is None else f", select accuracy {event.select_accuracy:.4f}"
            return f"{event.stage} epoch {event.epoch + 1}/{event.epochs}: loss {event.loss:.4f}{judged}"
        case GenerationEnded() if event.best_fitness is not None:
            return (
                f"generation {event.generation}: best fitness {event.best_fitness:.4f}, mean {event.mean_fitness:.4f}, "
                f"best candidate {event.best_accuracy:.4f} accuracy at {_price(event)}"
            )
        case BatchHalved():
            return f"{event.stage}: out of memory, going on with {event.micro_batch} samples per pass"
        case WorkerDied():
            return f"{event.reason}; its candidate {'is tried again' if event.retried else 'is given up'}"
        case CandidateTimedOut():
            return f"a candidate took longer than {event.limit_s:g} s and is given up"
        case Decision():
            return f"{event.what}: {event.detail}"
        case RunEnded():
            return f"done in {event.wall_s:.0f} s, everything is in {event.directory}"
        case _:
            return None


def _price(event: GenerationEnded) -> str:
    if event.best_macs is not None:
        return f"{event.best_macs:,.0f} MACs"
    return f"{100 * (event.best_sparsity or 0.0):.2f} % sparsity"
