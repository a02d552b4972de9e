"""`evoprune resume`: go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evoprune.cli.options import Quiet, Verbose


def resume_run(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.")],
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Go on where a run stopped; a finished one only shows its table."""
    from evoprune.cli.console import Console
    from evoprune.cli.session import run_in_terminal
    from evoprune.run.factories.stored import recipe_source, stored_config

    config = stored_config(directory)
    run_in_terminal(config, recipe_source(config), directory, Console(quiet=quiet, verbose=verbose))
