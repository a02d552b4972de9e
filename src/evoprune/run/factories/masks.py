"""From configuration to a run of weight masks."""

from __future__ import annotations

from evoprune.config.schema import Config
from evoprune.run.factories.common import (
    bounds_by_setting,
    constraints_of,
    ends_of,
    placement_of,
    search_plan,
    wanted_measures,
)
from evoprune.run.mask_breeding import MaskBreeding
from evoprune.run.mask_context import MaskTarget
from evoprune.run.mask_run import MaskRun
from evoprune.run.mask_schedule import Schedule, StepLimits
from evoprune.run.mask_training import MaskTraining


def mask_run(config: Config) -> MaskRun:
    """What is particular to the run."""
    masks = config.masks
    return MaskRun(
        breeding=_breeding(config),
        schedule=mask_schedule(config),
        margin=masks.margin,
        training=MaskTraining(
            masks.retrain_epochs,
            masks.between_epochs,
            () if config.search.seeding == "none" else masks.criteria,
            masks.fisher_samples,
            masks.distill,
            masks.distill_temperature,
            masks.regrow,
        ),
        limits=StepLimits(masks.max_accuracy_drop, masks.min_class_accuracy),
        bounds=bounds_by_setting(config),
        placement=placement_of(config),
    )


def mask_target(config: Config) -> MaskTarget:
    """Which weights may go, and what of them must stay."""
    masks = config.masks
    return MaskTarget(
        config.layers,
        config.search.exclude,
        masks.norm_scales,
        masks.structure,
        masks.live_outputs,
        masks.warm_start,
        config.search.encoding == "neuron-bits",
    )


def mask_schedule(config: Config) -> Schedule:
    """Which layers are searched when."""
    masks = config.masks
    goals = tuple(masks.goals) if masks.goals is not None else (None,) * masks.passes
    return Schedule(goals, masks.between, masks.mode, masks.order)


def _breeding(config: Config) -> MaskBreeding:
    return MaskBreeding(
        plan=search_plan(config),
        target=mask_target(config),
        encoding=config.search.encoding,
        polish_generations=config.masks.polish_generations,
        wanted=wanted_measures(config),
        constraints=constraints_of(config),
        ends=ends_of(config),
        target_sparsity=config.masks.target_sparsity,
    )
