"""The front of a run as rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evoprune.errors import UsageError
from evoprune.results import value_text
from evoprune.store.comparison import Comparison, FrontPoint

COSTS: Final = ("macs", "params", "size_bytes")
"""Figures that are shown as shares of the dense network's as well."""

_METRIC: Final = "select_accuracy"
"""The task's metric in the figures of a point."""

WIDE: Final = 1.5
"""Times that the dearest point of a front costs the cheapest, where it is worth choosing."""


def has_wide_front(comparison: Comparison) -> bool:
    """Whether there is a front to choose from; under a budget all candidates cost about the same."""
    if len(comparison.objectives) < 2:
        return False
    costs = [
        point.figures[comparison.objectives[1]]
        for point in comparison.front
        if comparison.objectives[1] in point.figures
    ]
    return len(costs) > 1 and (min(costs) <= 0 or max(costs) > WIDE * min(costs))


def front_columns(comparison: Comparison) -> list[str]:
    """Titles of the columns of `front_rows`."""
    metric = f"select_{comparison.metric.name}"
    return ["point", *(metric if name == _METRIC else name for name in _names(comparison))]


def front_rows(comparison: Comparison) -> list[list[str]]:
    """A row for each candidate on the front: its index, the objectives, and what else was measured of it.

    Raises:
        UsageError: The run has no front.
    """
    if not comparison.front:
        raise UsageError("the run has no front", "a run of channels has one; of masks, the steps stand in its table")
    names = _names(comparison)
    return [[str(point.index), *(_cell(comparison, point, name) for name in names)] for point in comparison.front]


def _names(comparison: Comparison) -> Sequence[str]:
    """Names of the figures: the objectives, and what else was measured."""
    searched = [_METRIC if name == "accuracy" else name for name in comparison.objectives]
    known = dict.fromkeys([*searched, *(name for point in comparison.front for name in point.figures)])
    return [name for name in known if name != "loss_gap" or name in searched]


def _cell(comparison: Comparison, point: FrontPoint, name: str) -> str:
    value = point.figures.get(name)
    if value is None:
        return "-"
    if name == _METRIC:
        return comparison.metric.text(value)
    dense = comparison.baseline.figures.get(name)
    share = f" ({100 * value / dense:.1f} %)" if name in COSTS and dense else ""
    return (f"{value:,.0f}" if name in COSTS else value_text("", value).strip()) + share
