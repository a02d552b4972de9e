"""Figures of a run that removes channels, drawn from its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from evoprune.report.canvas import (
    ACCENT,
    BEST,
    INK,
    MEAN,
    MUTED,
    new_axes,
    new_figure,
    plain,
    style,
)
from evoprune.report.generations import best_so_far, by_generation, rank_correlations, ruins_below
from evoprune.store.comparison import CriterionFigures
from evoprune.store.journal import JournalEntry

TALL: Final = 6.6
"""Inches of a figure with two panels."""


def evolution_figure(
    entries: Sequence[JournalEntry],
    criterion: CriterionFigures | None = None,
    hypervolumes: Mapping[int, float] | None = None,
) -> Figure:
    """Best and mean fitness per generation, with every candidate as a dot; below it the hypervolume of a search for a front.

    Args:
        entries: Entries of the journal.
        criterion: The best criterion's network, whose candidate is followed through the generations; None where there is none.
        hypervolumes: Hypervolume by generation; no second panel without any.
    """
    generations = [one for one in by_generation(entries) if one.fitness]
    figure, axes, below_it = _panels(hypervolumes)
    for one in generations:
        axes.plot([one.number] * len(one.fitness), one.fitness, "o", color=MUTED, markersize=3.5, alpha=0.55, zorder=1)
    numbers = [one.number for one in generations]
    best = [max(one.fitness) for one in generations]
    axes.plot(numbers, best, "-o", color=BEST, label="best of the generation", linewidth=2, markersize=5, zorder=3)
    so_far = best_so_far(generations)
    axes.step(numbers, so_far, where="post", color=INK, label="best so far", linewidth=1.2, linestyle=":", zorder=4)
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
    _number_generations(below_it or axes, rank_correlations(entries))
    axes.set_ylabel("fitness")
    title = f"Fitness over {len(generations)} generations, {len(entries)} candidates"
    axes.set_title(f"{title}, {below} of them below the picture" if below else title, color=INK, loc="left")
    axes.legend(loc="lower right", frameon=False)
    return figure


def _panels(hypervolumes: Mapping[int, float] | None) -> tuple[Figure, Axes, Axes | None]:
    """An empty figure for fitness, with the hypervolumes drawn below it where there are any."""
    if not hypervolumes:
        figure = new_figure()
        return figure, new_axes(figure), None
    figure = new_figure(height=TALL)
    grid = figure.add_gridspec(2, 1, height_ratios=(2.2, 1))
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    for axes in (upper, lower):
        style(axes)
    upper.tick_params(labelbottom=False)
    lower.plot(list(hypervolumes), list(hypervolumes.values()), "-D", color=BEST, linewidth=2, markersize=4.5)
    lower.set_ylabel("hypervolume")
    lower.set_title(
        "Hypervolume of the front, as a share of the box around generation 0", color=INK, loc="left", fontsize="medium"
    )
    return figure, upper, lower


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
    floor = ruins_below(fitness)
    if floor is None:
        return 0
    highest = max(fitness)
    axes.set_ylim(floor, highest + 0.05 * (highest - floor))
    return sum(value < floor for value in fitness)
