"""`evoprune init`: a recipe file to begin with, and its settings."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated

import typer

from evoprune.cli.printable import printable
from evoprune.errors import UsageError


def init_recipe(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="A new file; its settings go to FILE.yaml.")] = Path(
        "my_recipe.py"
    ),
) -> None:
    """Write a recipe for your own model and data, and its settings; both run as they stand, on made-up data."""
    name = file.stem
    if file.suffix != ".py" or not name.isidentifier():
        raise UsageError(f"{file} can't be imported", "name a file such as my_recipe.py: letters, digits and _")
    if _is_taken(name, file.parent):
        raise UsageError(f"{file} would hide the module {name} of Python or of a package", "choose another name")
    settings = file.with_suffix(".yaml")
    for path in (file, settings):
        if path.exists():
            raise UsageError(f"{path} is there already", "choose another name; nothing was written")
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent}", "make it first")
    here = Path(__file__).parent
    for path, template in ((file, "recipe_template.txt"), (settings, "settings_template.txt")):
        path.write_text((here / template).read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")
    typer.echo(printable(f"wrote {file} and {settings}; what to replace in them is marked CHANGE"))
    if file.parent != Path():
        typer.echo(printable(f"  cd {file.parent}"))
    typer.echo(f"  evoprune inspect {name}:recipe")
    typer.echo(f"  evoprune run {settings.name} --dry-run")
    typer.echo(f"  evoprune run {settings.name}")


def _is_taken(name: str, folder: Path) -> bool:
    """Whether Python or an installed package has a module of this name."""
    own = (folder.resolve(), Path.cwd())
    spec = PathFinder.find_spec(name, [entry for entry in sys.path if Path(entry).resolve() not in own])
    return name in sys.stdlib_module_names or (spec is not None and spec.origin is not None)
