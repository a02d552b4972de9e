"""What masks are measured by, and which way is better."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from evoprune.errors import ConfigError, DataError
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
SPARSITIES: Final = frozenset({"sparsity", "layer_sparsity"})


def costs_of(evaluation: Evaluation, objectives: Sequence[str]) -> tuple[float, ...]:
    """The measures with their signs turned so that lower is better."""
    values = evaluation.objectives
    return tuple(-values[name] if MAXIMIZED[name] else values[name] for name in objectives)


def constraints_of(config: Config) -> tuple[Constraint, ...]:
    """The bounds that candidates keep; those on sparsity as they stand, because a fraction of a dense network's is 0."""
    parsed = [Constraint.parse(text) for text in config.search.constraints]
    return tuple(replace(one, relative=False) if one.objective in SPARSITIES else one for one in parsed)


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
            raise ConfigError(
                f"{name!r} is no measure of weight masks; those are {known}",
                "see search.objectives and search.constraints",
            )


def check_measured(config: Config, figures: Mapping[str, float]) -> None:
    """See that the dense network yields finite figures, and every measure that is searched for or bounded.

    Raises:
        DataError: Accuracy or loss is no finite number.
        ConfigError: There is a measure that the task doesn't have: the worst class, where targets are no classes.
    """
    for name, value in figures.items():
        if not math.isfinite(value):
            raise DataError(
                f"{name} of the dense network on select is {value}", "look at the weights, the loss and the samples"
            )
    for name in [*config.search.objectives, *(one.objective for one in constraints_of(config))]:
        if name not in figures:
            raise ConfigError(
                f"{name!r} can't be measured on this task, whose targets are no classes, or whose metric is no value per sample",
                f"its measures are {', '.join(one for one in MAXIMIZED if one in figures)}",
            )
