"""A run at the terminal: progress while it lasts, the table at its end, and how to go on when it stops."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

import typer

from evoprune.api import execute_run
from evoprune.cli.console import Console
from evoprune.errors import RunError
from evoprune.run.config import Config
from evoprune.run.problem import ProblemSource


def run_in_terminal(config: Config, source: ProblemSource, directory: Path) -> None:
    """Run to the end and show the comparison; on Ctrl-C or SIGTERM say how to resume, and exit with code 1."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    try:
        with console:
            result = execute_run(config, source, directory, [console])
    except KeyboardInterrupt:
        # A second signal, as `make` sends one to its whole group, must not spoil the exit.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        typer.echo(f"stopped; {_go_on(directory)}", err=True)
        sys.exit(1)
    except RunError as error:
        raise type(error)(error.message, error.hint or _go_on(directory)) from error
    console.show_result(result)


def _go_on(directory: Path) -> str:
    return f"go on with: evoprune resume {shlex.quote(str(directory))}"


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    del signal_number, frame
    raise KeyboardInterrupt
