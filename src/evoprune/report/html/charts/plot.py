"""A plot in values, and the drawing that it becomes at a size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from evoprune.report.html.charts.scale import Scale, Tick, span_of


@dataclass(frozen=True)
class Frame:
    """Size of a drawing, and of the margins that scales are written in; all in CSS pixels."""

    name: str
    width: int
    height: int
    left: int
    right: int = 12
    top: int = 28
    bottom: int = 42


WIDE: Final = Frame("wide", 828, 380, 62)
NARROW: Final = Frame("narrow", 340, 300, 50)
"""Of phones: text keeps its size there, which a shrunk drawing's would not."""
NOTE_HEIGHT: Final = 14
"""Room that texts below the ticks take."""


@dataclass(frozen=True)
class Point:
    """A value of a series.

    Attributes:
        x: Along the horizontal axis.
        y: Along the vertical axis.
        tip: What is shown of it, a line each; empty where there is nothing to say.
        chosen: Number of the point of the front that a click chooses; None where nothing can be chosen.
    """

    x: float
    y: float
    tip: str = ""
    chosen: int | None = None


@dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
        kind: Class in the style sheet, which gives the colour.
        label: Name in the legend; none where it is empty.
        points: From left to right.
        line: `straight`, `step` or nothing between the points.
        shape: `circle`, `disc`, `square`, `triangle`, `diamond`, `star` or nothing at each point.
    """

    kind: str
    label: str
    points: Sequence[Point]
    line: str = ""
    shape: str = "circle"


@dataclass(frozen=True)
class Axis:
    """One axis of a plot.

    Attributes:
        title: What is along it, with the unit.
        text: Writes a value.
        log: Whether the scale is logarithmic.
        whole: Whether only whole numbers have ticks.
        floor: Value below which the scale doesn't begin.
        span: Ends of the scale; those of the values when None.
        reverse: Whether the largest value comes first.
    """

    title: str
    text: Callable[[float], str]
    log: bool = False
    whole: bool = False
    floor: float | None = None
    span: tuple[float, float] | None = None
    reverse: bool = False


@dataclass(frozen=True)
class Rule:
    """A horizontal line across the plot, with its name in the legend."""

    kind: str
    label: str
    y: float


@dataclass(frozen=True)
class Plot:
    """A plot of series over two axes.

    Attributes:
        label: Says for who can't see it what is shown.
        x: Horizontal axis.
        y: Vertical axis.
        series: From back to front.
        rules: Horizontal lines behind the series.
        notes: Texts below ticks of the horizontal axis, by value.
        seams: Vertical lines between parts of the plot, by value, and what the part after each is called.
        short: Whether it is a low one, below another.
    """

    label: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    rules: Sequence[Rule] = ()
    notes: Sequence[tuple[float, str]] = ()
    seams: Sequence[tuple[float, str]] = ()
    short: bool = False


@dataclass(frozen=True)
class Mark:
    """A sign at a place."""

    x: float
    y: float
    shape: str
    tip: str
    chosen: int | None


@dataclass(frozen=True)
class DrawnSeries:
    """A series in places: the path of its line, empty where it has none, and its marks."""

    kind: str
    path: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Key:
    """A line of the legend."""

    kind: str
    label: str
    shape: str
    line: bool


@dataclass(frozen=True)
class Drawing:
    """A plot at a size, ready to be written; `floor` is the place of the horizontal axis."""

    frame: Frame
    height: int
    floor: int
    label: str
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    notes: tuple[Tick, ...]
    seams: tuple[Tick, ...]
    rules: tuple[tuple[str, float], ...]
    series: tuple[DrawnSeries, ...]

    @property
    def has_choice(self) -> bool:
        """Whether something in it can be chosen."""
        return any(mark.chosen is not None for one in self.series for mark in one.marks)


@dataclass(frozen=True)
class Chart:
    """A plot at all sizes, with its legend."""

    drawings: tuple[Drawing, ...]
    keys: tuple[Key, ...]


def chart_of(plot: Plot) -> Chart:
    """The plot at the sizes of desktops and of phones.

    Args:
        plot: A plot with one point at least.
    """
    keys = [Key(one.kind, one.label, one.shape, bool(one.line)) for one in plot.series if one.label and one.points]
    keys += [Key(one.kind, one.label, "", True) for one in plot.rules if one.label]
    return Chart(tuple(_drawn(plot, frame) for frame in (WIDE, NARROW)), tuple(keys))


def _drawn(plot: Plot, frame: Frame) -> Drawing:
    height = round(0.55 * frame.height) if plot.short else frame.height
    floor = height - frame.bottom - (NOTE_HEIGHT if plot.notes else 0)
    points = [point for one in plot.series for point in one.points]
    x = _scale(plot.x, [one.x for one in points], frame.left, frame.width - frame.right)
    y = _scale(plot.y, [*(one.y for one in points), *(one.y for one in plot.rules)], floor, frame.top)
    across, up = max(2, frame.width // 80), max(2, height // 55)
    return Drawing(
        frame=frame,
        height=height,
        floor=floor,
        label=plot.label,
        x_title=plot.x.title,
        y_title=plot.y.title,
        x_ticks=x.ticks(across, plot.x.text, whole=plot.x.whole),
        y_ticks=y.ticks(up, plot.y.text, whole=plot.y.whole),
        notes=_spread([Tick(x.at(value), text) for value, text in plot.notes], frame),
        seams=_spread([Tick(x.at(value), text) for value, text in plot.seams], frame),
        rules=tuple((one.kind, y.at(one.y)) for one in plot.rules),
        series=tuple(_in_places(one, x, y) for one in plot.series if one.points),
    )


def _spread(notes: Sequence[Tick], frame: Frame) -> tuple[Tick, ...]:
    """As many of them as there is room for."""
    room = (frame.width - frame.left) / 38
    return tuple(notes[:: max(1, math.ceil(len(notes) / room))])


def _scale(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    low, high = axis.span or span_of(values, log=axis.log, floor=axis.floor)
    return Scale(low, high, *((end, start) if axis.reverse else (start, end)), axis.log)


def _in_places(series: Series, x: Scale, y: Scale) -> DrawnSeries:
    inside = [one for one in series.points if x.low <= one.x <= x.high and y.low <= one.y <= y.high]
    marks = [Mark(x.at(one.x), y.at(one.y), series.shape, one.tip, one.chosen) for one in inside]
    path = _path([(one.x, one.y) for one in marks], series.line) if series.line else ""
    return DrawnSeries(series.kind, path, tuple(marks) if series.shape else ())


def _path(places: Iterable[tuple[float, float]], line: str) -> str:
    written, before = [], None
    for x, y in places:
        if before is None:
            written.append(f"M{x:g} {y:g}")
        else:
            written.append(f"H{x:g}V{y:g}" if line == "step" else f"L{x:g} {y:g}")
        before = (x, y)
    return "".join(written)
