"""Every setting of a run in one typed tree; YAML files, `--set` and Python use the same names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from evoprune.errors import ConfigError
from evoprune.objectives.constraint import Constraint
from evoprune.run.config_problems import explain
from evoprune.run.config_section import Duration, NonNegative, Positive, PositiveInt, Section, Share, absolute
from evoprune.run.execution_config import WHERE, ExecutionConfig
from evoprune.run.mask_config import MasksConfig
from evoprune.run.presets import preset_of
from evoprune.run.settings import merge

_WHERE = {"run": ("out",), "execution": WHERE, "data": ("dir",)}
"""Settings that say where a run is done, not what."""


class TrainingConfig(Section):
    """How networks learn: the baseline, each candidate, the final model."""

    batch_size: PositiveInt = Field(128, description="samples per optimisation step")
    epochs: NonNegative = Field(0, description="epochs of the baseline; 0 when the model comes trained")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="adamw, or sgd with Nesterov momentum 0.9")
    lr: Positive = Field(2e-3, description="peak learning rate of the baseline")
    weight_decay: NonNegative = Field(1e-2, description="weight decay of all training")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="bfloat16 trains with products of half the bits, weights stay float32; scores are float32",
    )
    finetune_epochs: NonNegative = Field(
        0.1, description="epochs a candidate is fine-tuned before it is scored, fractions allowed"
    )
    finetune_steps: Annotated[int, Field(ge=0)] | None = Field(
        None, description="the same in steps; when set it takes precedence"
    )
    finetune_batch_size: PositiveInt | None = Field(
        None, description="samples per fine-tuning step; batch_size when null. Smaller ones recover more per second"
    )
    finetune_lr: Positive = Field(1e-3, description="peak learning rate of fine-tuning")
    retrain_epochs: NonNegative = Field(
        5, description="epochs the best network is retrained on train and select together"
    )
    retrain_lr: Positive = Field(2e-3, description="peak learning rate of retraining")
    retrain_optimizer: Literal["adamw", "sgd"] | None = Field(
        None, description="optimiser of retraining; optimizer when null"
    )
    retrain_weight_decay: NonNegative | None = Field(
        None, description="weight decay of retraining; weight_decay when null"
    )


class GeneticConfig(Section):
    """The population and how it changes."""

    pop_size: Annotated[int, Field(ge=2)] = Field(16, description="individuals per generation")
    num_generations: PositiveInt = Field(8, description="generations, the random first one included")
    mutation_rate: Share = Field(0.02, description="probability that a bit flips")
    crossover_rate: Share = Field(0.9, description="probability that two parents are crossed")
    tournament_size: PositiveInt = Field(2, description="individuals compared for each parent")
    elitism: Annotated[int, Field(ge=0)] = Field(2, description="best individuals that outlive their generation")
    initial_keep: tuple[Share, Share] = Field((0.2, 0.9), description="range of the share kept per layer at the start")
    crossover: Literal["uniform", "single-point"] = Field("uniform", description="how two parents exchange bits")
    mutation: Literal["flip", "prune"] = Field("flip", description="prune only ever turns bits off")

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

    w_acc: NonNegative = Field(1.0, description="weight of accuracy")
    w_macs: NonNegative = Field(0.1, description="weight of the fraction of MACs saved; of channels alone")
    w_sparsity: NonNegative = Field(0.0, description="weight of sparsity; of weight masks alone")
    w_loss: NonNegative = Field(0.0, description="weight of the loss on select; of weight masks alone")

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

    algorithm: str = Field("genetic", description="genetic, steady-state, nsga2, random, or package.module:function")
    asynchronous: bool = Field(
        False,
        description="true: no waiting for whole generations (steady-state, random), of which each counts pop_size "
        "candidates; a run is resumed exactly, but two of one seed may differ",
    )
    encoding: str = Field(
        "channel-bits",
        description="what a genome means: channel-bits for channels; weight-bits, keep-ratios or threshold-exceptions "
        "for single weights",
    )
    preset: Literal["reference"] | None = Field(
        None, description="reference: weight masks as random masks that evolve by pruning alone, one child at a time"
    )
    seeding: Literal["criteria", "none"] = Field(
        "criteria", description="none: weight masks evolve from random ones, without any rule about what matters"
    )
    objectives: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        ("accuracy", "macs"), description="what is measured; nsga2 searches their front"
    )
    constraints: tuple[str, ...] = Field(
        (), description='bounds such as "macs<=0.5"; up to 1 without a unit: a fraction of the baseline'
    )
    layer_types: tuple[str, ...] | None = Field(
        None, description="layers whose units get a bit, such as [conv]; all when null"
    )
    round_to: PositiveInt = Field(
        1, description="kept widths are rounded to multiples of this; 8 suits CPU and GPU kernels"
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

    dir: Path | None = Field(None, description="a directory with your own copy of the data set")
    select_size: PositiveInt | None = Field(
        None, description="samples cut from train to score candidates on; the recipe's own when null"
    )
    checkpoint: Path | None = Field(
        None, description="trained weights of the recipe's network: .safetensors, or a .pth state dict"
    )

    @field_validator("dir", "checkpoint")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return absolute(path)


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
    target: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
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
    def _ratios_have_goals_and_orders(self) -> Config:
        if self.search.encoding in ("keep-ratios", "threshold-exceptions"):
            if self.masks.goals is None:
                raise ValueError(f"search.encoding {self.search.encoding} needs masks.goals; weight-bits does not")
            if self.search.seeding == "none":
                raise ValueError(
                    f"search.encoding {self.search.encoding} needs the importance orders that search.seeding none does "
                    "without; use weight-bits"
                )
        return self

    def identity(self) -> dict[str, Any]:
        """What makes a run this run: all settings but those that can't change its result."""
        document: dict[str, Any] = self.model_dump(mode="json")
        for section, keys in _WHERE.items():
            for key in keys:
                del document[section][key]
        return document

    def to_yaml(self) -> str:
        """The resolved configuration, every key with its value."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def make_config(*layers: Mapping[str, Any], recipe: Mapping[str, Any] | None = None) -> Config:
    """One configuration from nested mappings, later ones overriding earlier ones key by key.

    Below them are what a recipe ships with and the preset that goes with the kind of run; the recipe overrides the preset where
    it was written for that kind of run, and the preset overrides the recipe where the layers ask for another.

    Args:
        layers: From the user.
        recipe: From the recipe.

    Raises:
        ConfigError: Lists every unknown key, wrong type and value out of range, each with what is accepted.
    """
    user: dict[str, Any] = {}
    for layer in layers:
        user = merge(user, layer)
    base = recipe or {}
    preset = preset_of(merge(base, user))
    below = merge(preset, base) if preset_of(base) == preset else merge(base, preset)
    merged = merge(below, user)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(explain(error, Config)) from error
