"""`evoprune finish`: another point of a run's front as a finished network, without another search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evoprune.cli.options import Quiet, Verbose


def finish_model(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run of channels.")],
    point: Annotated[int | None, typer.Option(help="Number of the point, as evoprune front shows it.")] = None,
    constraints: Annotated[
        list[str] | None,
        typer.Option(
            "--constraint",
            metavar="BOUND",
            help="Instead, a bound such as macs<=0.2; the best point that keeps it; repeatable.",
        ),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="As many as the run's last retraining, if left out.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate; that of the run's retraining.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the result goes; RUN/points/N if left out.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY.PATH=VALUE", help="A setting of training or execution; repeatable."),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Build and retrain a point of a run's front, and judge it once on test.

    The network is the one that the run would have given, had this point been its best. The run stays as it is; a directory that
    holds something is left alone.
    """
    from evoprune.cli.console import Console
    from evoprune.cli.session import finish_in_terminal
    from evoprune.config.yaml_files import parse_overrides
    from evoprune.run.factories.finishing import choose, finish_config, finish_source

    config = finish_config(directory, epochs=epochs, lr=lr, settings=parse_overrides(assignments or []))
    choice = choose(directory, config, point=point, constraints=constraints or ())
    console, target = Console(quiet=quiet, verbose=verbose), out or directory / choice.folder
    finish_in_terminal(directory, config, finish_source(directory, config), choice, target, console)
