"""From the settings of a finished run to those of what is made of it later on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from evoprune.config.given import Settings, as_mapping
from evoprune.config.schema import Config, make_config
from evoprune.config.yaml_files import read_config
from evoprune.errors import ConfigError, UsageError
from evoprune.events import Listener
from evoprune.run.addition import Addition, finished_manifest
from evoprune.run.factories.common import timing_plan, training_plan, workplace_of
from evoprune.run.factories.stored import recipe_source
from evoprune.run.problem import ProblemSource
from evoprune.seeding import SeedTree
from evoprune.store.run_directory import CONFIG

USED: Final = {
    "training": {
        *("batch_size", "optimizer", "weight_decay", "precision", "clip_grad_norm"),
        *("retrain_epochs", "retrain_lr", "retrain_optimizer", "retrain_weight_decay"),
        *("distill", "distill_temperature"),
    },
    "execution": {"device", "training_threads", "channels_last"},
    "timing": {"batch", "compile", "onnxruntime"},
}
"""Settings that can be changed; what the run is about stays."""


def addition_config(
    directory: Path,
    work: str,
    *,
    epochs: float | None = None,
    lr: float | None = None,
    settings: Settings | None = None,
) -> Config:
    """The settings of an addition: the run's own, with those of its retraining changed.

    Args:
        directory: The run directory.
        work: What is done, for messages.
        epochs: Value of `training.retrain_epochs`; that of the run when None.
        lr: Peak rate, as `training.retrain_lr`; that of the run when None.
        settings: Others of those in `USED`, as nested mappings.

    Raises:
        UsageError: There is no finished run in the directory.
        ConfigError: A setting is wrong, or of no effect here.
    """
    finished_manifest(directory)
    settings = as_mapping(settings)
    idle = sorted(settings.keys() - USED) + [
        f"{section}.{key}"
        for section, used in USED.items()
        for key in sorted(_keys(settings.get(section)) & Config.keys_of(section) - used)
    ]
    if idle:
        every = (f"{section}.{{{','.join(sorted(used))}}}" for section, used in USED.items())
        raise ConfigError(
            f"{', '.join(idle)}: of no effect on {work}, which searches nothing",
            f"what can be set is {' and '.join(every)}",
        )
    given = {key: value for key, value in (("retrain_epochs", epochs), ("retrain_lr", lr)) if value is not None}
    return make_config(read_config(directory / CONFIG), settings, {"training": given})


def addition_source(directory: Path, config: Config, function: str) -> ProblemSource:
    """Where the problem of a recipe's run comes from.

    Args:
        directory: The run directory.
        config: Settings that `addition_config` returned.
        function: What does the same from Python, for the message.

    Raises:
        UsageError: The run was started from Python, with a model and data that only its caller has.
    """
    if config.recipe is None:
        raise UsageError(
            f"{directory} was started from Python",
            f"call evoprune.{function}(directory, model=..., task=..., example_inputs=...) with what it was started with",
        )
    return recipe_source(config)


def addition(directory: Path, config: Config, source: ProblemSource, out: Path, notify: Listener) -> Addition:
    """What is made of a finished run.

    Args:
        directory: Folder of a finished run.
        config: Settings that `addition_config` returned.
        source: The run's problem.
        out: New or empty, or where the same was begun by a process that died.
        notify: Called with each event.
    """
    training, settings = training_plan(config), config.identity()
    return Addition(
        directory=directory,
        source=source,
        out=out,
        workplace=workplace_of(config),
        learning=training.retraining,
        epochs=training.retrain_epochs,
        seeds=SeedTree(config.run.seed),
        identity={"training": settings["training"], "seed": settings["run"]["seed"]},
        notify=notify,
        timing=timing_plan(config),
    )


def _keys(section: Any) -> set[str]:
    return set(section) if isinstance(section, Mapping) else set()
