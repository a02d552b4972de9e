"""Settings of recipes: the defaults that they ship with, and where their runs go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprune.config.schema import Config, make_config
from evoprune.config.yaml_files import merge, read_config
from evoprune.errors import ConfigError, UsageError


def resolve_recipe_config(recipe: str | None, *layers: Mapping[str, Any]) -> Config:
    """The recipe's own defaults under the given layers, validated.

    Raises:
        ConfigError: No recipe is named, or a setting is wrong.
    """
    set_there = next((layer["recipe"] for layer in reversed(layers) if layer.get("recipe")), None)
    named = recipe or set_there
    if set_there not in (None, named):
        raise ConfigError(f"recipe is {named!r}, but the settings name {set_there!r}", "name one of them")
    if named is None:
        raise UsageError("no recipe is named", "pass one, or set `recipe:` in the configuration")
    return make_config(*layers, {"recipe": named}, recipe=recipe_defaults(str(named)))


def recipe_defaults(recipe: str) -> dict[str, Any]:
    """The settings that a built-in recipe ships with, over those of the one that it names as `like`; none for others."""
    path = Path(__file__).parent.parent / "recipes" / f"{recipe}.yaml"
    if not recipe.replace("-", "_").isidentifier() or not path.is_file():
        return {}
    settings = read_config(path)
    like = settings.pop("like", None)
    return settings if like is None else merge(recipe_defaults(like), settings)


def run_directory(config: Config, out: Path | str | None) -> Path:
    """Where a recipe's run goes."""
    name = (config.recipe or "run").replace(":", "-")
    return Path(out or config.run.out or Path("runs") / name)


def refuse_settings_of_recipes(config: Config) -> None:
    """See that nothing is set that says where a recipe's model and data come from.

    Raises:
        ConfigError: Something is.
    """
    from_recipes = {"recipe": config.recipe, "data.dir": config.data.dir, "data.select_size": config.data.select_size}
    idle = [name for name, value in from_recipes.items() if value is not None]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)}: of no effect on evolve, which is given its model and task",
            "leave it out, or call run_recipe",
        )
