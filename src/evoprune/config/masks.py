"""The settings of weight masks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from evoprune.config.fields import (
    NonNegative,
    OneOrMore,
    Positive,
    PositiveInt,
    Section,
    Share,
    SomeWords,
    Words,
    absolute,
)
from evoprune.errors import ConfigError
from evoprune.masks.structure_names import parse_structure

# As `pruning.weight_orders` has them; that module imports torch, which reading a configuration need not.
WEIGHT_CRITERIA = ("magnitude", "lamp", "fisher", "root-fisher")
NEED_ORDERS = ("keep-ratios", "threshold-exceptions")
NEED_GOALS = (*NEED_ORDERS, "neuron-bits")


class MasksConfig(Section):
    """Weight masks: how sparse, in which order. Of no effect on channels."""

    mode: Literal["whole", "layers", "independent", "population"] = Field(
        "whole",
        description="whole: all layers jointly; layers: one after the other, with retraining between; independent: each "
        "on its own and at the same time, then joined and retrained; population: all layers jointly, by members that each "
        "train on from their own weights, and differ in the importance of layers, the exponent of F and the learning rate",
    )
    layers: SomeWords | None = Field(None, description="another name of search.layers")
    goals: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], OneOrMore] | None = Field(
        (0.5, 0.7, 0.8, 0.85, 0.9),
        description="sparsity after each pass, of all weights that may be pruned; null lets fitness decide",
    )
    between: Annotated[int, Field(ge=0)] = Field(
        0, description="steps between one goal and the next, each pruning the same share of what is left"
    )
    passes: PositiveInt = Field(1, description="passes over the layers when there are no goals")
    order: Literal["forward", "backward", "largest"] = Field("forward", description="of the layers in mode layers")
    structure: str = Field(
        "unstructured", description="unstructured, N:M such as 2:4, rows, columns, or blocks such as 4x4"
    )
    live_outputs: Literal["all", "last", "none"] = Field(
        "all", description="layers of which every output keeps a weight; last: the one that gives the network's outputs"
    )
    norm_scales: bool = Field(False, description="prune the scales of BatchNorm and other normalisation as well")
    criteria: Words = Field(
        ("root-fisher", "fisher", "lamp", "magnitude"),
        description="importance orders to begin with: magnitude, lamp, fisher, root-fisher",
    )
    fisher_samples: PositiveInt = Field(2560, description="training samples that the Fisher diagonal is taken from")
    margin: NonNegative = Field(
        0,
        description="share of its fitness by which a candidate has to beat the first one of a search to be taken instead; "
        "scores before retraining are a rough guide to those after it",
    )
    polish_generations: Annotated[int, Field(ge=0)] = Field(
        0, description="generations on single bits after those on ratios"
    )
    retrain_epochs: NonNegative = Field(1, description="epochs after each pass, on train, with the masks held")
    between_epochs: NonNegative = Field(1, description="the same after a step between two goals")
    distill: Share = Field(
        0, description="share of the loss of retraining that is the distance to the dense network's outputs"
    )
    distill_temperature: Positive = Field(
        2.0, description="temperature that softens the outputs of both networks, where they are those of classes"
    )
    regrow: Share = Field(
        0,
        description="share of the weights kept that a member of a population may give up in a step for pruned ones, those of the "
        "largest gradients, which come back",
    )
    warm_start: Path | None = Field(
        None, description="solutions to begin with: a directory of a run, or a file of masks"
    )
    target_sparsity: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="end the search of a layer, and of the network, once it is as sparse as this"
    )
    min_class_accuracy: Share = Field(
        0.5,
        description="a step after which some class does worse on select, after retraining, is not taken and ends the search; "
        "where the dense network does worse, half of what it does",
    )
    max_accuracy_drop: Share | None = Field(
        None, description="likewise a step that costs more than this of the dense network's accuracy on select"
    )

    @field_validator("goals")
    @classmethod
    def _rising(cls, goals: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if goals is not None and (not goals or any(after <= before for before, after in pairwise(goals))):
            raise ValueError("must be one or more sparsities between 0 and 1, each above the one before")
        return goals

    @field_validator("structure")
    @classmethod
    def _known_structure(cls, structure: str) -> str:
        try:
            return str(parse_structure(structure))
        except ConfigError as error:
            raise ValueError(f"{error.message}; {error.hint}" if error.hint else error.message) from error

    @field_validator("criteria")
    @classmethod
    def _known_criteria(cls, criteria: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in criteria if name not in WEIGHT_CRITERIA]
        if unknown or not criteria:
            raise ValueError(f"must be one or more of {', '.join(WEIGHT_CRITERIA)}")
        return criteria

    @field_validator("warm_start")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return absolute(path)

    def check_goals_and_orders(self, *, encoding: str, seeding: str) -> None:
        """See that there is what an encoding and the mode can't do without.

        Raises:
            ValueError: Goals or importance orders are missing.
        """
        if encoding in NEED_GOALS and self.goals is None:
            raise ValueError(f"search.encoding {encoding} needs masks.goals; weight-bits does not")
        if encoding in NEED_ORDERS and seeding == "none":
            raise ValueError(
                f"search.encoding {encoding} needs the importance orders that search.seeding none does without; "
                "use weight-bits or neuron-bits"
            )
        if self.mode == "population" and (self.goals is None or seeding == "none"):
            raise ValueError(
                "masks.mode population needs masks.goals, and orders weights by a rule, which search.seeding none goes without; "
                "set goals and seeding criteria, or another mode"
            )
