"""`evoprune finetune`: train a finished run's model further, with its masks held."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evoprune.cli.options import Quiet, Verbose


def finetune_model(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run.")],
    epochs: Annotated[float | None, typer.Option(help="As many as the run's last retraining, if left out.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate; that of the run's retraining.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the result goes; RUN/finetuned if left out.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY.PATH=VALUE", help="A setting of training or execution; repeatable."),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train the finished model of a run further, on train and select, and judge it once on test.

    Pruned weights stay exactly zero. The run stays as it is; a directory that holds something is left alone.
    """
    from evoprune.cli.console import Console
    from evoprune.cli.session import finetune_in_terminal
    from evoprune.config.yaml_files import parse_overrides
    from evoprune.run.factories.finetuning import finetune_config, finetune_source
    from evoprune.run.finetune import FINETUNED

    config = finetune_config(directory, epochs=epochs, lr=lr, settings=parse_overrides(assignments or []))
    console, target = Console(quiet=quiet, verbose=verbose), out or directory / FINETUNED
    finetune_in_terminal(directory, config, finetune_source(directory, config), target, console)
