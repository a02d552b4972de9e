"""`evoprune export`: a finished run's model in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export_model(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run of a recipe.")],
    to: Annotated[str, typer.Option(help="safetensors, state-dict, torch-export, or package.module:Class.")],
    out: Annotated[Path | None, typer.Option(help="A new file; RUN/exported/model.* if left out.")] = None,
) -> None:
    """Write the finished model in another format; what was written is read again and compared before it counts."""
    from evoprune.cli.console import Console
    from evoprune.exporters.exporting import export
    from evoprune.plugins import resolve
    from evoprune.run.factories.stored import finished_network

    exporter = resolve("exporters", to)
    model, example_inputs = finished_network(directory)
    target = out or directory / "exported" / f"model{exporter().suffix}"
    Console().show_exported(export(model, to, target, example_inputs))
