"""Every setting of a run in one typed tree; YAML files, `--set` and Python use the same names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from evoprune.config.execution import WHERE, ExecutionConfig
from evoprune.config.fields import (
    AbsolutePath,
    Duration,
    NonNegative,
    PositiveInt,
    Section,
    Share,
    SomeWords,
    Words,
)
from evoprune.config.masks import MasksConfig
from evoprune.config.populations import defaults_of
from evoprune.config.presets import with_objectives
from evoprune.config.problems import explain
from evoprune.config.training import TrainingConfig
from evoprune.config.yaml_files import merge
from evoprune.errors import ConfigError
from evoprune.objectives.constraint import Constraint

_WHERE = {"run": ("out",), "execution": WHERE, "data": ("dir",), "search": ("latency_table",)}
"""Settings that say where a run is done, not what; the content of a latency table is pinned by itself."""


class GeneticConfig(Section):
    """The population and how it changes."""

    pop_size: Annotated[int, Field(ge=2)] = Field(
        24, description="individuals per generation; on the search ladder of the first one, those after it have fewer"
    )
    num_generations: PositiveInt = Field(6, description="generations, the first one included")
    mutation_rate: Share = Field(0.3, description="probability that a group's width changes, or that a bit flips")
    crossover_rate: Share = Field(0.9, description="probability that two parents are crossed")
    tournament_size: PositiveInt = Field(2, description="individuals compared for each parent")
    elitism: Annotated[int, Field(ge=0)] = Field(2, description="best individuals that outlive their generation")
    initial_keep: tuple[Share, Share] = Field((0.2, 0.9), description="range of the share kept per layer at the start")
    crossover: Literal["uniform", "single-point"] = Field("uniform", description="how two parents exchange bits")
    mutation: Literal["flip", "prune", "swap"] = Field(
        "flip", description="prune only ever turns bits off; swap turns as many on as off, up to mutation_rate of them"
    )

    @model_validator(mode="after")
    def _consistent(self) -> GeneticConfig:
        if self.tournament_size > self.pop_size:
            raise ValueError("tournament_size must be at most pop_size")
        if self.elitism >= self.pop_size:
            raise ValueError("elitism must be below pop_size")
        if self.initial_keep[0] > self.initial_keep[1] or self.initial_keep[1] == 0:
            raise ValueError("initial_keep must be two shares, the lower first, the higher above 0")
        return self


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


def parseable(bounds: tuple[str, ...]) -> tuple[str, ...]:
    """The bounds, if all can be read.

    Raises:
        ValueError: One can't.
    """
    for text in bounds:
        try:
            Constraint.parse(text)
        except ConfigError as error:
            raise ValueError(error.message) from error
    return bounds


class SearchConfig(Section):
    """What is searched, and how."""

    algorithm: str = Field(
        "auto",
        description="auto: ladder where search.constraints bound a cost, ladder-front otherwise; genetic, steady-state, nsga2, "
        "nsga3, random, or package.module:function",
    )
    asynchronous: bool = Field(
        False,
        description="true: no waiting for whole generations (steady-state, random), of which each counts pop_size "
        "candidates; a run is resumed exactly, but two of one seed may differ",
    )
    encoding: str = Field(
        "channel-widths",
        description="what a genome means: channel-widths or channel-bits for channels; weight-bits, neuron-bits, "
        "keep-ratios or threshold-exceptions for single weights",
    )
    preset: Literal["classic", "reference"] | None = Field(
        None,
        description="classic: channels as bits, bred by accuracy after a brief fine-tuning and the MACs saved; reference: weight "
        "masks as random masks that evolve by pruning alone, one child at a time",
    )
    seeding: Literal["criteria", "none"] = Field(
        "criteria", description="none: evolution begins at random, without any rule about what matters"
    )
    criteria: SomeWords | None = Field(
        None,
        description="criteria that order channels and make the first generation; all that score this network when null",
    )
    criteria_samples: PositiveInt = Field(256, description="training samples that criteria look at")
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="share of the compute that the search ladder may take; the rest is the last retraining"
    )
    inherit: bool = Field(
        True, description="candidates of the search ladder begin with the weights that their parents were trained to"
    )
    baselines: Literal["best", "none"] = Field(
        "best", description="best: the best criterion's network at the same bounds is finished alike, and compared"
    )
    objectives: SomeWords = Field(
        ("loss", "macs"),
        description="what is searched for: accuracy, loss, worst_class_accuracy, macs, params, size_bytes, "
        "peak_activation_bytes, latency_ms (of the example inputs) or latency_ms@batch=256, of weight masks sparsity and "
        "layer_sparsity, or package.module:Class; nsga2 searches their front. Channels are bred by the mean gain over the dense "
        "network where one of them has no weight in fitness",
    )
    also_measure: Words = Field(
        ("accuracy",),
        description="objectives that candidates of channels are measured by besides, for tables and plots alone",
    )
    constraints: Words = Field(
        (),
        description='bounds such as "macs<=0.5", "latency_ms<=3ms"; up to 1 without unit or sign: a share of the baseline',
    )
    layers: SomeWords | None = Field(
        None,
        description="names or patterns of layers to prune; all when null. Of channels: the outputs of these may go, no others'",
    )
    exclude: Words = Field((), description="names or patterns of modules or parameters that stay as they are")
    layer_types: SomeWords | None = Field(
        None, description="layers whose units get a bit, such as [conv]; all when null"
    )
    round_to: PositiveInt = Field(
        8,
        description="kept widths are multiples of this, which kernels like, or of less where a layer is under twice as wide; "
        "1: any width",
    )

    latency_table: AbsolutePath | None = Field(
        None,
        description="a latency.json of evoprune measure or another run, for latency_ms; measured by the run itself when null",
    )

    @field_validator("constraints")
    @classmethod
    def _parseable(cls, constraints: tuple[str, ...]) -> tuple[str, ...]:
        return parseable(constraints)


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

    @model_validator(mode="after")
    def _masks_have_goals_and_orders(self) -> Config:
        self.masks.check_goals_and_orders(encoding=self.search.encoding, seeding=self.search.seeding)
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
