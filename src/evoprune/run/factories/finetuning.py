"""From the settings of a run to a fine-tuning of its model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from evoprune.config.schema import Config, make_config
from evoprune.config.yaml_files import read_config
from evoprune.errors import ConfigError, UsageError
from evoprune.events import Listener
from evoprune.run.factories.common import training_plan, workplace_of
from evoprune.run.factories.stored import recipe_source
from evoprune.run.finetune import Finetuning, finished_manifest
from evoprune.run.problem import ProblemSource
from evoprune.seeding import SeedTree
from evoprune.store.comparison import Comparison
from evoprune.store.run_directory import CONFIG

USED: Final = {
    "training": {
        *("batch_size", "optimizer", "weight_decay", "precision", "clip_grad_norm"),
        *("retrain_epochs", "retrain_lr", "retrain_optimizer", "retrain_weight_decay"),
    },
    "execution": {"device", "training_threads", "channels_last"},
}
"""Settings that can be changed; what the run is about stays."""


def finetune_run(
    directory: Path,
    config: Config,
    source: ProblemSource,
    out: Path,
    notify: Listener,
    *,
    before: Comparison,
) -> Comparison:
    """Train the finished model of a run further, and write the result to a directory of its own.

    Args:
        directory: Folder of a finished run, of masks or of channels.
        config: Settings that `finetune_config` returned.
        source: The run's problem.
        out: New or empty, or where the same was begun by a process that died.
        notify: Called with each event.
        before: The run's comparison, read before the training: after it is too late for a damaged file.

    Returns:
        What the models came to, as `Finetuning.execute` says.
    """
    training, settings = training_plan(config), config.identity()
    return Finetuning(
        directory=directory,
        source=source,
        out=out,
        workplace=workplace_of(config),
        learning=training.retraining,
        epochs=training.retrain_epochs,
        seeds=SeedTree(config.run.seed),
        identity={"training": settings["training"], "seed": settings["run"]["seed"]},
        notify=notify,
    ).execute(before)


def finetune_config(
    directory: Path, *, epochs: float | None = None, lr: float | None = None, settings: Mapping[str, Any] | None = None
) -> Config:
    """The settings of a fine-tuning: the run's own, with those of its retraining changed.

    Args:
        directory: The run directory.
        epochs: Value of `training.retrain_epochs`; that of the run when None.
        lr: Peak rate, as `training.retrain_lr`; that of the run when None.
        settings: Others of those in `USED`, as nested mappings.

    Raises:
        UsageError: There is no finished run in the directory.
        ConfigError: A setting is wrong, or of no effect here.
    """
    finished_manifest(directory)
    settings = settings or {}
    idle = sorted(settings.keys() - USED) + [
        f"{section}.{key}"
        for section, used in USED.items()
        for key in sorted(_keys(settings.get(section)) & Config.keys_of(section) - used)
    ]
    if idle:
        every = (f"{section}.{{{','.join(sorted(used))}}}" for section, used in USED.items())
        raise ConfigError(
            f"{', '.join(idle)}: of no effect on fine-tuning, which searches nothing",
            f"what can be set is {' and '.join(every)}",
        )
    given = {key: value for key, value in (("retrain_epochs", epochs), ("retrain_lr", lr)) if value is not None}
    return make_config(read_config(directory / CONFIG), settings, {"training": given})


def _keys(section: Any) -> set[str]:
    return set(section) if isinstance(section, Mapping) else set()


def finetune_source(directory: Path, config: Config) -> ProblemSource:
    """Where the problem of a recipe's run comes from.

    Raises:
        UsageError: The run was started from Python, with a model and data that only its caller has.
    """
    if config.recipe is None:
        raise UsageError(
            f"{directory} was started from Python",
            "call evoprune.finetune(directory, model=..., task=..., example_inputs=...) with what it was started with",
        )
    return recipe_source(config)
