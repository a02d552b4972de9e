"""Which kind of run a configuration is for, and what follows from it."""

from __future__ import annotations

from typing import Final

from evoprune.config.schema import Config

LADDERS: Final = ("ladder", "ladder-front")


def is_mask_run(config: Config) -> bool:
    """Whether a run prunes single weights; others prune channels."""
    return config.search.prunes_weights


def chosen_algorithm(config: Config) -> str:
    """The name of the search: what `auto` stands for, or what is named."""
    return config.search.chosen_algorithm
