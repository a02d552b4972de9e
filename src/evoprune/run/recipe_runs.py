"""Runs of recipes: their settings, where they go, and how to find them again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprune import __version__
from evoprune.errors import ConfigError, ReplayMismatchError, UsageError
from evoprune.run.claim import MANIFEST
from evoprune.run.config import Config, make_config
from evoprune.run.manifest import read_manifest
from evoprune.run.problem import RecipeSource
from evoprune.run.settings import merge, read_config
from evoprune.run.store import CONFIG


def stored_config(directory: Path) -> Config:
    """The configuration that a recipe's run was started with.

    Raises:
        UsageError: There is no run of a recipe in the directory, or one of a version whose settings are unknown here.
        StoreCorruptedError: Its manifest is damaged.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise UsageError(f"{directory} is not a run directory: it has no {CONFIG}")
    manifest = read_manifest(directory / MANIFEST) if (directory / MANIFEST).is_file() else {}
    try:
        resolved = make_config(read_config(path))
    except ConfigError as error:
        writer = manifest.get("evoprune", __version__)
        if writer == __version__:
            raise
        # Its settings may well be right, and only unknown here.
        raise ReplayMismatchError(
            f"{directory} was written by evoprune {writer!s:.20}, this is {__version__}: {error.message}",
            "use that version",
        ) from error
    if resolved.recipe is None:
        raise UsageError(
            f"{directory} was started from Python", "call evoprune.evolve again with the same arguments and out"
        )
    return resolved


def resolve_recipe_config(recipe: str | None, *layers: Mapping[str, Any]) -> Config:
    """The recipe's own defaults under the given layers, validated.

    Raises:
        ConfigError: No recipe is named, or a setting is wrong.
    """
    named = recipe or next((layer["recipe"] for layer in reversed(layers) if layer.get("recipe")), None)
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


def recipe_source(config: Config) -> RecipeSource:
    """Where the problem of a recipe's run comes from."""
    assert config.recipe is not None
    pretrained = config.training.epochs == 0 and config.data.checkpoint is None
    return RecipeSource(config.recipe, config.data.dir, config.data.select_size, config.run.seed, pretrained)


def run_directory(config: Config, out: Path | str | None) -> Path:
    """Where a recipe's run goes."""
    name = (config.recipe or "run").replace(":", "-")
    return Path(out or config.run.out or Path("runs") / name)
