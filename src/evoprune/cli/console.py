"""What a run looks like in a terminal: live bars, or plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from evoprune.api import Result
from evoprune.cli.printable import printable
from evoprune.cli.whole_run import WholeRun
from evoprune.events import (
    CandidateEvaluated,
    Caution,
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
from evoprune.exporters.exporting import Exported
from evoprune.report.summary import comparison_rows, layer_rows, notes
from evoprune.results import ACCURACY, values_text
from evoprune.store.comparison import Comparison, read_comparison
from evoprune.store.event_log import describe

TITLES = {"baseline": "training the baseline", "retrain": "retraining the best network", "finetune": "fine-tuning"}

WHOLE = "whole run"
"""Key of the bar of all that is left."""
SPEED_OVER_S = 300
"""Seconds over which the speed is measured that times left are told by; a generation may take a minute."""
LAYER_HEADINGS = ("layer", "weights", "stay", "sparsity")


class Console:
    """A listener that shows a run on the terminal, and lines of plain text elsewhere.

    Args:
        console: Console to print to; standard output when None.
    """

    def __init__(self, console: RichConsole | None = None) -> None:
        self._console = console or RichConsole(highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
            speed_estimate_period=SPEED_OVER_S,
        )
        self._whole = WholeRun()
        self._bars: dict[str, TaskID] = {}
        self._asked = 0
        self._best: tuple[float, str] | None = None
        self._started = time.monotonic()
        self._idle = True
        self._metric = ACCURACY
        self._objectives: Sequence[str] = ()

    def __enter__(self) -> Console:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show what happened."""
        self._idle = False
        match event:
            case TaskOpened():
                self._metric, self._objectives = event.metric, event.objectives
            case DataProgress():
                note = f"{event.done_bytes / 1e6:.1f} MB from {event.source}"
                self._show(event.name, event.done_bytes, event.total_bytes or None, note)
            case TrainingProgress():
                done, total = event.epoch * event.batches + event.batch, event.epochs * event.batches
                self._show(TITLES.get(event.stage, event.stage), done, total, f"loss {event.loss:.3f}")
            case GenerationStarted():
                if event.generation == 0:  # of a search of its own
                    self._best, self._asked = None, 0
                total = self._asked + (event.generations - event.generation) * event.candidates
                self._show("search", self._asked, total, self._best_note())
                self._asked += event.candidates
                title = f"generation {event.generation + 1} of {event.generations}"
                self._show("generation", 0, event.candidates, "", title)
            case CandidateEvaluated():
                self._candidate(event)
            case StageEnded():
                self._clear()
        if self._whole.watch(event):
            self._show(WHOLE, round(100 * self._whole.done), 100, "", self._whole.title)
        line = self._line(event)
        if line is not None:
            style = "bold red" if isinstance(event, Caution) else None
            self._say(f"[{time.monotonic() - self._started:6.1f} s] {line}", style)

    def show_result(self, result: Result) -> None:
        """The comparison, and where everything is."""
        if self._idle:
            self._say("this run is already done; nothing was run again")
        comparison = read_comparison(result.directory)
        self.show_rows("baseline against pruned", ("", "baseline", "pruned", "change"), comparison_rows(comparison))
        for note in notes(comparison):
            self._say(note)
        masks = layer_rows(comparison)
        if masks:
            self.show_rows("weights by layer", LAYER_HEADINGS, masks)
        figure, model = ("sparsity_per_layer.png", "sparse") if masks else ("ga_fitness_evolution.png", "small")
        self._say(f"everything is in {result.directory}; figures such as {figure}, the {model} model in artifact/")

    def show_finetuned(self, comparison: Comparison, out: Path) -> None:
        """What fine-tuning changed, and where the model is."""
        models = ("pruned", "finetuned")
        self.show_rows("pruned against fine-tuned", ("", *models, "change"), comparison_rows(comparison, models))
        self._say(f"the fine-tuned model is in {out}; evoprune.load reads it")

    def show_point(self, number: int, comparison: Comparison, out: Path) -> None:
        """What the finished network of a point came to, and where it is."""
        headings = ("", "baseline", f"point {number}", "change")
        self.show_rows(f"baseline against point {number}", headings, comparison_rows(comparison))
        for note in notes(comparison):
            self._say(note)
        self._say(f"the network is in {out}; evoprune.load reads it")

    def show_exported(self, exported: Exported) -> None:
        """Where the file is, how large, and how far its outputs are from the network's."""
        for line in exported.lines():
            self._say(line)

    def show_rows(self, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of text."""
        table = Table(title=Text(printable(title)), title_justify="left")
        for number, heading in enumerate(headings):
            table.add_column(Text(printable(heading)), justify="right" if number else "left")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self._console.print(table)

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(printable(text), style=style, markup=False, soft_wrap=True)

    def _candidate(self, event: CandidateEvaluated) -> None:
        values = event.evaluation.objectives
        note = event.evaluation.status.value
        if event.fitness is not None:
            note = values_text(values, self._metric, self._objectives)
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
            case _:
                return describe(event, self._metric, self._objectives)

    def _show(self, name: str, done: int, total: int | None, note: str, title: str | None = None) -> None:
        note, title = printable(note), printable(title or name)
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(title, total=total, note=note)
        self._progress.update(self._bars[name], completed=done, total=total, note=note, description=title)

    def _advance(self, name: str, note: str) -> None:
        if name in self._bars:
            self._progress.update(self._bars[name], advance=1, note=note)

    def _clear(self) -> None:
        for name in [name for name in self._bars if name != WHOLE]:
            self._progress.remove_task(self._bars.pop(name))
