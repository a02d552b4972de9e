"""`evoprune doctor`: what a report of a problem should say about the machine."""

from __future__ import annotations

import json

import typer

from evoprune.cli.options import AsJson


def show_doctor(as_json: AsJson = False) -> None:
    """Show versions, devices, threads, the cache and which optional packages are there."""
    from evoprune.cli.diagnosis import diagnose

    found = diagnose()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for title, rows in found.items():
        typer.echo(f"{title}")
        width = max(map(len, rows))
        for name, value in rows.items():
            typer.echo(f"  {name:<{width}}  {value}")
