"""What a run looks like on the command line, and what it came to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from evoprune.api import Result
from evoprune.display.printable import printable
from evoprune.display.terminal import TerminalProgress
from evoprune.events import Event
from evoprune.exporters.exporting import Exported
from evoprune.report.summary import comparison_rows, layer_rows, notes
from evoprune.report.timing_rows import TIMING_HEADINGS, TIMING_TITLE, slow_notes, timing_rows, untimed_notes
from evoprune.store.comparison import Comparison, read_comparison
from evoprune.store.run_directory import REPORT

LAYER_HEADINGS: Final = ("layer", "weights", "stay", "sparsity")


class Console:
    """A listener that shows a run on the terminal, and lines of plain text elsewhere.

    Args:
        console: Console to print to; standard output when None.
        quiet: Whether nothing but cautions and results is shown.
        verbose: Whether each candidate has a line.
    """

    shows_progress: Final = True

    def __init__(self, console: RichConsole | None = None, *, quiet: bool = False, verbose: bool = False) -> None:
        self._console = console or RichConsole(highlight=False)
        self._progress = TerminalProgress(self._console, quiet=quiet, verbose=verbose)

    def __enter__(self) -> Console:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Show what happened."""
        self._progress(event)

    def show_result(self, result: Result) -> None:
        """The comparison, and where everything is."""
        if self._progress.idle:
            self._say("this run is already done; nothing was run again")
        comparison = read_comparison(result.directory)
        headings = ("", "baseline", "pruned", "change")
        self._show_comparison("baseline against pruned", headings, comparison)
        masks = layer_rows(comparison)
        if masks:
            self.show_rows("weights by layer", LAYER_HEADINGS, masks)
        model = "sparse" if masks else "small"
        self._say(f"everything is in {result.directory}: the report as {REPORT}, the {model} model in artifact/")

    def show_finetuned(self, comparison: Comparison, out: Path) -> None:
        """What fine-tuning changed, and where the model is."""
        models = ("pruned", "finetuned")
        self.show_rows("pruned against fine-tuned", ("", *models, "change"), comparison_rows(comparison, models))
        self._say(f"the fine-tuned model is in {out}; evoprune.load reads it")

    def show_point(self, number: int, comparison: Comparison, out: Path) -> None:
        """What the finished network of a point came to, and where it is."""
        headings = ("", "baseline", f"point {number}", "change")
        self._show_comparison(f"baseline against point {number}", headings, comparison)
        self._say(f"the network is in {out}; evoprune.load reads it")

    def show_exported(self, exported: Exported) -> None:
        """Where the file is, how large, and how far its outputs are from the network's."""
        for line in exported.lines():
            self._say(line)

    def _show_comparison(self, title: str, headings: Sequence[str], comparison: Comparison) -> None:
        """The table and its notes, and the times of a forward pass: in red where they are as long as before."""
        self.show_rows(title, headings, comparison_rows(comparison))
        for note in notes(comparison):
            self._say(note)
        timed = timing_rows(comparison)
        if timed:
            red = {number for number, (_, slow) in enumerate(timed) if slow}
            self.show_rows(TIMING_TITLE, TIMING_HEADINGS, [row for row, _ in timed], red)
        for note in untimed_notes(comparison):
            self._say(note)
        for note in slow_notes(comparison):
            self._say(note, "bold red")

    def show_rows(
        self, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], red: Collection[int] = ()
    ) -> None:
        """A table of text; those whose numbers are in `red` are red."""
        table = Table(title=Text(printable(title)), title_justify="left")
        for number, heading in enumerate(headings):
            table.add_column(Text(printable(heading)), justify="right" if number else "left")
        for number, row in enumerate(rows):
            style = "bold red" if number in red else None
            table.add_row(*(Text(printable(cell)) for cell in row), style=style)
        self._console.print(table)

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(printable(text), style=style, markup=False, soft_wrap=True)
