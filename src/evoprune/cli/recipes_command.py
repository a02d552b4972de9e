"""`evoprune recipes`: what `evoprune run` knows by name."""

from __future__ import annotations

import json

import typer

from evoprune.cli.options import AsJson
from evoprune.plugins import BUILT_IN, known_names


def list_recipes(as_json: AsJson = False) -> None:
    """List the recipes that can be run by name."""
    names = known_names("recipes")
    if as_json:
        typer.echo(json.dumps({name: BUILT_IN["recipes"].get(name) for name in names}, indent=2))
        return
    width = max(map(len, names))
    for name in names:
        typer.echo(f"{name:<{width}}  ({BUILT_IN['recipes'].get(name, 'from an installed package')})")
