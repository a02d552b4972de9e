"""What all figures share: colours, axes without clutter, and files that are whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from evoprune.results import MetricCard

INK, ACCENT, MUTED = "#1f2933", "#c2410c", "#9aa5b1"
BEST, MEAN = "#1d4ed8", "#0f766e"
GRID, PALE = "#e4e7eb", "#cbd2d9"

SIZE: Final = (8.0, 4.8)
"""Inches of a figure with one plot."""


LONGEST_NAME: Final = 60
"""Characters of a name in a figure."""


def new_figure(width: float = SIZE[0], height: float = SIZE[1]) -> Figure:
    """An empty figure of so many inches, without pyplot: no global state, no display."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)  # inches
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def new_axes(figure: Figure) -> Axes:
    """The one plot of a figure."""
    axes = figure.add_subplot()
    style(axes)
    return axes


def style(axes: Axes, *, right: bool = False) -> None:
    """Pale grid below everything, no box; `right` keeps the right side, for a second scale, and has no grid of its own."""
    axes.set_axisbelow(True)
    if not right:
        axes.grid(color=GRID, linewidth=0.8)
    for side in ("top", "left") if right else ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK)


def in_percent(axis: Axis) -> None:
    """Write the axis's fractions as per cent."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))


def in_metric(axis: Axis, metric: MetricCard) -> None:
    """Write the axis's values as the metric's are shown: per cent, or numbers."""
    if metric.in_percent:
        in_percent(axis)


def sentence(text: str) -> str:
    """A name as the beginning of a title."""
    return text[:1].upper() + text[1:]


def with_unit(metric: MetricCard) -> str:
    """The metric's name for a scale, with its unit where the values don't show it."""
    return plain(f"{metric.name} [{metric.unit}]" if metric.unit and not metric.in_percent else metric.name)


def colour_scale(axes: Axes, colour: str) -> None:
    """Colour the vertical scale of `axes` like the line that it belongs to."""
    axes.tick_params(axis="y", colors=colour)
    axes.yaxis.label.set_color(colour)


def plain(text: str) -> str:
    """A name as it is to stand in a figure: on one line, not too long, `$` begins no formula, no character is invisible."""
    drawable = (one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
    short = "".join(drawable)
    if len(short) > LONGEST_NAME:
        short = f"{short[: LONGEST_NAME // 2]}...{short[-LONGEST_NAME // 2 :]}"
    return short.replace("$", r"\$")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, the same bytes for the same figure."""
    temporary = path.with_name(f".{path.name}.part")  # what a killed process leaves is removed by the next
    try:
        figure.savefig(temporary, dpi=150, format="png", metadata={"Software": None})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
