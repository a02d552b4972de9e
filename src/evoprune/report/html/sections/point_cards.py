"""What the page says of a point of the front that is chosen: scores, costs, widths, the command that finishes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evoprune.objectives.constraint import COSTS
from evoprune.objectives.latency_names import is_latency
from evoprune.report.html.facts import RunFacts
from evoprune.report.html.wording import figure_text, share_text, shown, title_of
from evoprune.store.comparison import FrontPoint, ModelFigures


@dataclass(frozen=True)
class _Finished:
    """A finished network of a point, and where it is."""

    model: ModelFigures
    where: str


def point_cards(facts: RunFacts, points: Sequence[FrontPoint]) -> dict[str, dict[str, Any]]:
    """A card for each point, by its number, as JSON."""
    return {str(point.index): _card(facts, point) for point in points}


def command_of(facts: RunFacts, number: int) -> str:
    """What finishes a point, for a shell or for Python."""
    if facts.recipe:
        return f"evoprune finish {facts.path} --point {number}"
    return f"ep.finish({str(facts.directory)!r}, point={number}, model=model, task=task, example_inputs=example_inputs)"


def _card(facts: RunFacts, point: FrontPoint) -> dict[str, Any]:
    finished = _finished(facts, point)
    network = None if facts.widths is None else facts.widths.networks.get(point.genome)
    return {
        "title": f"Point {point.index}",
        "rows": _rows(facts, point, finished),
        "where": "" if finished is None else finished.where,
        "command": "" if finished is not None else command_of(facts, point.index),
        "widths": [] if network is None else list(network.widths),
        "criteria": [] if network is None else list(map(shown, network.criteria)),
    }


def _finished(facts: RunFacts, point: FrontPoint) -> _Finished | None:
    if point.genome == facts.comparison.pruned.genome:
        return _Finished(facts.comparison.pruned, "This is the network that the run finished: artifact/")
    later = facts.finished.get(point.index)
    return None if later is None else _Finished(later.pruned, f"Finished later: points/{point.index}/")


def _rows(facts: RunFacts, point: FrontPoint, finished: _Finished | None) -> list[list[str]]:
    """`[measure, in the search, finished]`: scores on select and predicted costs, then what was measured on the finished one."""
    metric, dense = facts.comparison.metric, facts.comparison.baseline.figures
    rows = []
    measured = {} if finished is None else dict(finished.model.figures)
    for name, value in point.figures.items():
        whole = dense.get(name) if name in COSTS or is_latency(name) else None
        share = f" ({share_text(value, whole)})" if whole else ""
        other = measured.pop("accuracy" if name == "select_accuracy" else name, None)
        found = "" if other is None else figure_text(name, other, metric)
        rows.append([_label(name, facts), figure_text(name, value, metric) + share, found])
    rows += [[_label(name, facts), "", figure_text(name, value, metric)] for name, value in measured.items()]
    return rows


def _label(name: str, facts: RunFacts) -> str:
    return title_of(name, facts.comparison.metric)
