"""`evoprune layers`: the layers of a model whose weights can be masked, and what to call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evoprune.cli.inspect_command import ModelArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evoprune.report.layers import LayerRow

PATTERNS = (
    "--layer takes these names, repeatedly, and patterns of them: 'layer1.*', '*.conv2'; names of parameters, and a leading "
    "'module.', do as well."
)


def list_layers(
    model: ModelArgument,
    layer: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only what this name or pattern stands for; repeatable.")
    ] = None,
    norm_scales: Annotated[
        bool, typer.Option("--norm-scales", help="List the scales of normalisation layers as well.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Your own copy of the recipe's data.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")] = False,
) -> None:
    """List the layers whose weights can be masked: names, kinds, shapes, and how many weights each has."""
    from evoprune.cli.inspected import load_inspected
    from evoprune.report.layers import layers_of

    rows = layers_of(load_inspected(model, data_dir, None).model, layer or None, include_norm_scales=norm_scales)
    if as_json:
        typer.echo(json.dumps({"model": model, "layers": [row.as_json() for row in rows]}, indent=2))
        return
    _show(model, rows)


def _show(model: str, rows: Sequence[LayerRow]) -> None:
    from rich.text import Text

    from evoprune.cli.inspection_tables import new_console, new_table
    from evoprune.display.printable import printable

    # An attention layer has several weight tensors: its name stands for all of them.
    layers = len({row.layer for row in rows})
    several = layers < len(rows)
    total = sum(row.weights for row in rows)
    title = f"{model}: {total:,} weights in {layers} {'layer' if layers == 1 else 'layers'} can be masked"
    headings = ["layer", *(["parameter"] if several else []), "kind", "shape", "weights", "share"]
    table = new_table("", headings, right=("weights", "share"))
    for row in rows:
        shape = " x ".join(map(str, row.shape))
        name = [row.name] if several else []
        cells = [row.layer, *name, row.kind, shape, f"{row.weights:,}", f"{row.share:.1%}"]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = new_console()
    console.print(title, markup=False, soft_wrap=True)
    console.print(table)
    console.print(PATTERNS, markup=False, soft_wrap=True)
