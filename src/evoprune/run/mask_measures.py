"""What masks are measured by, and which way is better."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from evoprune.errors import ConfigError
from evoprune.objectives.constraint import Constraint
from evoprune.results import Evaluation
from evoprune.run.config import Config

MAXIMIZED: Final = {
    "accuracy": True,
    "loss": False,
    "sparsity": True,
    "layer_sparsity": True,
    "worst_class_accuracy": True,
}


def costs_of(evaluation: Evaluation, objectives: Sequence[str]) -> tuple[float, ...]:
    """The measures with their signs turned so that lower is better."""
    values = evaluation.objectives
    return tuple(-values[name] if MAXIMIZED[name] else values[name] for name in objectives)


def check_measures(config: Config) -> None:
    """See that objectives and constraints are among the measures of masks.

    Raises:
        ConfigError: One is not.
    """
    named = [*config.search.objectives, *(Constraint.parse(text).objective for text in config.search.constraints)]
    for name in named:
        if name not in MAXIMIZED:
            close = difflib.get_close_matches(name, MAXIMIZED, n=1)
            known = ", ".join([*close, *(one for one in MAXIMIZED if one not in close)])
            raise ConfigError(f"{name!r} is no measure of weight masks; those are {known}")
