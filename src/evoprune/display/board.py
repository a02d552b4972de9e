"""What there is to see of a run at a moment, whatever shows it: bars of what is under way, and lines of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evoprune.display.printable import printable
from evoprune.display.whole_run import WholeRun
from evoprune.events import (
    CandidateEvaluated,
    DataProgress,
    Event,
    GenerationStarted,
    RunStarted,
    SpaceAnalyzed,
    StageEnded,
    StageStarted,
    TaskOpened,
    TrainingProgress,
)
from evoprune.results import ACCURACY, values_text
from evoprune.store.event_log import describe

WHOLE: Final = "whole run"
"""Key of the bar of all that is left."""
TITLES: Final = {
    "baseline": "training the baseline",
    "retrain": "retraining the best network",
    "finetune": "fine-tuning",
}


@dataclass(frozen=True)
class Bar:
    """Something under way.

    Attributes:
        title: What it is.
        done: How much of it is done.
        total: How much there is; None while that is not known.
        note: What to know about it just now.
        lap: Number of times that it began anew; its clock starts again with each.
    """

    title: str
    done: int
    total: int | None
    note: str = ""
    lap: int = 0


class Board:
    """Follows the events of a run.

    Args:
        every_candidate: Whether each candidate has a line.
    """

    def __init__(self, *, every_candidate: bool = False) -> None:
        self.bars: dict[str, Bar] = {}
        self.idle = True
        self._every_candidate = every_candidate
        self._whole = WholeRun()
        self._asked = 0
        self._best: tuple[float, str] | None = None
        self._metric = ACCURACY
        self._objectives: Sequence[str] = ()

    def watch(self, event: Event) -> str | None:
        """Take note of an event; gives the line to show, if there is one."""
        self.idle = False
        match event:
            case TaskOpened():
                self._metric, self._objectives = event.metric, event.objectives
            case DataProgress():
                note = f"{event.done_bytes / 1e6:.1f} MB from {event.source}"
                self._put(event.name, Bar(event.name, event.done_bytes, event.total_bytes or None, note))
            case TrainingProgress():
                done, total = event.epoch * event.batches + event.batch, event.epochs * event.batches
                title = TITLES.get(event.stage, event.stage)
                self._put(event.stage, Bar(title, done, total, f"loss {event.loss:.3f}"))
            case GenerationStarted():
                self._generation(event)
            case CandidateEvaluated():
                self._candidate(event)
            case StageEnded():
                self.bars = {name: bar for name, bar in self.bars.items() if name == WHOLE}
        if self._whole.watch(event):
            self._put(WHOLE, Bar(self._whole.title, round(100 * self._whole.done), 100))
        line = self._line(event)
        return None if line is None else printable(line)

    def _generation(self, event: GenerationStarted) -> None:
        if event.generation == 0:  # of a search of its own
            self._best, self._asked = None, 0
        total = self._asked + (event.generations - event.generation) * event.candidates
        self._put("search", Bar("search", self._asked, total, self._best_note()))
        self._asked += event.candidates
        title = f"generation {event.generation + 1} of {event.generations}"
        before = self.bars.get("generation")
        self._put("generation", Bar(title, 0, event.candidates, lap=0 if before is None else before.lap + 1))

    def _candidate(self, event: CandidateEvaluated) -> None:
        note = event.evaluation.status.value
        if event.fitness is not None:
            note = values_text(event.evaluation.objectives, self._metric, self._objectives)
            if self._best is None or event.fitness > self._best[0]:
                self._best = (event.fitness, note)
        self._advance("search", self._best_note())
        self._advance("generation", f"last: {note}")

    def _best_note(self) -> str:
        return f"best: fitness {self._best[0]:.4f}, {self._best[1]}" if self._best else ""

    def _line(self, event: Event) -> str | None:
        match event:
            case RunStarted():
                again = f", {event.replayed} evaluations found in its journal" if event.replayed else ""
                return f"run directory {event.directory}{again}"
            case SpaceAnalyzed():
                return f"{event.units} units in {event.groups} groups to choose from"
            case StageStarted() if event.stage in ("data", "analysis", "report"):
                return None
            case CandidateEvaluated():
                return self._candidate_line(event) if self._every_candidate else None
            case _:
                return describe(event, self._metric, self._objectives)

    def _candidate_line(self, event: CandidateEvaluated) -> str:
        found = event.evaluation
        if event.fitness is None:
            return f"candidate {event.index}: {found.status.value}, {found.reason}"
        values = values_text(found.objectives, self._metric, self._objectives)
        took = "from the journal" if event.cost is None else f"{event.cost.wall_s:.2f} s"
        return f"candidate {event.index}: fitness {event.fitness:.4f}, {values}, {took}"

    def _put(self, name: str, bar: Bar) -> None:
        self.bars[name] = Bar(printable(bar.title), bar.done, bar.total, printable(bar.note), bar.lap)

    def _advance(self, name: str, note: str) -> None:
        if name in self.bars:
            bar = self.bars[name]
            self._put(name, Bar(bar.title, bar.done + 1, bar.total, note, bar.lap))
