"""The front of a run that removes channels as a figure: what each candidate scores against what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from evoprune.objectives.constraint import COSTS
from evoprune.report.canvas import (
    ACCENT,
    BEST,
    INK,
    MEAN,
    MUTED,
    PALE,
    in_metric,
    new_axes,
    new_figure,
    plain,
    sentence,
    with_unit,
)
from evoprune.results import MetricCard, Status
from evoprune.store.comparison import Comparison
from evoprune.store.journal import JournalEntry

WIDE: Final = 20
"""Times that the largest value is the smallest, from which on a scale is logarithmic."""


def front_figure(entries: Sequence[JournalEntry], comparison: Comparison, dense: Mapping[str, float]) -> Figure:
    """Every candidate by the first two objectives, and the front that no other candidate beats.

    The first objective is on the vertical axis. Where there is one alone, it is drawn over the candidates in their order. Costs
    are in per cent of the dense network's.

    Args:
        entries: Entries of the journal.
        comparison: Comparison of the finished run.
        dense: The dense network's value of each objective.
    """
    figure = new_figure()
    axes = new_axes(figure)
    first, *others = comparison.objectives or ("accuracy", "macs")
    known = {**comparison.baseline.figures, **dense}
    y = Measure(first, comparison.metric, known.get(first))
    x = Measure(others[0], comparison.metric, known.get(others[0])) if others else None
    parts = _Parts.of(entries, comparison)

    def points(some: Iterable[JournalEntry]) -> tuple[list[float], list[float]]:
        values = sorted((entry.index if x is None else x.of(entry), y.of(entry)) for entry in some)
        return [one for one, _ in values], [other for _, other in values]

    _draw(axes, parts, points)
    if y.dense is not None:
        axes.axhline(y.shown(y.dense), color=INK, linewidth=1, linestyle="--", label=f"dense network's {y.title}")
        if x is not None and x.dense is not None:
            axes.plot([x.shown(x.dense)], [y.shown(y.dense)], "D", color=INK, markersize=7, label="dense network")
    axes.set_xlabel("candidate" if x is None else x.with_dense)
    axes.set_ylabel(y.label)
    what = "candidates" if x is None else x.title
    count = f": {len(parts.front)} points to choose from" if x is not None and len(parts.front) > 1 else ""
    axes.set_title(f"{sentence(y.title)} against {what}{count}", color=INK, loc="left")
    if y.spreads(parts.all):
        axes.set_yscale("log")
    if x is not None and x.spreads(parts.all):
        axes.set_xscale("log")
    y.write(axes.yaxis)
    if x is not None:
        x.write(axes.xaxis)
    axes.legend(loc="best", frameon=False)
    return figure


@dataclass(frozen=True)
class _Parts:
    """Usable candidates by what they are in the picture."""

    earlier: Sequence[JournalEntry]
    criteria: Sequence[JournalEntry]
    last: Sequence[JournalEntry]
    front: Sequence[JournalEntry]
    chosen: Sequence[JournalEntry]

    @property
    def all(self) -> Sequence[JournalEntry]:
        return [*self.earlier, *self.criteria, *self.last]

    @classmethod
    def of(cls, entries: Sequence[JournalEntry], comparison: Comparison) -> _Parts:
        usable = [entry for entry in entries if entry.evaluation.status is Status.OK]
        rung = max((entry.evaluation.rung for entry in usable), default=0)
        last = [entry for entry in usable if entry.evaluation.rung == rung]
        before = [entry for entry in usable if entry.evaluation.rung < rung]
        on_front = {point.index for point in comparison.front}
        return cls(
            [entry for entry in before if "criterion" not in entry.tags],
            [entry for entry in before if "criterion" in entry.tags],
            last,
            [entry for entry in last if entry.index in on_front],
            [entry for entry in last if entry.evaluation.genome == comparison.pruned.genome],
        )


def _draw(
    axes: Axes, parts: _Parts, points: Callable[[Iterable[JournalEntry]], tuple[list[float], list[float]]]
) -> None:
    if parts.earlier:
        label = "candidate of an earlier generation"
        axes.plot(*points(parts.earlier), "o", color=PALE, markersize=3, label=label, zorder=0)
    if parts.criteria:
        label = "criterion's cut, in generation 0"
        axes.plot(*points(parts.criteria), "^", color=MEAN, fillstyle="none", markersize=5, label=label, zorder=1)
    label = "candidate of the last generation" if parts.earlier else "candidate, after its brief fine-tune"
    axes.plot(*points(parts.last), "o", color=MUTED, markersize=4, alpha=0.6, label=label)
    axes.step(*points(parts.front), "-o", where="post", color=BEST, linewidth=1.8, markersize=5, label="front")
    axes.plot(*points(parts.chosen), "*", color=ACCENT, markersize=15, label="chosen, then retrained")


@dataclass(frozen=True)
class Measure:
    """An objective as a scale of a figure.

    Attributes:
        name: Name of the objective.
        metric: Describes the values under the name `accuracy`.
        dense: The dense network's value; None where it is not known.
    """

    name: str
    metric: MetricCard
    dense: float | None = None

    @property
    def title(self) -> str:
        """What it is called."""
        return plain({"accuracy": self.metric.name, "macs": "MACs"}.get(self.name, self.name))

    @property
    def label(self) -> str:
        """What it is called along the scale."""
        if self.is_share:
            return f"{self.title}, in % of the dense network's {self.text(self.dense or 0.0)}"
        named = with_unit(self.metric) if self.name == "accuracy" else self.title
        return f"{named} on select" if self.name in ("accuracy", "loss") else named

    @property
    def with_dense(self) -> str:
        """The same, with the dense network's value."""
        known = "" if self.is_share or self.dense is None else f" (dense: {self.text(self.dense)})"
        return f"{self.label}{known}"

    @property
    def is_share(self) -> bool:
        """Whether values are shown as shares of the dense network's."""
        return self.name in COSTS and self.dense is not None and self.dense > 0

    def shown(self, value: float) -> float:
        """A value along the scale."""
        return 100 * value / self.dense if self.is_share and self.dense else value

    def of(self, entry: JournalEntry) -> float:
        """Its place along the scale for a candidate."""
        return self.shown(entry.evaluation.objectives[self.name])

    def text(self, value: float) -> str:
        """A value beside the scale."""
        if self.name == "accuracy":
            return self.metric.text(value)
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"

    def spreads(self, entries: Sequence[JournalEntry]) -> bool:
        """Whether the candidates go over several magnitudes, which are readable on a logarithmic scale alone."""
        values = [self.of(entry) for entry in entries]
        return self.name != "accuracy" and bool(values) and 0 < WIDE * min(values) < max(values)

    def write(self, axis: Axis) -> None:
        """Write the metric as it is shown elsewhere, shares in per cent, large numbers in millions."""
        if self.name == "accuracy":
            in_metric(axis, self.metric)
            return
        if axis.get_scale() == "log":
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_formatter(NullFormatter())
        unit = " %" if self.is_share else ""
        axis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e5 else f"{value:g}{unit}")
        )
