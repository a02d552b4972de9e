"""`evoprune export`: a finished run's model in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

REAL_SAMPLES: Final = 64
"""Samples of the validation set that what was written is compared on."""


def export_model(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run of a recipe.")],
    to: Annotated[
        str,
        typer.Option(
            help="onnx, torch-export, torchscript, source, safetensors, state-dict, or package.module:Class.",
        ),
    ],
    point: Annotated[int | None, typer.Option(help="A point of the front that evoprune finish has made.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A new file; RUN/exported/model.*, or RUN/points/N/exported/model.*, if left out."),
    ] = None,
) -> None:
    """Write the finished model in another format; what was written is read again and compared before it counts."""
    from evoprune.cli.console import Console
    from evoprune.exporters.exporting import export, exporter_of
    from evoprune.run.factories.stored import finished_network
    from evoprune.run.point_finish import POINTS

    suffix = exporter_of(to).suffix
    network = finished_network(directory, point)
    folder = directory if point is None else directory / POINTS / str(point)
    exported = export(
        network.model,
        to,
        out or folder / "exported" / f"model{suffix}",
        network.example_inputs,
        real_inputs=network.real_inputs(REAL_SAMPLES),
        dense=network.dense,
    )
    Console().show_exported(exported)
