"""`evoprune run`: a recipe from data to finished model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE|CONFIG.yaml", help="Built-in recipe, package.module:function, or a YAML file.")
]


def run_recipe(
    recipe: RecipeArgument,
    out: Annotated[Path | None, typer.Option(help="Run directory; runs/RECIPE if left out.")] = None,
    seed: Annotated[int | None, typer.Option(help="The one seed of the run.")] = None,
    workers: Annotated[str | None, typer.Option(help="Candidates evaluated at once: a number, or auto.")] = None,
    executor: Annotated[str | None, typer.Option(help="in-process, process-pool, ray or auto.")] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster to join: host:port, or auto.")] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="A layer or pattern whose weights to mask; repeatable.")
    ] = None,
    time_budget: Annotated[str | None, typer.Option(help="For example 90s, 30m or 1h30m.")] = None,
    constraint: Annotated[list[str] | None, typer.Option(help='A bound such as "macs<=0.5"; repeatable.')] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Any setting; repeatable.")
    ] = None,
) -> None:
    """Train or load a network, evolve what it keeps, rebuild it smaller, retrain it and compare.

    Flags override the configuration file, which overrides the recipe's defaults. A directory that holds this very run is
    resumed; any other non-empty one is left alone.
    """
    from evoprune.cli.session import run_in_terminal
    from evoprune.run.recipe_runs import recipe_source, resolve_recipe_config, run_directory
    from evoprune.run.settings import parse_overrides, read_config

    name, file = (None, read_config(Path(recipe))) if recipe.endswith((".yaml", ".yml")) else (recipe, {})
    flags = _flags(seed, workers, executor, address, layer, time_budget, constraint)
    config = resolve_recipe_config(name, file, parse_overrides(assignments or []), flags)
    run_in_terminal(config, recipe_source(config), run_directory(config, out))


def _flags(
    seed: int | None,
    workers: str | None,
    executor: str | None,
    address: str | None,
    layers: list[str] | None,
    time_budget: str | None,
    constraints: list[str] | None,
) -> dict[str, Any]:
    given: dict[str, dict[str, Any]] = {
        "run": {"seed": seed, "time_budget": time_budget},
        "execution": {"workers": workers, "executor": executor, "address": address},
        "search": {"constraints": constraints},
        "masks": {"layers": layers},
    }
    return {
        section: {key: value for key, value in values.items() if value is not None} for section, values in given.items()
    }
