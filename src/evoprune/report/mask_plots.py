"""How sparse a run of weight masks made each layer, and what it cost in accuracy step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from evoprune.report.canvas import (
    ACCENT,
    BEST,
    GRID,
    INK,
    MEAN,
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
from evoprune.report.courses import layers_apart, passes_of, step_title
from evoprune.store.comparison import Comparison, LayerFigures
from evoprune.store.steps import StepRecord

MOST_NAMES: Final = 64
"""Ticks with a name of their own; more would not be readable."""
MOST_VALUES: Final = 12
"""Points with their value written beside them."""

_COLUMN: Final[dict[str, Any]] = {
    "textcoords": "offset points", "ha": "right", "color": INK, "fontsize": 9, "annotation_clip": False
}  # fmt: skip
_HALO: Final = (withStroke(linewidth=3, foreground="white"),)


def layer_sparsity_figure(comparison: Comparison) -> Figure:
    """A bar per layer (per weight tensor, where a layer has several), annotated with its sparsity and the weights that stay."""
    layers = comparison.layers
    figure = new_figure(height=max(2.4, 1.3 + 0.27 * len(layers)))
    axes = new_axes(figure)
    axes.grid(False, axis="y")
    positions = range(len(layers))
    axes.barh(positions, [1.0] * len(layers), color=GRID, height=0.7)
    axes.barh(positions, [layer.sparsity for layer in layers], color=BEST, height=0.7)
    overall = comparison.pruned.figures["sparsity"]
    axes.axvline(overall, color=ACCENT, linewidth=1.4, linestyle="--")
    axes.set_yticks(positions, _names(layers))
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    _write_columns(axes, layers)
    in_percent(axes.xaxis)
    axes.set_xlabel(f"share of zeros; all layers together (dashed): {100 * overall:.2f} %")
    axes.set_title("Sparsity per layer", color=INK, loc="left")
    return figure


def _names(layers: Sequence[LayerFigures]) -> list[str]:
    """Names of layers; of the parameters where a layer has several."""
    every = [one.layer for one in layers]
    return [plain(one.layer if every.count(one.layer) == 1 else one.name) for one in layers]


def _write_columns(axes: Axes, layers: Sequence[LayerFigures]) -> None:
    """Sparsity and weights to the right of the bars, under headings."""
    columns = {
        "sparsity": [f"{100 * layer.sparsity:.1f} %" for layer in layers],
        "weights that stay": [f"{layer.kept:,} of {layer.weights:,}" for layer in layers],
    }
    right = 0.0
    for heading, cells in columns.items():
        right += 10 + 5.6 * max(map(len, [heading, *cells]))  # points: the font's digits are 5.6 wide at this size
        for position, cell in enumerate(cells):
            place = axes.get_yaxis_transform()
            axes.annotate(cell, (1, position), xycoords=place, xytext=(right, 0), va="center", **_COLUMN)
        axes.annotate(heading, (1, 1), xycoords="axes fraction", xytext=(right, 6), va="bottom", **_COLUMN)


@dataclass(frozen=True)
class _Points:
    """What the two lines are made of; the dense network comes first."""

    sparsity: Sequence[float]
    accuracy: Sequence[float | None]
    names: Sequence[str]


def sparsity_accuracy_figure(comparison: Comparison) -> Figure:
    """Sparsity and the metric on test against the number of layers pruned, or against the steps where those prune all layers."""
    steps, metric = [step.record for step in comparison.steps or ()], comparison.metric
    by_layer = layers_apart(steps)
    points = _points(comparison, by_layer=by_layer)
    figure = new_figure(width=max(8.0, min(20.0, 2.5 + 0.27 * len(points.names))))
    left = new_axes(figure)
    right = left.twinx()
    style(right, right=True)
    numbers = range(len(points.names))
    left.fill_between(numbers, points.sparsity, color=MEAN, alpha=0.10, linewidth=0)
    left.plot(numbers, points.sparsity, "-s", color=MEAN, linewidth=2, markersize=4, label="sparsity of all weights")
    left.plot([], [], "-o", color=BEST, linewidth=2, markersize=5, label=f"test {plain(metric.name)}, retrained")
    left.plot([], [], "*", color=ACCENT, markersize=14, label="finished network")
    left.plot([], [], "--", color=INK, linewidth=1, label=f"dense network's {plain(metric.name)}")
    _draw_accuracy(right, points, comparison)
    _name_steps(left, points.names, by_layer=by_layer)
    _part_passes(left, steps)
    left.set_ylim(0, 1.02)
    left.set_ylabel("sparsity of all prunable weights")
    right.set_ylabel(f"{with_unit(metric)} on test")
    in_percent(left.yaxis)
    in_metric(right.yaxis, metric)
    for axes, colour in ((left, MEAN), (right, BEST)):
        colour_scale(axes, colour)
    left.set_title(
        f"Sparsity and {plain(metric.name)}", color=INK, loc="left", pad=22 if len(passes_of(steps)) > 1 else None
    )
    columns = 4 if len(metric.name) <= 10 else 2
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


def _points(comparison: Comparison, *, by_layer: bool) -> _Points:
    steps = comparison.steps or ()
    records = [step.record for step in steps]
    if by_layer:
        names = [f"{number} {plain(record.layers[0])}" for number, record in enumerate(records, start=1)]
    else:
        names = [step_title(record.step, record.goal) for record in records]
    return _Points(
        [0.0, *(record.sparsity for record in records)],
        [comparison.baseline.accuracy, *(step.accuracy for step in steps)],
        ["dense", *names],
    )


def _draw_accuracy(axes: Axes, points: _Points, comparison: Comparison) -> None:
    metric, final = comparison.metric, comparison.pruned.accuracy
    known = [(number, value) for number, value in enumerate(points.accuracy) if value is not None]
    axes.axhline(comparison.baseline.accuracy, color=INK, linewidth=1, linestyle="--")
    axes.plot(*zip(*known, strict=True), "-o", color=BEST, linewidth=2, markersize=5)
    axes.plot([_finished_at(points, comparison)], [final], "*", color=ACCENT, markersize=14, zorder=5)
    if len(known) <= MOST_VALUES:
        for number, value in known:
            _note(axes, number, value, f"{100 * value:.2f}" if metric.in_percent else metric.line(value))
    shown = [*(value for _, value in known), final]
    # A little air below, and never so near that noise looks like a collapse.
    least = 0.01 if metric.in_percent else 0.01 * max(map(abs, shown)) or 0.01
    span = max(max(shown) - min(shown), least)
    axes.set_ylim(min(shown) - 0.25 * span, max(shown) + 0.2 * span)


def _finished_at(points: _Points, comparison: Comparison) -> int:
    """The step that the finished network comes from: the last one, unless that one cost too much to be taken."""
    sparsity = comparison.pruned.figures["sparsity"]
    taken = [number for number, value in enumerate(points.sparsity) if abs(value - sparsity) < 1e-9]
    return taken[-1] if taken else len(points.names) - 1


def _note(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(
        text,
        (x, y),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        fontsize=8.5,
        color=BEST,
        path_effects=_HALO,
        zorder=6,
    )


def _name_steps(axes: Axes, names: Sequence[str], *, by_layer: bool) -> None:
    axes.set_xlim(-0.5, len(names) - 0.5)
    if len(names) <= MOST_NAMES:
        turned = sum(map(len, names)) > 60
        axes.set_xticks(range(len(names)), names, fontsize=8.5, rotation=60 if turned else 0)
        if turned:
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
    axes.set_xlabel("layers pruned, one after the other" if by_layer else "sparsity goal of each step")


def _part_passes(axes: Axes, steps: Sequence[StepRecord]) -> None:
    """A line between the passes over the layers, and what each was for."""
    passes = [step.pass_number for step in steps]
    if len(set(passes)) < 2 or not layers_apart(steps):
        return
    edges = [0, *(number for number, (one, other) in enumerate(pairwise(passes), start=1) if one != other), len(passes)]
    for start, stop in pairwise(edges):
        axes.axvline(start + 0.5, color=PALE, linewidth=1, zorder=0)
        goal = steps[start].goal
        title = f"pass {passes[start] + 1}" + ("" if goal is None else f": {100 * goal:.4g} %")
        axes.text(
            (start + stop + 1) / 2, 1.01, title, transform=axes.get_xaxis_transform(), ha="center", va="bottom",
            color=INK, fontsize=9,
        )  # fmt: skip
