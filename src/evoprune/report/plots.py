"""Figures of a run that removes channels, drawn from its journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

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
from evoprune.search.ranking import rank_correlation
from evoprune.store.comparison import Comparison, CriterionFigures
from evoprune.store.journal import JournalEntry

FEWEST_DOTS: Final = 20
"""Candidates of which some may be left out of a picture."""


@dataclass(frozen=True)
class Generation:
    """Fitness of the candidates of one generation that were scored; empty when none was."""

    number: int
    fitness: Sequence[float]


def by_generation(entries: Sequence[JournalEntry]) -> list[Generation]:
    """Fitness per generation, in order."""
    grouped: dict[int, list[float]] = defaultdict(list)
    for entry in entries:
        fitness = grouped[entry.generation]
        if entry.score is not None:
            fitness.append(entry.score)
    return [Generation(number, grouped[number]) for number in sorted(grouped)]


def evolution_figure(entries: Sequence[JournalEntry], criterion: CriterionFigures | None = None) -> Figure:
    """Best and mean fitness per generation, with every candidate as a dot.

    Args:
        entries: Entries of the journal.
        criterion: The best criterion's network, whose candidate is followed through the generations; None where there is none.
    """
    generations = [one for one in by_generation(entries) if one.fitness]
    figure = new_figure()
    axes = new_axes(figure)
    for one in generations:
        axes.plot([one.number] * len(one.fitness), one.fitness, "o", color=MUTED, markersize=3.5, alpha=0.55, zorder=1)
    numbers = [one.number for one in generations]
    best = [max(one.fitness) for one in generations]
    axes.plot(numbers, best, "-o", color=BEST, label="best of the generation", linewidth=2, markersize=5, zorder=3)
    means = [sum(one.fitness) / len(one.fitness) for one in generations]
    axes.plot(numbers, means, "-s", color=MEAN, label="mean of the generation", linewidth=2, markersize=4, zorder=3)
    if criterion is not None:
        followed = [one for one in entries if one.evaluation.genome == criterion.model.genome and one.score is not None]
        axes.plot(
            [one.generation for one in followed], [one.score or 0.0 for one in followed], "--^", color=ACCENT, linewidth=1.6,
            markersize=5, zorder=4, label=f"best criterion's cut ({plain(criterion.name)}), trained alike",
        )  # fmt: skip
    axes.plot([], [], "o", color=MUTED, markersize=3.5, label="one candidate")
    below = _leave_out_ruins(axes, [value for one in generations for value in one.fitness])
    _number_generations(axes, rank_correlations(entries))
    axes.set_ylabel("fitness")
    title = f"Fitness over {len(generations)} generations, {len(entries)} candidates"
    axes.set_title(f"{title}, {below} of them below the picture" if below else title, color=INK, loc="left")
    axes.legend(loc="lower right", frameon=False)
    return figure


def rank_correlations(entries: Sequence[JournalEntry]) -> dict[int, float]:
    """How far the ranks of each generation agree with the latest ones before, over the candidates that were scored in both.

    Only where candidates are scored again, as on a ladder, is there anything to compare.
    """
    latest: dict[str, float] = {}
    found: dict[int, float] = {}
    scored = [entry for entry in entries if entry.score is not None]
    for number, mine in groupby(scored, key=lambda entry: entry.generation):
        now = {entry.evaluation.genome: entry.score or 0.0 for entry in mine}
        agreement = rank_correlation(latest, now)
        if agreement is not None:
            found[number] = agreement
        latest |= now
    return found


def _number_generations(axes: Axes, correlations: Mapping[int, float]) -> None:
    """Write the numbers of the generations along the scale, with the rank correlations below them."""

    def label(value: float, _: int | None) -> str:
        number = f"{value:g}"
        return f"{number}\n$\\rho$ {correlations[int(value)]:.2f}" if value in correlations else number

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(label))
    what = " ($\\rho$: rank correlation with the scores before, of candidates that went on)" if correlations else ""
    axes.set_xlabel(f"generation{what}")


def _leave_out_ruins(axes: Axes, fitness: Sequence[float]) -> int:
    """Let the picture end where nine tenths of the candidates do, if a few would flatten all others; gives how many are below."""
    ranked = sorted(fitness)
    if len(ranked) < FEWEST_DOTS:
        return 0
    lowest, highest = ranked[len(ranked) // 10], ranked[-1]
    floor = lowest - 0.15 * (highest - lowest)
    if ranked[0] >= floor:
        return 0
    axes.set_ylim(floor, highest + 0.05 * (highest - lowest))
    return sum(value < floor for value in ranked)


def front_figure(entries: Sequence[JournalEntry], comparison: Comparison, dense: Mapping[str, float]) -> Figure:
    """Every candidate by the first two objectives, and the front that no other candidate beats.

    The first objective is on the vertical axis. Where there is one alone, it is drawn over the candidates in their order.

    Args:
        entries: Entries of the journal.
        comparison: Comparison of the finished run.
        dense: The dense network's value of each objective.
    """
    figure = new_figure()
    axes = new_axes(figure)
    first, *others = comparison.objectives or ("accuracy", "macs")
    known = {**comparison.baseline.figures, **dense}
    y = Measure(first, comparison.metric)
    x = Measure(others[0], comparison.metric) if others else None
    usable = [entry for entry in entries if entry.evaluation.status is Status.OK]
    rung = max((entry.evaluation.rung for entry in usable), default=0)
    earlier = [entry for entry in usable if entry.evaluation.rung < rung]
    usable = [entry for entry in usable if entry.evaluation.rung == rung]
    chosen = [entry for entry in usable if entry.evaluation.genome == comparison.pruned.genome]
    on_front = {point.index for point in comparison.front}

    def points(some: Iterable[JournalEntry]) -> tuple[list[float], list[float]]:
        values = [(entry.index if x is None else x.of(entry), y.of(entry)) for entry in some]
        return [one for one, _ in values], [other for _, other in values]

    front = sorted((entry for entry in usable if entry.index in on_front), key=x.of if x else lambda entry: entry.index)
    if earlier:
        axes.plot(*points(earlier), "o", color=PALE, markersize=3, label="candidate of an earlier generation", zorder=0)
    axes.plot(*points(usable), "o", color=MUTED, markersize=4, alpha=0.6, label="candidate, after its brief fine-tune")
    axes.step(*points(front), "-o", where="post", color=BEST, linewidth=1.8, markersize=5, label="front")
    axes.plot(*points(chosen), "*", color=ACCENT, markersize=15, label="chosen, then retrained")
    axes.axhline(known[first], color=INK, linewidth=1, linestyle="--", label=f"dense baseline's {y.title}")
    axes.set_xlabel("candidate" if x is None else f"{x.label} (dense: {x.text(known[x.name])})")
    axes.set_ylabel(y.label)
    axes.set_title(f"{sentence(y.title)} against {'candidates' if x is None else x.title}", color=INK, loc="left")
    y.write(axes.yaxis)
    if x is not None:
        x.write(axes.xaxis)
    axes.legend(loc="best", frameon=False)
    return figure


@dataclass(frozen=True)
class Measure:
    """An objective as a scale of a figure.

    Attributes:
        name: Name of the objective.
        metric: Describes the values under the name `accuracy`.
    """

    name: str
    metric: MetricCard

    @property
    def title(self) -> str:
        """What it is called."""
        return plain({"accuracy": self.metric.name, "macs": "MACs"}.get(self.name, self.name))

    @property
    def label(self) -> str:
        """What it is called along the scale."""
        return f"{with_unit(self.metric)} on select" if self.name == "accuracy" else self.title

    def of(self, entry: JournalEntry) -> float:
        """Its value for a candidate."""
        return entry.evaluation.objectives[self.name]

    def text(self, value: float) -> str:
        """A value beside the scale."""
        if self.name == "accuracy":
            return self.metric.text(value)
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"

    def write(self, axis: Axis) -> None:
        """Write the values along the scale: the metric as it is shown elsewhere, large numbers in millions."""
        if self.name == "accuracy":
            in_metric(axis, self.metric)
        else:
            axis.set_major_formatter(
                FuncFormatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e5 else f"{value:g}")
            )
