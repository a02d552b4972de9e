"""Runs of recipes that are found again in their directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from evoprune.config.kinds import LADDERS, chosen_algorithm, is_mask_run
from evoprune.config.schema import Config, make_config
from evoprune.config.yaml_files import read_config
from evoprune.data.batches import as_batch
from evoprune.data.task import Task
from evoprune.errors import ConfigError, ReplayMismatchError, UsageError
from evoprune.run.channel_work import ChannelTarget
from evoprune.run.earlier_run import EarlierRun
from evoprune.run.factories.channels import channel_target
from evoprune.run.factories.masks import mask_target
from evoprune.run.mask_context import MaskTarget
from evoprune.run.point_finish import POINTS
from evoprune.run.problem import RecipeSource
from evoprune.store.artifact import MODEL, load_artifact
from evoprune.store.artifact_description import described_inputs
from evoprune.store.atomic import read_json
from evoprune.store.claim import MANIFEST
from evoprune.store.comparison import read_comparison
from evoprune.store.manifest import read_manifest
from evoprune.store.run_directory import ARTIFACT, CONFIG
from evoprune.version import __version__

_SHOWN: Final = 8


def stored_config(directory: Path) -> Config:
    """The configuration that a recipe's run was started with.

    Raises:
        UsageError: There is no run of a recipe in the directory, or one of a version whose settings are unknown here.
        StoreCorruptedError: Its manifest is damaged.
    """
    resolved = _settings_of(directory)
    if resolved.recipe is None:
        raise UsageError(
            f"{directory} was started from Python", "call evoprune.evolve again with the same arguments and out"
        )
    return resolved


def earlier_run(config: Config) -> EarlierRun | None:
    """The run whose networks this one begins with."""
    search = config.search
    if search.start_from is None:
        return None
    swaps = search.encoding == "channel-bits" and config.ga.mutation == "swap"
    inherits = search.inherit and chosen_algorithm(config) in LADDERS
    return EarlierRun(search.start_from, _target_of_channels, swaps, inherits)


def _target_of_channels(directory: Path) -> ChannelTarget:
    """Which channels a run might prune.

    Raises:
        UsageError: It is none of channels.
    """
    config = _settings_of(directory)
    if is_mask_run(config):
        raise UsageError(
            f"search.start_from: {directory} prunes single weights, this run channels",
            "name a run of channels; masks are what a run of masks begins with, as masks.warm_start",
        )
    return channel_target(config)


def _settings_of(directory: Path) -> Config:
    """The settings of any run.

    Raises:
        UsageError: There is no run in the directory, or one of a version whose settings are unknown here.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise UsageError(f"{directory} is not a run directory: it has no {CONFIG}")
    manifest = read_manifest(directory / MANIFEST)
    try:
        return make_config(read_config(path))
    except ConfigError as error:
        writer = __version__ if manifest is None else manifest.evoprune
        if writer == __version__:
            raise
        # Its settings may well be right, and only unknown here.
        raise ReplayMismatchError(
            f"{directory} was written by evoprune {writer:.20}, this is {__version__}: {error.message}",
            "use that version",
        ) from error


def recipe_source(config: Config) -> RecipeSource:
    """Where the problem of a recipe's run comes from."""
    assert config.recipe is not None
    pretrained = config.training.epochs == 0 and config.data.checkpoint is None
    return RecipeSource(config.recipe, config.data.dir, config.data.select_size, config.run.seed, pretrained)


@dataclass(frozen=True)
class FinishedNetwork:
    """A finished model with what an export can be compared by.

    Attributes:
        model: The network, on the CPU and in eval mode.
        example_inputs: Inputs of one forward pass; of a run that was started from Python as its artifact describes them, None
            where that doesn't do.
        dense: The dense network, with weights of its recipe; None for a run that was started from Python, and so the task.
        task: The task, whose validation set may be looked at.
    """

    model: nn.Module
    example_inputs: Any = None
    dense: nn.Module | None = None
    task: Task | None = None

    def real_inputs(self, samples: int) -> Any:
        """Inputs of a batch of the validation set; None where there is no task."""
        if self.task is None:
            return None
        pair = next(iter(self.task.val.head(samples).batches(samples, device=torch.device("cpu"))), None)
        return None if pair is None else as_batch(pair)[0]


def finished_network(directory: Path, point: int | None = None) -> FinishedNetwork:
    """The finished model of a run, or that of a point of its front that was finished.

    Args:
        directory: The run directory.
        point: Number of the point; None for the run's own model.

    Raises:
        UsageError: There is no finished run, no such point or no finished one, or nothing is known that builds the network.
        StoreCorruptedError: A file is damaged.
    """
    if not (directory / ARTIFACT / MODEL).is_file():
        raise UsageError(f"{directory} holds no finished run", "finish it first: evoprune resume")
    artifact = directory / ARTIFACT if point is None else _finished_point(directory, point)
    if read_config(directory / CONFIG).get("recipe") is None:
        model = load_artifact(artifact)
        return FinishedNetwork(model, described_inputs(model, read_json(artifact / MODEL)))
    problem = recipe_source(stored_config(directory)).load()
    model = load_artifact(artifact, factory=lambda: problem.model)
    return FinishedNetwork(model, problem.example_inputs, problem.model, problem.task)


def _finished_point(directory: Path, point: int) -> Path:
    folder = directory / POINTS / str(point)
    if (folder / MODEL).is_file():
        return folder
    numbers = [one.index for one in read_comparison(directory).front]
    if point in numbers:
        raise UsageError(
            f"point {point} of {directory} is not finished: it has the weights of the search",
            f"finish it first: evoprune finish {directory} --point {point}",
        )
    shown = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
    raise UsageError(
        f"the front of {directory} has no point {point}" + (f": it has {shown}" if numbers else ""),
        f"evoprune front {directory} shows them",
    )


def target_of(config: Config) -> ChannelTarget | MaskTarget:
    """What a run may prune."""
    return mask_target(config) if is_mask_run(config) else channel_target(config)
