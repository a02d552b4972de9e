"""From the settings of a run to a fine-tuning of its model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprune.config.schema import Config
from evoprune.events import Listener
from evoprune.run.factories.additions import addition, addition_config, addition_source
from evoprune.run.finetune import finetune
from evoprune.run.problem import ProblemSource
from evoprune.store.comparison import Comparison


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
        What the models came to, as `finetune` says.
    """
    return finetune(addition(directory, config, source, out, notify), before)


def finetune_config(
    directory: Path, *, epochs: float | None = None, lr: float | None = None, settings: Mapping[str, Any] | None = None
) -> Config:
    """The settings of a fine-tuning, as `addition_config` says."""
    return addition_config(directory, "fine-tuning", epochs=epochs, lr=lr, settings=settings)


def finetune_source(directory: Path, config: Config) -> ProblemSource:
    """Where the problem of a recipe's run comes from, as `addition_source` says."""
    return addition_source(directory, config, "finetune")
