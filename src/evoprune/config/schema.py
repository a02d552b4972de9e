"""Every setting of a run in one typed tree; YAML files, `--set` and Python use the same names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from evoprune.config.execution import WHERE, ExecutionConfig
from evoprune.config.fields import AbsolutePath, Duration, NonNegative, PositiveInt, Section, SomeWords
from evoprune.config.genetic import GeneticConfig, unread_by
from evoprune.config.masks import MasksConfig
from evoprune.config.populations import defaults_of
from evoprune.config.presets import with_objectives
from evoprune.config.problems import explain
from evoprune.config.search import SearchConfig, parseable
from evoprune.config.timing import TimingConfig
from evoprune.config.training import TrainingConfig
from evoprune.config.yaml_files import merge
from evoprune.errors import ConfigError

_WHERE = {"run": ("out",), "execution": WHERE, "data": ("dir",), "search": ("latency_table",)}
"""Settings that say where a run is done, not what; the content of a latency table is pinned by itself."""


class FitnessConfig(Section):
    """Fitness = w_acc * accuracy on select + w_macs * fraction of MACs saved + w_sparsity * sparsity - w_loss * loss."""

    w_acc: NonNegative = Field(0.0, description="weight of accuracy")
    w_macs: NonNegative = Field(0.1, description="weight of the fraction of MACs saved; of channels alone")
    w_sparsity: NonNegative = Field(0.0, description="weight of sparsity; of weight masks alone")
    w_loss: NonNegative = Field(1.0, description="weight of the loss on select, which tells candidates apart sooner")

    @model_validator(mode="after")
    def _not_all_zero(self) -> FitnessConfig:
        if self.w_acc == self.w_macs == self.w_sparsity == self.w_loss == 0:
            raise ValueError("the weights can't all be 0: nothing would be selected for")
        return self


class FidelityConfig(Section):
    """How much work a score costs, apart from fine-tuning."""

    recalibrate_batches: Annotated[int, Field(ge=0)] = Field(
        0, description="batches to re-estimate BatchNorm from before fine-tuning"
    )
    select_samples: PositiveInt | None = Field(None, description="samples of the select set to score on; all when null")


class DataConfig(Section):
    """Where the data comes from; recipes take what they understand."""

    dir: AbsolutePath | None = Field(None, description="a directory with your own copy of the data set")
    select_size: PositiveInt | None = Field(
        None, description="samples cut from train to score candidates on; the recipe's own when null"
    )
    checkpoint: AbsolutePath | None = Field(
        None, description="trained weights of the recipe's network: .safetensors, or a .pth state dict"
    )


class RunConfig(Section):
    """Seed, place and budget of the run."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="the one seed everything random grows from")
    out: Path | None = Field(None, description="run directory; runs/<recipe> when null")
    time_budget: Duration | None = Field(
        None,
        description="seconds, or 90s, 30m, 1h30m, resumes included: the search ends in time for retraining, of which there is "
        "less if need be, one epoch at least. Training of the dense network and a first generation take the time that they take",
    )
    max_candidates: PositiveInt | None = Field(
        None, description="the search ends after so many candidates; of independent layers, after so many layers"
    )
    stall_generations: PositiveInt | None = Field(
        None, description="a search ends after so many generations without a better candidate"
    )
    target: SomeWords | None = Field(
        None,
        description='a search ends when one candidate keeps all these bounds, such as ["accuracy>=0.99", "macs<=0.5"]',
    )

    @field_validator("target")
    @classmethod
    def _parseable(cls, target: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if target is None else parseable(target)


class Config(Section):
    """A run, completely described."""

    recipe: str | None = Field(None, description="built-in recipe or package.module:function")
    training: TrainingConfig = TrainingConfig()
    ga: GeneticConfig = GeneticConfig()
    fitness: FitnessConfig = FitnessConfig()
    search: SearchConfig = SearchConfig()
    masks: MasksConfig = MasksConfig()
    fidelity: FidelityConfig = FidelityConfig()
    execution: ExecutionConfig = ExecutionConfig()
    data: DataConfig = DataConfig()
    run: RunConfig = RunConfig()
    timing: TimingConfig = TimingConfig()

    @model_validator(mode="after")
    def _masks_have_goals_and_orders(self) -> Config:
        self.masks.check_goals_and_orders(encoding=self.search.encoding, seeding=self.search.seeding)
        return self

    @model_validator(mode="after")
    def _masks_begin_with_masks(self) -> Config:
        if self.search.prunes_weights and self.search.start_from is not None:
            raise ValueError("search.start_from is for channels; weight masks begin with those of masks.warm_start")
        return self

    @model_validator(mode="after")
    def _elite_is_below_the_population_where_it_is_read(self) -> Config:
        members = self.search.prunes_weights and self.masks.mode == "population"
        read = not members and "elitism" not in unread_by(self.search.chosen_algorithm)
        if read and self.ga.elitism >= self.ga.pop_size:
            raise ValueError(f"ga.elitism={self.ga.elitism} must be below ga.pop_size={self.ga.pop_size}")
        return self

    @model_validator(mode="after")
    def _layers_are_named_once(self) -> Config:
        if self.masks.layers is not None and self.search.layers is not None:
            raise ValueError("search.layers and masks.layers both name the layers to prune; set search.layers alone")
        return self

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Names or patterns of the layers to prune; None for all."""
        return self.search.layers if self.search.layers is not None else self.masks.layers

    def identity(self) -> dict[str, Any]:
        """What makes a run this run: all settings but those that can't change its result."""
        document: dict[str, Any] = self.model_dump(mode="json")
        for section, keys in _WHERE.items():
            for key in keys:
                del document[section][key]
        del document["timing"]
        return document

    @classmethod
    def keys_of(cls, section: str) -> set[str]:
        """The names of a section's settings."""
        return set(type(getattr(cls(), section)).model_fields)

    def to_yaml(self) -> str:
        """The resolved configuration, every key with its value."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def make_config(*layers: Mapping[str, Any], recipe: Mapping[str, Any] | None = None) -> Config:
    """One configuration from nested mappings, later ones overriding earlier ones key by key.

    Below them are what a recipe ships with and the preset that goes with the kind of run; the recipe overrides the preset where
    it was written for that kind of run, and the preset overrides the recipe where the layers ask for another.

    Args:
        layers: Settings of the user, each over those before.
        recipe: Settings of the recipe, under those of the user.

    Raises:
        ConfigError: Lists every unknown key, wrong type and value out of range, each with what is accepted.
    """
    user: dict[str, Any] = {}
    wrong: dict[str, Any] = {}
    for layer in layers:
        sections = {key: value for key, value in layer.items() if key != "recipe" and key in Config.model_fields}
        # A section without any setting is empty in YAML; what is no section would be lost below the next layer's.
        wrong |= {key: value for key, value in sections.items() if not isinstance(value, Mapping | None)}
        user = merge(user, {key: value for key, value in layer.items() if key not in sections or value is not None})
    base = recipe or {}
    preset = defaults_of(merge(base, user))
    below = merge(preset, base) if defaults_of(base) == preset else merge(base, preset)
    merged = with_objectives(merge(below, user), merge(base, user))
    try:
        return Config.model_validate(merged | wrong)
    except ValidationError as error:
        raise ConfigError(explain(error, Config)) from error
