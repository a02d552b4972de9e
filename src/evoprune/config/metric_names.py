"""The task's metric by its own name, where settings speak of `accuracy`."""

from __future__ import annotations

from collections.abc import Sequence

from evoprune.config.schema import Config
from evoprune.objectives.constraint import Constraint
from evoprune.results import MetricCard

OBJECTIVE = "accuracy"
"""What the metric is called in journals, whatever it is."""


def with_metric_named(config: Config, metric: MetricCard) -> Config:
    """The settings with `accuracy` wherever objectives, constraints and target name the metric, such as `mean_iou>=0.9`."""
    if metric.key == OBJECTIVE:
        return config
    objectives = tuple(OBJECTIVE if name == metric.key else name for name in config.search.objectives)
    constraints = bounds_with_metric_named(config.search.constraints, metric)
    target = None if config.run.target is None else bounds_with_metric_named(config.run.target, metric)
    search = config.search.model_copy(update={"objectives": objectives, "constraints": constraints})
    return config.model_copy(update={"search": search, "run": config.run.model_copy(update={"target": target})})


def bounds_with_metric_named(bounds: Sequence[str], metric: MetricCard) -> tuple[str, ...]:
    """Bounds with `accuracy` where they name the metric."""
    return tuple(
        text.replace(metric.key, OBJECTIVE, 1) if Constraint.parse(text).objective == metric.key else text
        for text in bounds
    )
