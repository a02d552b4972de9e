"""`evoprune front`: the candidates that no other beats, of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show_front(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run of channels.")],
) -> None:
    """Show the front of a run: what each candidate scores on select as the search left it, and what it costs."""
    from evoprune.cli.console import Console
    from evoprune.report.front_table import front_columns, front_rows
    from evoprune.store.comparison import read_comparison

    comparison = read_comparison(directory)
    Console().show_rows(f"front of {directory}", front_columns(comparison), front_rows(comparison))
