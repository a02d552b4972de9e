"""The front: what there is to choose from, with the command that finishes a point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from evoprune.objectives.constraint import COSTS
from evoprune.report.front_table import front_columns, front_rows, has_wide_front
from evoprune.report.html.charts.plot import Axis, Chart, Plot, Point, Rule, Series, chart_of
from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.sections.point_cards import point_cards
from evoprune.report.html.sections.thinned import left_out, thinned
from evoprune.report.html.wording import compact, counted, figure_text, title_of
from evoprune.results import MetricCard, Status
from evoprune.store.journal import JournalEntry

SPREAD: Final = 10
"""Times that the largest value is the smallest, from which on a scale is logarithmic."""
MOST_POINTS: Final = 150
"""Points of the front that can be chosen from in the page."""


@dataclass(frozen=True)
class Front:
    """The front as the page shows it.

    Attributes:
        chart: All candidates, and the front.
        lead: What is to be seen.
        notes: What to know about the picture.
        columns: Headings of the table.
        rows: The front as a table.
        first: Number of the point that is shown first.
        interface: Where the commands are typed: `shell` or `python`.
    """

    chart: Chart
    lead: str
    notes: tuple[str, ...]
    columns: list[str]
    rows: list[list[str]]
    first: int
    interface: str


@dataclass(frozen=True)
class _Measure:
    name: str
    metric: MetricCard
    dense: float | None

    @property
    def is_share(self) -> bool:
        return self.name in COSTS and bool(self.dense) and (self.dense or 0) > 0

    def of(self, entry: JournalEntry) -> float:
        return self.shown(entry.evaluation.objectives[self.name])

    def shown(self, value: float) -> float:
        return 100 * value / self.dense if self.is_share and self.dense else value

    def axis(self, values: Iterable[float]) -> Axis:
        known = list(values)
        log = self.name != "accuracy" and 0 < SPREAD * min(known) < max(known)
        return Axis(self._title, self._write, log=log, floor=0.0)

    @property
    def _title(self) -> str:
        title = title_of(self.name, self.metric)
        if self.is_share:
            return f"{title}, % of the dense network's {compact(self.dense or 0)}"
        if self.name in ("accuracy", "loss"):
            return f"{title} on select"
        return f"{title} [ms]" if self.name.startswith("latency_ms") else title

    def _write(self, value: float) -> str:
        if self.name == "accuracy" and self.metric.in_percent:
            return f"{100 * value:.4g} %"
        return f"{value:g} %" if self.is_share else f"{value:.4g}" if abs(value) < 1e5 else compact(value)


def front_of(facts: RunFacts) -> Section | None:
    """The front of a run of channels that has two points or more in two objectives."""
    comparison = facts.comparison
    objectives = comparison.objectives or ("accuracy", "macs")
    points = comparison.front[:MOST_POINTS]
    usable = [one for one in facts.entries if one.evaluation.status is Status.OK]
    usable = [one for one in usable if all(name in one.evaluation.objectives for name in objectives[:2])]
    if len(points) < 2 or len(objectives) < 2 or not usable:
        return None
    dense = {**comparison.baseline.figures, **facts.manifest.dense}
    y, x = (_Measure(name, comparison.metric, dense.get(name)) for name in objectives[:2])
    chart = chart_of(_plot(facts, usable, x, y))
    chosen = next((one.index for one in points if one.genome == comparison.pruned.genome), points[0].index)
    front = Front(
        chart=chart,
        lead=_lead(facts),
        notes=tuple(filter(None, _notes(facts, usable))),
        columns=front_columns(comparison),
        rows=front_rows(comparison),
        first=chosen,
        interface="shell" if facts.recipe else "python",
    )
    data = {"first": chosen, "groups": _groups(facts), "points": point_cards(facts, points)}
    return Section("front", "The front", front, "front", data)


def _groups(facts: RunFacts) -> list[dict[str, Any]]:
    return [] if facts.widths is None else [{"name": one.name, "size": one.size} for one in facts.widths.groups]


def _lead(facts: RunFacts) -> str:
    points = counted(len(facts.comparison.front), "network")
    if has_wide_front(facts.comparison):
        return f"{points} that no other beats in every objective. Choose one to see its widths and what finishes it."
    return f"{points} that no other beats in every objective. The bounds hold, so that all cost about the same."


def _notes(facts: RunFacts, usable: list[JournalEntry]) -> list[str]:
    more = len(facts.comparison.front) - MOST_POINTS
    return [
        left_out(_others(facts, usable)),
        f"The first {MOST_POINTS} points of the front can be chosen here; {more} more are in the table."
        if more > 0
        else "",
        "Scores are on the select set as the search left each candidate; only finished networks were judged on test.",
    ]


def _others(facts: RunFacts, usable: list[JournalEntry]) -> list[JournalEntry]:
    on_front = {point.index for point in facts.comparison.front}
    return [one for one in usable if one.index not in on_front]


def _plot(facts: RunFacts, usable: list[JournalEntry], x: _Measure, y: _Measure) -> Plot:
    comparison, metric = facts.comparison, facts.comparison.metric
    numbers = {one.index for one in comparison.front[:MOST_POINTS]}
    rung = max((one.evaluation.rung for one in usable), default=0)
    tell = _teller(metric)

    def points(some: Iterable[JournalEntry], *, choose: bool = False) -> list[Point]:
        found = [
            Point(x.of(one), y.of(one), tell(one), one.index if choose and one.index in numbers else None)
            for one in some
        ]
        return sorted(found, key=lambda one: (one.x, one.y))

    on_front = {point.index for point in comparison.front}
    others = thinned(_others(facts, usable))
    early = [one for one in others if one.evaluation.rung < rung]
    front = [one for one in usable if one.index in on_front]
    chosen = [one for one in front if one.evaluation.genome == comparison.pruned.genome][:1]
    finished = [one for one in front if one.index in facts.finished and one not in chosen]
    series = [
        Series("early", "earlier, trained for less", points(one for one in early if "criterion" not in one.tags)),
        Series(
            "criterion", "criterion's cut", points(one for one in early if "criterion" in one.tags), shape="triangle"
        ),
        Series("candidate", "candidate", points(one for one in others if one.evaluation.rung == rung)),
        Series("front", "front", points(front, choose=True), line="step", shape="disc"),
        Series("finished", "finished later", points(finished, choose=True), shape="diamond"),
        Series("chosen", "chosen and finished", points(chosen, choose=True), shape="star"),
    ]
    rules = [] if y.dense is None else [Rule("dense", f"dense network's {title_of(y.name, metric)}", y.shown(y.dense))]
    values = [[point.x for one in series for point in one.points], [point.y for one in series for point in one.points]]
    label = f"{title_of(y.name, metric)} against {title_of(x.name, metric)} of every candidate, and the front"
    return Plot(label, x.axis(values[0]), y.axis([*values[1], *(one.y for one in rules)]), series, rules)


def _teller(metric: MetricCard) -> Callable[[JournalEntry], str]:
    def tell(entry: JournalEntry) -> str:
        values: Mapping[str, float] = entry.evaluation.objectives
        lines = [
            f"{title_of(name, metric)} {figure_text(name, value, metric)}"
            for name, value in values.items()
            if name != "loss_gap"
        ]
        return "\n".join([f"candidate {entry.index}", *lines])

    return tell
