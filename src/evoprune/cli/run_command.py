"""`evoprune run`: a recipe from data to finished model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evoprune.cli.completion import recipe_names
from evoprune.cli.options import AsJson, OpenPage, Quiet, Verbose
from evoprune.cli.page_opening import open_in_browser

RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|CONFIG.yaml",
        help="Built-in recipe, package.module:function, or a YAML file.",
        autocompletion=recipe_names,
    ),
]


def run_recipe(
    recipe: RecipeArgument,
    out: Annotated[Path | None, typer.Option(help="Run directory; runs/RECIPE if left out.")] = None,
    seed: Annotated[int | None, typer.Option(help="The one seed of the run.")] = None,
    workers: Annotated[str | None, typer.Option(help="Candidates evaluated at once: a number, or auto.")] = None,
    executor: Annotated[str | None, typer.Option(help="in-process, process-pool, ray or auto.")] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster to join: host:port, or auto.")] = None,
    layer: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A layer or pattern to prune, and no other; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Names to leave as they are; repeatable.")
    ] = None,
    time_budget: Annotated[str | None, typer.Option(help="For example 90s, 30m or 1h30m.")] = None,
    constraint: Annotated[list[str] | None, typer.Option(help='A bound such as "macs<=0.5"; repeatable.')] = None,
    start_from: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="A finished run of channels to go on from, on the same network."),
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Any setting; repeatable.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what there would be to do and how long it would take, and do nothing."),
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Keep the run in tensorboard, mlflow or wandb as well; repeatable."),
    ] = None,
    open_page: OpenPage = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train or load a network, evolve what it keeps, rebuild it smaller, retrain it and compare.

    Flags override the configuration file, which overrides the recipe's defaults. A directory that holds this very run is
    resumed; any other non-empty one is left alone.
    """
    from evoprune.config.recipes import resolve_recipe_config, run_directory
    from evoprune.config.yaml_files import parse_overrides, read_config
    from evoprune.run.factories.stored import recipe_source
    from evoprune.store.run_directory import REPORT

    name, file = (None, read_config(Path(recipe))) if recipe.endswith((".yaml", ".yml")) else (recipe, {})
    flags = _flags(seed, workers, executor, address, layer, exclude, time_budget, constraint, start_from)
    config = resolve_recipe_config(name, file, parse_overrides(assignments or []), flags)
    if dry_run:
        from evoprune.cli.planned_work import show_planned_work

        show_planned_work(config, recipe_source(config), as_json=as_json)
        return
    from rich.console import Console as RichConsole

    from evoprune.cli.console import Console
    from evoprune.cli.session import run_in_terminal

    directory = run_directory(config, out)
    console = Console(RichConsole(stderr=as_json, highlight=False), quiet=quiet, verbose=verbose)
    run_in_terminal(config, recipe_source(config), directory, console, as_json=as_json, trackers=track or ())
    if open_page:
        open_in_browser(directory / REPORT)


def _flags(
    seed: int | None,
    workers: str | None,
    executor: str | None,
    address: str | None,
    layers: list[str] | None,
    exclude: list[str] | None,
    time_budget: str | None,
    constraints: list[str] | None,
    start_from: Path | None,
) -> dict[str, Any]:
    given: dict[str, dict[str, Any]] = {
        "run": {"seed": seed, "time_budget": time_budget},
        "execution": {"workers": workers, "executor": executor, "address": address},
        "search": {
            "constraints": constraints,
            "layers": layers,
            "exclude": exclude,
            "start_from": None if start_from is None else str(start_from),
        },
    }
    flags = {
        section: {key: value for key, value in values.items() if value is not None} for section, values in given.items()
    }
    # What a file calls by the name for masks is overridden as well.
    return flags if layers is None else {**flags, "masks": {"layers": None}}
