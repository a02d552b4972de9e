"""A run in a notebook: one output that is drawn anew while it lasts. IPython is known to this file alone."""

from __future__ import annotations

import html
import sys
import time
import uuid
from collections import deque
from types import TracebackType
from typing import Any, Final

from evoprune.display.board import Bar, Board
from evoprune.events import Caution, Event

EVERY_S: Final = 0.25
"""Seconds between two drawings: a browser has more to do than to show each batch."""
LINES: Final = 200
"""Last lines that are kept."""
_BOX: Final = (
    "font-family:monospace;font-size:0.85em;line-height:1.4;max-height:18em;overflow:auto;white-space:pre-wrap"
)
_ALARM: Final = "color:#c62828;font-weight:bold"


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this process; looks at what is loaded and imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """A listener that shows a run below the cell while the context it manages is open."""

    def __init__(self) -> None:
        self._board = Board()
        self._lines: deque[str] = deque(maxlen=LINES)
        self._started = time.monotonic()
        self._drawn = 0.0
        self._laps: dict[str, tuple[int, float]] = {}
        self._output: Any = None

    def __enter__(self) -> NotebookProgress:
        from IPython.display import HTML, display

        self._output = display(HTML(self.html()), display_id=f"evoprune-{uuid.uuid4().hex}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.bars.clear()
        self._draw()

    def __call__(self, event: Event) -> None:
        """Show what happened; at once where there is a line of it."""
        line = self._board.watch(event)
        now = time.monotonic()
        if line is not None:
            style = f' style="{_ALARM}"' if isinstance(event, Caution) else ""
            text = html.escape(f"[{now - self._started:6.1f} s] {line}")
            self._lines.append(f"<div{style}>{text}</div>")
        if line is not None or now - self._drawn >= EVERY_S:
            self._draw()

    def html(self) -> str:
        """What is shown now."""
        lines = f'<div style="{_BOX}">{"".join(self._lines)}</div>'
        return lines + "".join(self._bar(name, bar) for name, bar in self._board.bars.items())

    def _bar(self, name: str, bar: Bar) -> str:
        value = "" if bar.total is None else f' max="{bar.total}" value="{min(bar.done, bar.total)}"'
        of = "" if bar.total is None else f"{bar.done}/{bar.total}"
        lap, since = self._laps.get(name, (-1, 0.0))
        if lap != bar.lap:
            since = time.monotonic()
            self._laps[name] = bar.lap, since
        took = f"{time.monotonic() - since:.0f} s"
        return (
            f'<div style="font-size:0.9em"><progress{value} style="width:12em;vertical-align:middle"></progress> '
            f"{html.escape(' · '.join(part for part in (bar.title, of, took, bar.note) if part))}</div>"
        )

    def _draw(self) -> None:
        from IPython.display import HTML

        self._drawn = time.monotonic()
        if self._output is not None:
            self._output.update(HTML(self.html()))
