"""`evoprune recipes`: what `evoprune run` knows by name."""

from __future__ import annotations

import typer

from evoprune.plugins import BUILT_IN, known_names


def list_recipes() -> None:
    """List the recipes that can be run by name."""
    names = known_names("recipes")
    width = max(map(len, names))
    for name in names:
        typer.echo(f"{name:<{width}}  ({BUILT_IN['recipes'].get(name, 'from an installed package')})")
