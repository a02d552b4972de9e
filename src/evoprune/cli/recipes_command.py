"""`evoprune recipes`: what `evoprune run` knows by name."""

from __future__ import annotations

import typer

from evoprune.plugins import BUILT_IN, known_names


def list_recipes() -> None:
    """List the recipes that can be run by name."""
    for name in known_names("recipes"):
        typer.echo(f"{name}  ({BUILT_IN['recipes'].get(name, 'from an installed package')})")
