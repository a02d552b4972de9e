"""Whether and where a run that was called from Python is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from evoprune.display.notebook import NotebookProgress, in_notebook
from evoprune.events import Listener, warn


@contextmanager
def shown(listeners: Sequence[Listener], *, progress: bool) -> Iterator[tuple[Listener, ...]]:
    """The listeners of a call, with one that shows it: below the cell of a notebook, otherwise on standard error.

    Standard output is left to the caller's own. Without progress, a caller who listens to nothing gets cautions as warnings.

    Args:
        listeners: Those of the caller; one that shows runs in a terminal itself is left alone with it.
        progress: Whether to show anything.
    """
    if not progress:
        yield tuple(listeners) or (warn,)
    elif any(getattr(one, "shows_progress", False) for one in listeners):
        yield tuple(listeners)
    elif in_notebook():
        with NotebookProgress() as notebook:
            yield (notebook, *listeners)
    else:
        from rich.console import Console

        from evoprune.display.terminal import TerminalProgress

        with TerminalProgress(Console(stderr=True, highlight=False)) as terminal:
            yield (terminal, *listeners)
