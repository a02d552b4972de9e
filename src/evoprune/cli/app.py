"""The `evoprune` command. Commands import what they need, so that help is instant."""

from __future__ import annotations

import os
import sys

import typer

import evoprune
from evoprune.cli.recipes_command import list_recipes
from evoprune.cli.resume_command import resume_run
from evoprune.cli.run_command import run_recipe
from evoprune.errors import EvopruneError, UsageError

app = typer.Typer(
    name="evoprune",
    help="Evolutionary pruning for PyTorch: evolve what a network can do without, and get a smaller one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run_recipe)
app.command("resume")(resume_run)
app.command("recipes")(list_recipes)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks of errors."),
) -> None:
    """Options of every command."""
    del debug  # read from the command line by `main`, which also sees errors of option parsing
    if version:
        typer.echo(evoprune.__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 stopped but resumable, 2 something to fix."""
    debug = "--debug" in sys.argv[1:]
    try:
        app()
    except EvopruneError as error:
        if debug:
            raise
        typer.echo(f"error: {error.message}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:
        # The reader of our output has gone; nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
