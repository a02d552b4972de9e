"""The `evoprune` command. Commands import what they need, so that help is instant."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Final

import typer

from evoprune.cli.compare_command import compare_runs
from evoprune.cli.doctor_command import show_doctor
from evoprune.cli.export_command import export_model
from evoprune.cli.finetune_command import finetune_model
from evoprune.cli.finish_command import finish_model
from evoprune.cli.front_command import show_front
from evoprune.cli.init_command import init_recipe
from evoprune.cli.inspect_command import inspect_model
from evoprune.cli.layers_command import list_layers
from evoprune.cli.measure_command import measure_model
from evoprune.cli.options import epilog
from evoprune.cli.recipes_command import list_recipes
from evoprune.cli.report_command import report_run
from evoprune.cli.resume_command import resume_run
from evoprune.cli.run_command import run_recipe
from evoprune.display.printable import printable
from evoprune.errors import EvopruneError, UsageError
from evoprune.version import __version__

app = typer.Typer(
    name="evoprune",
    help="Evolutionary pruning for PyTorch: evolve what a network can do without, and get a smaller one.",
    epilog="\b\nBegin with:\n  evoprune run mnist-cnn\n  evoprune init mine.py",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: Final[dict[str, tuple[Callable[..., None], str]]] = {
    "run": (run_recipe, "Prune a recipe's network, from data to finished model."),
    "init": (init_recipe, "Write a recipe file for your own model and data."),
    "resume": (resume_run, "Go on with a run that was stopped."),
    "front": (show_front, "Show what else a run found to choose from."),
    "finish": (finish_model, "Build and retrain another point of a front."),
    "report": (report_run, "Write a finished run's report.html again."),
    "compare": (compare_runs, "Show finished runs side by side."),
    "recipes": (list_recipes, "List what can be run by name."),
    "inspect": (inspect_model, "Show what can be pruned, and what can't and why."),
    "layers": (list_layers, "List layers whose weights can be masked."),
    "measure": (measure_model, "Measure a table of latency by width."),
    "finetune": (finetune_model, "Train a finished model further."),
    "export": (export_model, "Write a finished model in another format."),
    "doctor": (show_doctor, "Show versions, devices, threads, cache and extras."),
}
"""Commands in the order of the help, each with a line about it."""
for _name, (_function, _line) in COMMANDS.items():
    app.command(_name, short_help=_line, epilog=epilog(_name))(_function)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks of errors."),
) -> None:
    """Options of every command."""
    del debug  # read from the command line by `main`, which also sees errors of option parsing
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 stopped but resumable, 2 something to fix."""
    debug = "--debug" in sys.argv[1:]
    # OpenMP reads this once, when torch is imported. Its threads otherwise spin while they wait, which on busy cores takes
    # the time from those that work (measured with one of two cores busy: 66 ms a training step against 44).
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        # Taken out, so that it may stand anywhere.
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"])
    except BrokenPipeError:
        # The reader of our output has gone; nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except EvopruneError as error:
        _complain(error.message, error.hint, debug=debug)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except Exception as error:  # from a recipe, a full disk, a bug: no reason to show a page of code unasked
        message = " ".join(str(error).split())
        _complain(
            f"{type(error).__name__}: {message}",
            "not an error that evoprune foresees; --debug shows where",
            debug=debug,
        )
        sys.exit(1)


def _complain(message: str, hint: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    typer.echo(f"error: {printable(message)}", err=True)
    if hint:
        typer.echo(f"hint: {printable(hint)}", err=True)
