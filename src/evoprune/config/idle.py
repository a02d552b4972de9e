"""Settings that were changed and have no effect on the run that they are for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from evoprune.config.genetic import BRED, unread_by
from evoprune.config.kinds import LADDERS, chosen_algorithm, is_mask_run
from evoprune.config.masks import MasksConfig
from evoprune.config.recipes import recipe_defaults
from evoprune.config.schema import Config, make_config
from evoprune.objectives.constraint import Constraint
from evoprune.objectives.latency_names import is_latency

_UNREAD_BY_MEMBERS: Final = (
    *("search.algorithm", "search.asynchronous"),
    *("masks.criteria", "masks.margin", "masks.polish_generations", "masks.warm_start"),
    *(f"ga.{key}" for key in ("num_generations", "tournament_size", "elitism", "initial_keep", *BRED)),
)


def idle_settings(config: Config) -> list[str]:
    """Lines such as `masks.mode, masks.goals: of no effect on channels`, for settings that are not what such a run has anyway.

    Nothing is said of what a recipe sets: it may serve several kinds of run.
    """
    usual = make_config(_kind_of(config), recipe=recipe_defaults(config.recipe or ""))
    given, expected = (_flat(one.model_dump(mode="json")) for one in (config, usual))
    lines = []
    for keys, reason in _idle(config):
        changed = [key for key in keys if given[key] != expected[key]]
        if changed:
            lines.append(f"{', '.join(changed)}: of no effect {reason}")
    return lines


def _kind_of(config: Config) -> dict[str, Any]:
    """The settings that decide which defaults a run has."""
    search = config.search.model_dump(mode="json", include={"encoding", "preset"})
    goals = config.masks.model_dump(mode="json", include={"goals", "mode"}) if is_mask_run(config) else {}
    return {"search": search, "masks": goals}


def _idle(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Settings by key that a run doesn't read, with the reason."""
    yield from _idle_of_masks(config) if is_mask_run(config) else _idle_of_channels(config)
    training, algorithm = config.training, chosen_algorithm(config)
    yield from _idle_of_ladders(config) if algorithm in LADDERS else _idle_without_ladder()
    yield tuple(f"ga.{key}" for key in unread_by(algorithm)), f"on the search {algorithm}"
    if config.data.checkpoint is not None:
        yield ("training.epochs", "training.lr"), "where data.checkpoint has trained weights"
    elif training.epochs == 0:
        yield ("training.lr",), "where the dense network isn't trained (training.epochs)"
    if training.finetune_steps is not None:
        yield ("training.finetune_epochs",), "where training.finetune_steps is set"
    if (training.finetune_epochs if training.finetune_steps is None else training.finetune_steps) == 0:
        yield ("training.finetune_lr", "training.finetune_batch_size"), "where candidates aren't fine-tuned"


def _idle_of_channels(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    masks = tuple(f"masks.{key}" for key in MasksConfig.model_fields if key != "layers")
    yield (*masks, "fitness.w_sparsity"), "on channels, only on weight masks"
    if config.training.distill == 0:
        yield ("training.distill_temperature",), "where nothing is distilled (training.distill)"
    if config.search.encoding == "channel-widths":
        yield ("ga.crossover", "ga.mutation"), "on channel-widths, which has operators of its own"
    elif config.search.encoding == "channel-bits" and config.ga.mutation == "swap":
        yield ("ga.crossover",), "where ga.mutation is swap: whole groups are exchanged"
    search = config.search
    bounded = (Constraint.parse(one).objective for one in search.constraints)
    if not any(map(is_latency, [*search.objectives, *search.also_measure, *bounded])):
        yield ("search.latency_table",), "where neither objectives nor constraints name a latency"


def _idle_of_ladders(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    rungs = "on a search ladder, whose rungs say it"
    yield ("training.finetune_epochs", "training.finetune_min_steps", "fidelity.select_samples"), rungs
    if config.training.finetune_steps is not None:
        yield ("search.share",), "where training.finetune_steps is set"
    if chosen_algorithm(config) == "ladder":
        yield ("training.finetune_lr",), "under a budget, where candidates learn as in retraining (training.retrain_lr)"


def _idle_without_ladder() -> Iterator[tuple[tuple[str, ...], str]]:
    yield ("search.share", "search.inherit"), "on a search that is no ladder"


def _idle_of_masks(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    masks = config.masks
    channels = (
        "outputs",
        "layer_types",
        "round_to",
        "criteria",
        "criteria_samples",
        "baselines",
        "also_measure",
        "latency_table",
    )
    yield ("fitness.w_macs", *(f"search.{key}" for key in channels)), "on weight masks, only on channels"
    yield ("training.distill", "training.distill_temperature"), "on weight masks, which have masks.distill"
    if masks.mode != "layers":
        yield ("masks.order",), f"in masks.mode {masks.mode}, which doesn't take the layers in turn"
    if masks.goals is not None:
        yield ("masks.passes",), "where there are masks.goals: each is a pass"
    if masks.goals is None or len(masks.goals) == 1:
        yield ("masks.between", "masks.between_epochs"), "without several masks.goals to come between"
    elif masks.between == 0:
        yield ("masks.between_epochs",), "without steps between the goals (masks.between)"
    if masks.mode == "population":
        yield _UNREAD_BY_MEMBERS, "in masks.mode population, whose members choose masks by rules of their own"
    elif config.search.seeding == "none":
        yield ("masks.criteria", "masks.fisher_samples"), "on a search without any rule (search.seeding none)"
    elif not any("fisher" in name for name in masks.criteria):
        yield ("masks.fisher_samples",), "where no criterion takes samples (masks.criteria)"
    if masks.mode != "population":
        yield ("masks.regrow",), "outside masks.mode population, whose members may let weights come back"
    if masks.distill == 0:
        yield ("masks.distill_temperature",), "where nothing is distilled (masks.distill)"
    if config.search.encoding == "weight-bits":
        yield ("masks.polish_generations",), "on weight-bits, whose bits are single weights already"


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, values in document.items()
        if isinstance(values, dict)
        for key, value in values.items()
    }
