"""How a mask run's searches went: fitness over everything, and a small panel for every layer or step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from evoprune.report.canvas import (
    ACCENT,
    BEST,
    INK,
    MEAN,
    MUTED,
    PALE,
    colour_scale,
    in_metric,
    in_percent,
    new_axes,
    new_figure,
    plain,
    style,
    with_unit,
)
from evoprune.report.courses import Course, Retraining, Stretch, courses, layers_apart, step_title
from evoprune.results import ACCURACY, MetricCard
from evoprune.store.journal import JournalEntry
from evoprune.store.steps import StepRecord

MOST_PANELS: Final = 60
"""Panels in one figure; it says when there would be more."""
MOST_TITLES: Final = 24
"""Steps with a title above the fitness; of more, every so many."""
MOST_DOTS: Final = 40
"""Generations of a step whose best are marked one by one."""
STEADY: Final = 1e-3
"""A sparsity that varies less than this over a panel is written, not drawn."""

Entries = Sequence[JournalEntry]
Steps = Sequence[StepRecord]


def course_panels_figure(entries: Entries, steps: Steps, metric: MetricCard = ACCURACY) -> Figure:
    """Best so far against generation in a panel per layer or step, and the metric before and after retraining.

    The metric is on the left. On the right is sparsity, or, where that was given and so is the same for all candidates, the loss.

    Args:
        entries: Entries of the journal.
        steps: The run's steps.
        metric: Describes the values under the name `accuracy`.
    """
    every = courses(entries, steps)
    shown = every[:MOST_PANELS]
    columns = max(1, min(6, math.ceil(math.sqrt(len(shown)))))
    rows = max(1, math.ceil(len(shown) / columns))
    figure = new_figure(max(8.0, 3.1 * columns), 1.3 + 2.0 * rows)
    seconds = {
        _draw_panel(figure.add_subplot(rows, columns, number), one, metric) for number, one in enumerate(shown, start=1)
    }
    more = f" (the first {len(shown)} of {len(every)})" if len(every) > len(shown) else ""
    figure.suptitle(f"Best so far against generation{more}", color=INK, x=0.01, ha="left")
    figure.legend(handles=list(_key(seconds, metric)), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def _key(seconds: set[str], metric: MetricCard) -> Iterator[Line2D]:
    yield Line2D([], [], color=BEST, linewidth=1.8, label=f"{with_unit(metric)} on select (left)")
    if "sparsity" in seconds:
        yield Line2D([], [], color=MEAN, linewidth=1.8, label="sparsity (right)")
    if "loss" in seconds:
        yield Line2D([], [], color=MUTED, linewidth=1.8, label="loss (right)")
    yield Line2D(
        [], [], color=BEST, marker="o", markerfacecolor="white", linestyle="", label="all of select, before retraining"
    )
    yield Line2D([], [], color=ACCENT, marker="o", linestyle="", label="after retraining")


def _draw_panel(axes: Axes, course: Course, metric: MetricCard) -> str:
    """Draw one course; returns what its right scale shows: `sparsity`, `loss` or nothing."""
    style(axes)
    leaders = [leader for stretch in course.stretches for leader in stretch.leaders]
    sparsity = [leader.sparsity for leader in leaders if leader.sparsity is not None]
    steady = not sparsity or max(sparsity) - min(sparsity) < STEADY
    second = "sparsity"
    if steady:
        second = "loss" if any(leader.loss is not None for leader in leaders) else ""
    right = axes.twinx()
    style(right, right=True)
    start = 0
    gap = 2 + len(leaders) // 12  # wide enough for the marks of retraining, however many generations there are
    for stretch in course.stretches:
        if start:
            axes.axvline(start - 0.3 * gap, color=PALE, linewidth=1, zorder=0)
        _draw_stretch(axes, right, stretch, second, start)
        end = start + len(stretch.leaders) - 1
        _draw_retraining(axes, stretch.retraining, end + 0.35 * gap)
        start = end + gap
    axes.set_xlim(-0.3 * gap, start - 0.3 * gap)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if len(course.stretches) > 1:
        _count_over_gaps(axes, [len(stretch.leaders) for stretch in course.stretches], gap)
    _finish_panel(axes, right, second, metric)
    written = f", {100 * sparsity[-1]:.1f} % sparse" if sparsity and not course.title.endswith("sparse") else ""
    # Names of layers in deep networks are long, panels are not.
    axes.set_title(
        f"{plain(course.title)}{written}", color=INK, loc="left", fontsize=9 if len(course.title) < 28 else 7
    )
    return second


def _draw_stretch(axes: Axes, right: Axes, stretch: Stretch, second: str, start: int) -> None:
    generations = range(start, start + len(stretch.leaders))
    accuracy = [_or_nan(leader.accuracy) for leader in stretch.leaders]
    dot = "o" if len(stretch.leaders) == 1 else ""
    axes.plot(generations, accuracy, color=BEST, linewidth=1.8, marker=dot, markersize=3, zorder=3)
    if second:
        values = [_or_nan(getattr(leader, second)) for leader in stretch.leaders]
        colour = MEAN if second == "sparsity" else MUTED
        right.plot(generations, values, color=colour, linewidth=1.4, marker=dot, markersize=3)


def _draw_retraining(axes: Axes, retraining: Retraining, x: float) -> None:
    before, after = retraining.before, retraining.after
    if before is not None and after is not None:
        axes.plot([x, x], [before, after], color=ACCENT, linewidth=1.2, linestyle=":", zorder=4)
    if before is not None:
        axes.plot([x], [before], "o", color=BEST, markerfacecolor="white", markersize=5, zorder=5, clip_on=False)
    if after is not None:
        axes.plot([x], [after], "o", color=ACCENT, markersize=5, zorder=6, clip_on=False)


def _count_over_gaps(axes: Axes, lengths: Sequence[int], gap: int) -> None:
    """Number the last generation of each stretch, counted over all of them, as the gaps between are no generations."""
    ends = [total - 1 for total in accumulate(lengths)]
    positions = [end + number * (gap - 1) for number, end in enumerate(ends)]
    every = math.ceil(len(ends) / 5)
    axes.set_xticks(positions[::-every], [str(end) for end in ends[::-every]])


def _finish_panel(axes: Axes, right: Axes, second: str, metric: MetricCard) -> None:
    # The lines on the left are in front of those on the right.
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    for one in (axes, right):
        one.yaxis.set_major_locator(MaxNLocator(4))
        one.tick_params(labelsize=8)
        one.margins(y=0.12)
    in_metric(axes.yaxis, metric)
    colour_scale(axes, BEST)
    if second == "sparsity":
        in_percent(right.yaxis)
        colour_scale(right, MEAN)
    elif not second:
        right.set_yticks([])


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def step_fitness_figure(entries: Entries, steps: Steps) -> Figure:
    """Fitness against generation, one step after the other.

    Layers that are evolved on their own are a thin line each, their best so far; the bold line is the mean of them.

    Args:
        entries: Entries of the journal.
        steps: The run's steps.
    """
    figure = new_figure(max(10.0, min(20.0, 4 + 0.3 * len(steps))))
    axes = new_axes(figure)
    starts, end = {}, 0
    for number, of_step in groupby(entries, key=lambda entry: entry.step):
        starts[number] = end
        mine = list(of_step)
        alone = mine[0].history is not None
        drawn = _draw_layers(axes, mine, end) if alone else _draw_generations(axes, mine, end)
        end += drawn
    axes.set_xlim(-1, max(1, end))
    below = _leave_out_ruins(axes, entries)
    alone = any(entry.history is not None for entry in entries)
    axes.set_xlabel("generation, one step after the other" if len(starts) > 1 else "generation")
    axes.set_ylabel("fitness")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _part_steps(axes, starts, end, steps)
    what = f"{len(entries):,} {'layers evolved' if alone else 'candidates'}"
    what += f", {below:,} of them below the picture" if below else ""
    title = f"Fitness over {len(starts)} {'step' if len(starts) == 1 else 'steps'}, {what}"
    figure.suptitle(title, color=INK, x=0.01, ha="left")
    figure.legend(handles=_fitness_key(alone=alone), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _leave_out_ruins(axes: Axes, entries: Entries) -> int:
    """Let the picture end where nine tenths of the candidates do: a few ruined networks would flatten all others.

    Returns:
        How many candidates are below it.
    """
    fitness = sorted(entry.fitness for entry in entries if entry.fitness is not None)
    if len(fitness) < MOST_DOTS or any(entry.history is not None for entry in entries):
        return 0
    lowest, highest = fitness[len(fitness) // 10], fitness[-1]
    margin = 0.05 * (highest - lowest)
    if fitness[0] >= lowest - 4 * margin:
        return 0
    axes.set_ylim(lowest - margin, highest + margin)
    return sum(value < lowest - margin for value in fitness)


def _fitness_key(*, alone: bool) -> list[Line2D]:
    if alone:
        return [
            Line2D([], [], color=MUTED, linewidth=1, label="one layer, best so far"),
            Line2D([], [], color=BEST, linewidth=2, label="mean of the layers"),
        ]
    return [
        Line2D([], [], color=BEST, linewidth=2, label="best of the step so far"),
        Line2D([], [], color=MEAN, linewidth=2, label="mean of the generation"),
        Line2D([], [], color=MUTED, marker="o", markersize=3.5, linestyle="", label="one candidate"),
    ]


def _draw_generations(axes: Axes, entries: Entries, start: int) -> int:
    """Dots, best so far and mean of each generation of one step, from `start` on; returns how many generations there were."""
    scored = [
        [entry.score for entry in generation if entry.score is not None]
        for _, generation in groupby(entries, key=lambda entry: entry.phase)
    ]
    numbers = [start + at for at, fitness in enumerate(scored) if fitness]
    known = [fitness for fitness in scored if fitness]
    for number, fitness in zip(numbers, known, strict=True):
        axes.plot([number] * len(fitness), fitness, "o", color=MUTED, markersize=3, alpha=0.45, zorder=1)
    best = list(accumulate(map(max, known), max))
    mean = [sum(fitness) / len(fitness) for fitness in known]
    dot = "o" if len(known) <= MOST_DOTS else ""
    axes.plot(numbers, mean, color=MEAN, linewidth=1.4, zorder=3)
    axes.plot(numbers, best, color=BEST, linewidth=1.8, marker=dot, markersize=3, zorder=4)
    return len(scored)


def _draw_layers(axes: Axes, entries: Entries, start: int) -> int:
    histories = [[float(one["fitness"]) for one in entry.history] for entry in entries if entry.history]
    longest = max(map(len, histories), default=0)
    for history in histories:
        axes.plot(range(start, start + len(history)), history, color=MUTED, linewidth=1, alpha=0.8)
    # A layer that stopped early stays at what it reached.
    full = [history + history[-1:] * (longest - len(history)) for history in histories]
    mean = [sum(column) / len(column) for column in zip(*full, strict=True)]
    axes.plot(range(start, start + longest), mean, color=BEST, linewidth=2, marker="o" if longest == 1 else "")
    return longest


def _part_steps(axes: Axes, starts: Mapping[int, int], end: int, steps: Steps) -> None:
    """A line between the steps, and above each what it is for, as far as there is room."""
    known = {step.step: step for step in steps}
    by_layer = layers_apart(steps)
    every = math.ceil(len(starts) / MOST_TITLES)
    edges = [*starts.values(), end]
    for position, (number, (start, stop)) in enumerate(zip(starts, pairwise(edges), strict=True)):
        if position:
            axes.axvline(start - 0.5, color=PALE, linewidth=1, zorder=0)
        step = known.get(number)
        if len(starts) < 2 or position % every or step is None:
            continue
        title = plain(", ".join(step.layers)) if by_layer else _goal_or_number(step)
        turned = len(starts) > 6
        axes.text(
            (start + stop - 1) / 2, 1.01, title, transform=axes.get_xaxis_transform(), color=INK, fontsize=8,
            ha="left" if turned else "center", va="bottom", rotation=50 if turned else 0, rotation_mode="anchor",
        )  # fmt: skip


def _goal_or_number(step: StepRecord) -> str:
    return ("" if step.goal is None else "goal ") + step_title(step.step, step.goal)
