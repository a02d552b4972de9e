"""`evoprune front`: the candidates that no other beats, of a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from evoprune.cli.options import AsJson


def show_front(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run of channels.")],
    as_json: AsJson = False,
) -> None:
    """Show the front of a run: what each candidate scores on select as the search left it, and what it costs."""
    from evoprune.report.front_table import front_columns, front_rows
    from evoprune.store.comparison import read_comparison

    comparison = read_comparison(directory)
    if as_json:
        document = comparison.to_json()
        typer.echo(json.dumps({"metric": document["metric"], "front": document["front"]}, indent=2))
        return
    from evoprune.cli.console import Console

    Console().show_rows(f"front of {directory}", front_columns(comparison), front_rows(comparison))
