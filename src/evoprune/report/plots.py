"""Figures of a run, drawn from its journal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

INK, ACCENT, MUTED = "#1f2933", "#c2410c", "#9aa5b1"
BEST, MEAN = "#1d4ed8", "#0f766e"


@dataclass(frozen=True)
class Generation:
    """Fitness of the candidates of one generation that were scored; empty when none was."""

    number: int
    fitness: Sequence[float]


def read_evaluations(directory: Path) -> list[dict[str, Any]]:
    """The complete lines of the run's journal."""
    lines = (directory / "evaluations.jsonl").read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def by_generation(evaluations: Sequence[Mapping[str, Any]]) -> list[Generation]:
    """Fitness per generation, in order."""
    grouped: dict[int, list[float]] = defaultdict(list)
    for line in evaluations:
        fitness = grouped[int(line["generation"])]
        if line["status"] == "ok" and "fitness" in line:
            fitness.append(float(line["fitness"]))
    return [Generation(number, grouped[number]) for number in sorted(grouped)]


def draw_evolution(evaluations: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Best so far, best and mean fitness per generation, with every candidate as a dot."""
    generations = [one for one in by_generation(evaluations) if one.fitness]
    figure, axes = _canvas()
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
    _save(figure, path)


def draw_front(
    evaluations: Sequence[Mapping[str, Any]], comparison: Mapping[str, Any], dense_accuracy: float, path: Path
) -> None:
    """Every candidate by MACs and accuracy on select, and the front that no other candidate beats.

    Args:
        evaluations: Lines of the journal.
        comparison: The document of `comparison.json`.
        dense_accuracy: Of the dense network on the samples that candidates are scored on.
        path: PNG to write.
    """
    figure, axes = _canvas()
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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.legend(loc="lower right", frameon=False)
    _save(figure, path)


def _canvas() -> tuple[Figure, Axes]:
    # A figure of its own, without pyplot: no global state, no display.
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=150, format="png", metadata={"Software": None})
    temporary.replace(path)
