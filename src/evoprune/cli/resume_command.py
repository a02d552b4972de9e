"""`evoprune resume`: go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def resume_run(directory: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.")]) -> None:
    """Go on where a run stopped; a finished one only shows its table."""
    from evoprune.cli.session import run_in_terminal
    from evoprune.run.factories.stored import recipe_source, stored_config

    config = stored_config(directory)
    run_in_terminal(config, recipe_source(config), directory)
