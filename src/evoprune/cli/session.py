"""A run at the terminal: progress while it lasts, the table at its end, and how to go on when it stops."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import typer

from evoprune.api import execute_run
from evoprune.cli.console import Console
from evoprune.config.schema import Config
from evoprune.display.printable import printable
from evoprune.errors import RunError
from evoprune.events import Listener
from evoprune.plugins import resolve
from evoprune.report.model_card import write_model_card
from evoprune.run.factories.finetuning import finetune_run
from evoprune.run.factories.finishing import Choice, finish_point
from evoprune.run.problem import ProblemSource
from evoprune.store.comparison import read_comparison

GRACE_S: Final = 5.0
"""Seconds that stopping may take before another signal is heard."""
_AGAIN: Final = "the same command begins again"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


def run_in_terminal(
    config: Config,
    source: ProblemSource,
    directory: Path,
    console: Console | None = None,
    *,
    as_json: bool = False,
    trackers: Sequence[str] = (),
) -> None:
    """Run to the end and show the comparison; on Ctrl-C or SIGTERM say how to resume, and exit with code 1."""
    console = console or Console()
    try:
        with _stopping_with(_go_on(directory)), console, _tracking(trackers) as listeners:
            result = execute_run(config, source, directory, [console, *listeners])
    except RunError as error:
        raise type(error)(error.message, error.hint or _go_on(directory)) from error
    if as_json:
        typer.echo(json.dumps({"directory": str(result.directory), "comparison": dict(result.comparison)}, indent=2))
    else:
        console.show_result(result)


def finetune_in_terminal(
    directory: Path, config: Config, source: ProblemSource, out: Path, console: Console | None = None
) -> None:
    """Train a run's finished model further and show what that changed; begun again from the start when it was stopped."""
    console, before = console or Console(), read_comparison(directory)
    with _begun_again(console):
        comparison = finetune_run(directory, config, source, out, console, before=before)
        write_model_card(out)
    console.show_finetuned(comparison, out)


def finish_in_terminal(
    directory: Path, config: Config, source: ProblemSource, choice: Choice, out: Path, console: Console | None = None
) -> None:
    """Make the finished network of a point and show what it came to; begun again from the start when it was stopped."""
    console = console or Console()
    with _begun_again(console):
        comparison = finish_point(directory, config, source, choice, out, console)
        write_model_card(out)
    console.show_point(choice.entry.index, comparison, out)


@contextmanager
def _tracking(names: Sequence[str]) -> Iterator[list[Listener]]:
    """Trackers by name, closed at the end however it comes."""
    trackers: list[Any] = [resolve("trackers", name)() for name in names]
    try:
        yield trackers
    finally:
        for one in trackers:
            one.close()


@contextmanager
def _begun_again(console: Console) -> Iterator[None]:
    try:
        with _stopping_with(_AGAIN), console:
            yield
    except RunError as error:
        raise type(error)(error.message, error.hint or _AGAIN) from error


@contextmanager
def _stopping_with(last_words: str) -> Iterator[None]:
    interruption = _Interruption()
    for number in _SIGNALS:
        # What `nohup` has made ignored stays so.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interruption)
    try:
        yield
    except KeyboardInterrupt:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        typer.echo(f"stopped; {printable(last_words)}", err=True)
        sys.exit(1)


def _go_on(directory: Path) -> str:
    return f"go on with: evoprune resume {shlex.quote(str(directory))}"


class _Interruption:
    """Stops what runs at the first signal, once: a second one, as `make` sends to its group, must not spoil the clearing up.

    Should that hang, a signal after the grace period stops it, too.
    """

    def __init__(self) -> None:
        self._first: float | None = None

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        del signal_number, frame
        now = time.monotonic()
        if self._first is None or now - self._first > GRACE_S:
            self._first = now
            raise KeyboardInterrupt
