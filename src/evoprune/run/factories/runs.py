"""The composition root: the one place where a configuration becomes a run."""

from __future__ import annotations

import difflib
from pathlib import Path

from evoprune.config.idle import idle_settings
from evoprune.config.kinds import chosen_algorithm, is_mask_run
from evoprune.config.metric_names import with_metric_named
from evoprune.config.schema import Config
from evoprune.errors import ConfigError
from evoprune.events import Listener
from evoprune.objectives.constraint import Constraint
from evoprune.objectives.latency_names import is_latency
from evoprune.plugins import known_names, resolve
from evoprune.results import ACCURACY
from evoprune.run.factories.channels import channel_run
from evoprune.run.factories.common import (
    bounds_by_setting,
    ends_of,
    placement_of,
    search_plan,
    timing_plan,
    training_plan,
    wanted_measures,
    workplace_of,
)
from evoprune.run.factories.masks import mask_run
from evoprune.run.factories.stored import earlier_run
from evoprune.run.measures import choose_measures
from evoprune.run.opened_run import RunParts
from evoprune.run.problem import LiveSource, ProblemSource
from evoprune.run.runner import Run
from evoprune.run.stop_rules import check_target
from evoprune.run.time_budget import RESERVE, TimeBudget
from evoprune.seeding import SeedTree
from evoprune.store.comparison import Comparison
from evoprune.store.run_directory import RunStore


def execute(config: Config, source: ProblemSource, directory: Path, listeners: tuple[Listener, ...] = ()) -> Comparison:
    """Run to the end, or go on where an earlier process stopped; a finished run is left as it is.

    Args:
        config: Complete configuration.
        source: Model, task and example inputs.
        directory: The run directory.
        listeners: Called with each event.

    Returns:
        What its models came to.

    Raises:
        UsageError: Something the user gave can't be used; nothing of an earlier run was changed.
        RunError: The run stopped and can be resumed.
    """
    return build_run(config, source).execute(directory, listeners)


def build_run(config: Config, source: ProblemSource) -> Run:
    """The run that a configuration describes.

    Raises:
        UsageError: A name is unknown, or settings don't go together.
    """
    config = _with_metric_named(config, source)
    check_names(config)
    masks = is_mask_run(config)
    search_plan(config).check(
        alone=masks and config.masks.mode == "independent", reference=config.search.preset == "reference"
    )
    return Run(
        source=source,
        kind=mask_run(config) if masks else channel_run(config, earlier_run(config)),
        identity=config.identity(),
        settings=config.to_yaml(),
        cautions=idle_settings(config),
        time_budget=config.run.time_budget,
        parts=lambda store, notify, budget: run_parts(config, source, store, notify, budget),
        reserve=1 - config.search.share if search_plan(config).ladder is not None else RESERVE,
    )


def _with_metric_named(config: Config, source: ProblemSource) -> Config:
    """The settings with `accuracy` where they name the task's metric.

    A recipe is asked for its task only where a name is no objective that we know: it may be the metric's.
    """
    if isinstance(source, LiveSource):
        return with_metric_named(config, source.problem.task.card)
    bounds = [one for texts in bounds_by_setting(config).values() for one in map(Constraint.parse, texts)]
    named = {*config.search.objectives, *(one.objective for one in bounds)}
    known = known_names("objectives")
    if all(name in known or ":" in name or is_latency(name) for name in named):
        return config
    return with_metric_named(config, source.load().task.card)


def run_parts(
    config: Config, source: ProblemSource, store: RunStore, notify: Listener, time_budget: TimeBudget
) -> RunParts:
    """What every run is made of."""
    masks, training = is_mask_run(config), training_plan(config)
    return RunParts(
        source=source,
        store=store,
        notify=notify,
        time_budget=time_budget,
        workplace=workplace_of(config),
        training=training,
        seeds=SeedTree(config.run.seed),
        checkpoint=config.data.checkpoint,
        learns=training.learns or (masks and bool(config.masks.retrain_epochs or config.masks.between_epochs)),
        distills=bool(config.masks.distill if masks else config.training.distill),
        wanted=wanted_measures(config),
        timing=timing_plan(config),
    )


def check_names(config: Config) -> None:
    """Resolve every name in the configuration, so that a wrong one is found before there is a directory or any work.

    Raises:
        UsageError: A name is unknown, or what it stands for is not installed.
    """
    masks = is_mask_run(config)
    if not masks:
        _check_encoding(config.search.encoding)
    resolve("mask_encodings" if masks else "encodings", config.search.encoding)
    resolve("searches", chosen_algorithm(config))
    for name in config.search.criteria or ():
        resolve("criteria", name if ":" in name else name.replace("-", "_"))
    if config.recipe is not None:
        resolve("recipes", config.recipe)
    placement_of(config).check()
    if not masks and config.search.preset == "reference":
        raise ConfigError(
            f"search.preset reference is for weight masks, search.encoding is {config.search.encoding}",
            "leave search.encoding out, or set weight-bits",
        )
    check_target(ends_of(config).target, choose_measures(wanted_measures(config), ACCURACY).names)
    workplace_of(config)


def _check_encoding(name: str) -> None:
    """Say of an unknown name what there is for channels and for weights: which of the two was meant is not known."""
    known = [*known_names("encodings"), *known_names("mask_encodings")]
    if ":" not in name and name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        listed = ", ".join([*close, *(one for one in known if one not in close)])
        raise ConfigError(
            f"{name!r} is not one of the encodings: {listed}", "or name your own as package.module:attribute"
        )
