"""The settings of the population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from evoprune.config.fields import PositiveInt, Section, Share

BRED: Final = ("mutation_rate", "crossover_rate", "crossover", "mutation")
_UNREAD_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "random": ("tournament_size", "elitism", *BRED),
    **dict.fromkeys(("nsga2", "nsga3"), ("tournament_size", "elitism")),
    **dict.fromkeys(("steady-state", "ladder", "ladder-front"), ("elitism",)),
}


def unread_by(algorithm: str) -> tuple[str, ...]:
    """Names of what a built-in search makes nothing of in `ga`; another search may read all."""
    return _UNREAD_BY.get(algorithm, ())


class GeneticConfig(Section):
    """The population and how it changes."""

    pop_size: Annotated[int, Field(ge=2)] = Field(
        24,
        description="individuals per generation, 32 where a front of channels is searched for; on the search ladder of the first "
        "generation, those after it have fewer",
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
        if self.initial_keep[0] > self.initial_keep[1] or self.initial_keep[1] == 0:
            raise ValueError("initial_keep must be two shares, the lower first, the higher above 0")
        return self
