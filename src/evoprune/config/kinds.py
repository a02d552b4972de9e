"""Which kind of run a configuration is for, and what follows from it."""

from __future__ import annotations

from typing import Final

from evoprune.config.presets import MASK_ENCODINGS
from evoprune.config.schema import Config
from evoprune.objectives.constraint import Constraint

LADDERS: Final = ("ladder", "ladder-front")
PLANNED: Final = ("macs", "params", "size_bytes", "latency_ms")
"""Costs that are known before a network is built; a bound on one is a budget."""


def is_mask_run(config: Config) -> bool:
    """Whether a run prunes single weights; others prune channels."""
    return config.search.encoding in MASK_ENCODINGS


def chosen_algorithm(config: Config) -> str:
    """The name of the search: what `auto` stands for, or what is named."""
    search = config.search
    if search.algorithm != "auto":
        return search.algorithm
    if is_mask_run(config):
        return "genetic"
    bounds = (Constraint.parse(text) for text in search.constraints)
    return (
        "ladder"
        if any(one.at_most and one.objective.partition("@")[0] in PLANNED for one in bounds)
        else "ladder-front"
    )
