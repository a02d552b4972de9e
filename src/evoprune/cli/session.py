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
        typer.echo(f"stopped; go on with: evoprune resume {shlex.quote(str(directory))}", err=True)
        sys.exit(1)
    except RunError as error:
        raise type(error)(error.message, error.hint or f"go on with: evoprune resume {directory}") from error
    console.show_result(result)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
