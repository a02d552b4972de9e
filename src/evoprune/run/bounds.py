"""Bounds that nothing can keep are refused before anything is searched."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from evoprune.errors import ConfigError, DataError
from evoprune.objectives.constraint import COSTS, SPARSITIES, Constraint
from evoprune.results import MetricCard

JUDGED: Final = frozenset({"accuracy", "worst_class_accuracy"})
"""What the task's metric is about: these are better the way that it is."""


def check_bounds(
    bounds: Mapping[str, Sequence[str]], metric: MetricCard, dense: Mapping[str, float] | None = None
) -> None:
    """See that some network could keep each bound.

    Args:
        bounds: Bounds, by the setting that they stand in.
        metric: Metric of the task.
        dense: The dense network's values, once they are known: fractions of them are looked at then.

    Raises:
        ConfigError: None could.
    """
    for setting, text in ((name, text) for name, texts in bounds.items() for text in texts):
        _check(setting, text, metric, dense)


def in_words_of(text: str, metric: MetricCard) -> str:
    """A bound, or the name of an objective, with the task's metric by its own name, as `mean_iou>=0.9`."""
    return re.sub(r"^\s*accuracy\b", metric.key, text) if metric.key else text


def check_finite(figures: Mapping[str, float]) -> None:
    """See that the dense network can be measured.

    Raises:
        DataError: A figure is no finite number.
    """
    for name, value in figures.items():
        if not math.isfinite(value):
            raise DataError(
                f"{name} of the dense network on select is {value}",
                "look at the weights, the samples, the loss and the metric",
            )


def _check(setting: str, text: str, metric: MetricCard, dense: Mapping[str, float] | None) -> None:
    one, text = Constraint.parse(text), in_words_of(text, metric)
    lowest, highest = _range(one.objective, metric, dense)
    before = None if dense is None else dense.get(one.objective)
    if one.relative and before is None:
        return
    if one.relative and before is not None and before <= 0:
        raise ConfigError(
            f"{setting}: {text!r} is a fraction of the dense network's value, which is {before:.4g}",
            "give the bound itself, with its sign or a unit",
        )
    bound = one.bound * (before or 0.0) if one.relative else one.bound
    name = metric.name if one.objective == "accuracy" else one.objective
    if not one.at_most and bound > highest * (1 + 1e-9):
        raise ConfigError(
            f"{setting}: no network can keep {text!r}: {name} is {highest:g} at most",
            "up to 1 without a unit, or in %, a bound is a fraction of the dense network's value",
        )
    if one.at_most and bound < lowest:
        raise ConfigError(f"{setting}: no network can keep {text!r}: {name} is {lowest:g} at least")
    if one.objective in JUDGED and one.at_most == metric.maximize:
        better, other = ("higher", ">=") if metric.maximize else ("lower", "<=")
        raise ConfigError(
            f"{setting}: {text!r} would have {name} worse than its bound, and {better} is better",
            f"write {other}, or set the metric's attribute maximize if it is the other way",
        )


def _range(objective: str, metric: MetricCard, dense: Mapping[str, float] | None) -> tuple[float, float]:
    if objective in JUDGED:
        return metric.bounds
    if objective in SPARSITIES:
        return 0.0, 1.0
    if objective in COSTS:
        return 0.0, inf if dense is None else dense.get(objective, inf)
    return -inf, inf
