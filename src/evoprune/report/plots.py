"""Figures of a run that removes channels, drawn from its journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from evoprune.report.canvas import ACCENT, BEST, INK, MEAN, MUTED, in_percent, new_axes, new_figure


@dataclass(frozen=True)
class Generation:
    """Fitness of the candidates of one generation that were scored; empty when none was."""

    number: int
    fitness: Sequence[float]


def by_generation(evaluations: Sequence[Mapping[str, Any]]) -> list[Generation]:
    """Fitness per generation, in order."""
    grouped: dict[int, list[float]] = defaultdict(list)
    for line in evaluations:
        fitness = grouped[int(line["generation"])]
        if line["status"] == "ok" and "fitness" in line:
            fitness.append(float(line["fitness"]))
    return [Generation(number, grouped[number]) for number in sorted(grouped)]


def evolution_figure(evaluations: Sequence[Mapping[str, Any]]) -> Figure:
    """Best and mean fitness per generation, with every candidate as a dot."""
    generations = [one for one in by_generation(evaluations) if one.fitness]
    figure = new_figure()
    axes = new_axes(figure)
    for one in generations:
        axes.plot([one.number] * len(one.fitness), one.fitness, "o", color=MUTED, markersize=3.5, alpha=0.55, zorder=1)
    numbers = [one.number for one in generations]
    best = [max(one.fitness) for one in generations]
    axes.plot(numbers, best, "-o", color=BEST, label="best of the generation", linewidth=2, markersize=5, zorder=3)
    means = [sum(one.fitness) / len(one.fitness) for one in generations]
    axes.plot(numbers, means, "-s", color=MEAN, label="mean of the generation", linewidth=2, markersize=4, zorder=3)
    axes.plot([], [], "o", color=MUTED, markersize=3.5, label="one candidate")
    axes.set_xlabel("generation")
    axes.set_ylabel("fitness")
    axes.set_title(f"Fitness over {len(generations)} generations, {len(evaluations)} candidates", color=INK, loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", frameon=False)
    return figure


def front_figure(
    evaluations: Sequence[Mapping[str, Any]], comparison: Mapping[str, Any], dense_accuracy: float
) -> Figure:
    """Every candidate by MACs and accuracy on select, and the front that no other candidate beats.

    Args:
        evaluations: Lines of the journal.
        comparison: The document of `comparison.json`.
        dense_accuracy: Of the dense network on the samples that candidates are scored on.
    """
    figure = new_figure()
    axes = new_axes(figure)
    usable = [line for line in evaluations if line["status"] == "ok"]
    scored = [line["objectives"] for line in usable]
    chosen = [line["objectives"] for line in usable if line["genome"] == comparison["pruned"]["genome"]]
    axes.plot(
        [one["macs"] for one in scored],
        [one["accuracy"] for one in scored],
        "o",
        color=MUTED,
        markersize=4,
        alpha=0.6,
        label="candidate, after its brief fine-tune",
    )
    front = sorted((point["macs"], point["select_accuracy"]) for point in comparison["front"])
    axes.step(
        [macs for macs, _ in front],
        [accuracy for _, accuracy in front],
        "-o",
        where="post",
        color=BEST,
        linewidth=1.8,
        markersize=5,
        label="front",
    )
    axes.plot(
        [one["macs"] for one in chosen],
        [one["accuracy"] for one in chosen],
        "*",
        color=ACCENT,
        markersize=15,
        label="chosen, then retrained",
    )
    axes.axhline(dense_accuracy, color=INK, linewidth=1, linestyle="--", label="dense baseline's accuracy")
    axes.set_xlabel(f"MACs (dense: {comparison['baseline']['macs']:,})")
    axes.set_ylabel("accuracy on select")
    axes.set_title("Accuracy against MACs", color=INK, loc="left")
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e5 else f"{value:g}")
    )
    in_percent(axes.yaxis)
    axes.legend(loc="lower right", frameon=False)
    return figure
