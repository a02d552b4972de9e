"""Runs of recipes that are found again in their directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from evoprune.config.kinds import is_mask_run
from evoprune.config.schema import Config, make_config
from evoprune.config.yaml_files import read_config
from evoprune.errors import ConfigError, ReplayMismatchError, UsageError
from evoprune.run.channel_work import ChannelTarget
from evoprune.run.factories.channels import channel_target
from evoprune.run.factories.masks import mask_target
from evoprune.run.mask_context import MaskTarget
from evoprune.run.problem import RecipeSource
from evoprune.store.artifact import MODEL, load_artifact
from evoprune.store.claim import MANIFEST
from evoprune.store.manifest import read_manifest
from evoprune.store.run_directory import ARTIFACT, CONFIG
from evoprune.version import __version__


def stored_config(directory: Path) -> Config:
    """The configuration that a recipe's run was started with.

    Raises:
        UsageError: There is no run of a recipe in the directory, or one of a version whose settings are unknown here.
        StoreCorruptedError: Its manifest is damaged.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise UsageError(f"{directory} is not a run directory: it has no {CONFIG}")
    manifest = read_manifest(directory / MANIFEST)
    try:
        resolved = make_config(read_config(path))
    except ConfigError as error:
        writer = __version__ if manifest is None else manifest.evoprune
        if writer == __version__:
            raise
        # Its settings may well be right, and only unknown here.
        raise ReplayMismatchError(
            f"{directory} was written by evoprune {writer:.20}, this is {__version__}: {error.message}",
            "use that version",
        ) from error
    if resolved.recipe is None:
        raise UsageError(
            f"{directory} was started from Python", "call evoprune.evolve again with the same arguments and out"
        )
    return resolved


def recipe_source(config: Config) -> RecipeSource:
    """Where the problem of a recipe's run comes from."""
    assert config.recipe is not None
    pretrained = config.training.epochs == 0 and config.data.checkpoint is None
    return RecipeSource(config.recipe, config.data.dir, config.data.select_size, config.run.seed, pretrained)


def finished_network(directory: Path) -> tuple[nn.Module, Any]:
    """The finished model of a run, on the CPU and in eval mode, and example inputs; None for a run that was started from Python.

    Raises:
        UsageError: There is no finished run, or nothing is known that builds its network.
        StoreCorruptedError: A file is damaged.
    """
    if not (directory / ARTIFACT / MODEL).is_file():
        raise UsageError(f"{directory} holds no finished run", "finish it first: evoprune resume")
    if read_config(directory / CONFIG).get("recipe") is None:
        return load_artifact(directory / ARTIFACT), None
    problem = recipe_source(stored_config(directory)).load()
    return load_artifact(directory / ARTIFACT, factory=lambda: problem.model), problem.example_inputs


def target_of(config: Config) -> ChannelTarget | MaskTarget:
    """What a run may prune."""
    return mask_target(config) if is_mask_run(config) else channel_target(config)
