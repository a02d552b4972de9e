"""A run in a terminal: live bars, or plain lines where there is none."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from rich.console import Console
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

from evoprune.display.board import Board
from evoprune.events import Caution, Event

SPEED_OVER_S: Final = 300
"""Seconds over which the speed is measured that times left are told by; a generation may take a minute."""


class TerminalProgress:
    """A listener that shows a run while the context it manages is open.

    Args:
        console: Console to write to.
        quiet: Whether only cautions are shown.
        verbose: Whether each candidate has a line.
    """

    def __init__(self, console: Console, *, quiet: bool = False, verbose: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._board = Board(every_candidate=verbose)
        self._tasks: dict[str, tuple[TaskID, int]] = {}
        self._started = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
            speed_estimate_period=SPEED_OVER_S,
        )

    @property
    def idle(self) -> bool:
        """Whether nothing has happened."""
        return self._board.idle

    def __enter__(self) -> TerminalProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show what happened."""
        line = self._board.watch(event)
        self._draw()
        if line is None:
            return
        alarming = isinstance(event, Caution)
        if alarming or not self._quiet:
            self._console.print(
                f"[{time.monotonic() - self._started:6.1f} s] {line}",
                style="bold red" if alarming else None,
                markup=False,
                soft_wrap=True,
            )

    def _draw(self) -> None:
        for name in [name for name in self._tasks if name not in self._board.bars]:
            self._progress.remove_task(self._tasks.pop(name)[0])
        for name, bar in self._board.bars.items():
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(bar.title, total=bar.total, note=bar.note), bar.lap
            task, lap = self._tasks[name]
            if bar.lap != lap:
                self._progress.reset(task, total=bar.total)
                self._tasks[name] = task, bar.lap
            self._progress.update(task, completed=bar.done, total=bar.total, note=bar.note, description=bar.title)
