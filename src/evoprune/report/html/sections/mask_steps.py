"""Fitness of a run of weight masks, generation by generation, one step after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Final

from evoprune.report.courses import step_title
from evoprune.report.generations import ruins_below
from evoprune.report.html.charts.plot import Axis, Plot, Point, Series, chart_of
from evoprune.report.html.charts.scale import span_of
from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.sections.mask_course import Course
from evoprune.report.html.sections.thinned import left_out, thinned
from evoprune.report.html.wording import counted
from evoprune.store.journal import JournalEntry

MOST_SEAMS: Final = 24
MOST_MARKS: Final = 200
"""Generations whose best are marked one by one."""
TOGETHER: Final = ("one candidate", "mean of the generation", "best of the step so far")
ALONE: Final = ("one layer, best so far", "mean of the layers", "best layer")


def steps_of(facts: RunFacts) -> Section | None:
    """Fitness by generation, one step after the other."""
    if facts.comparison.steps is None:
        return None
    drawn = list(_steps(facts.entries))
    if not any(step.best for step in drawn):
        return None
    dots = [point for step in drawn for point in step.dots]
    floor = ruins_below([one.y for one in dots])
    goals = {one.record.step: one.record.goal for one in facts.comparison.steps}
    alone = any(entry.history is not None for entry in facts.entries)
    below = 0 if floor is None else sum(one.y < floor for one in dots)
    notes = (left_out(dots), f"{counted(below, 'dot')} below the picture." if below else "")
    lead = "Each step begins from the weights that the one before has left: only candidates of one step compare."
    plot = _plot(drawn, dots, floor, ALONE if alone else TOGETHER, goals)
    course = Course(chart_of(plot), lead, tuple(filter(None, notes)))
    return Section("fitness", "Fitness by generation", course, "course")


def _plot(
    drawn: Sequence[_Step],
    dots: Sequence[Point],
    floor: float | None,
    names: tuple[str, str, str],
    goals: Mapping[int, float | None],
) -> Plot:
    best = [point for step in drawn for point in step.best]
    low, high = span_of([one.y for one in [*best, *dots] if floor is None or one.y >= floor])
    shape = "circle" if len(best) <= MOST_MARKS else ""
    means = [Series("mean", "", step.mean, line="straight", shape="") for step in drawn]
    bests = [Series("best", "", step.best, line="straight", shape=shape) for step in drawn]
    return Plot(
        label="Fitness by generation, one step after the other: candidates, mean and best so far",
        x=Axis("generation, one step after the other", "{:g}".format, whole=True, span=(-0.6, drawn[-1].end - 0.4)),
        y=Axis("fitness", "{:.4g}".format, span=(low if floor is None else floor, high)),
        series=[
            Series("candidate", names[0], thinned(dots)),
            *_named(means, names[1]),
            *_named(bests, names[2]),
        ],
        seams=list(_seams(thinned(drawn, MOST_SEAMS), goals)),
    )


def _named(series: Sequence[Series], name: str) -> Iterator[Series]:
    """The first one that has points stands in the legend for all."""
    for one in series:
        named = name if one.points else ""
        yield Series(one.kind, named, one.points, one.line, one.shape)
        name = "" if named else name


def _seams(steps: Sequence[_Step], goals: Mapping[int, float | None]) -> Iterator[tuple[float, str]]:
    """Where steps begin, with what is new about each."""
    before = ""
    for step in steps:
        title = step_title(step.number, goals.get(step.number))
        yield step.start - 0.5, "" if title == before else title
        before = title


@dataclass(frozen=True)
class _Step:
    number: int
    start: int
    end: int
    dots: list[Point]
    mean: list[Point]
    best: list[Point]


def _steps(entries: Sequence[JournalEntry]) -> Iterator[_Step]:
    start = 0
    for number, mine in groupby(entries, key=lambda entry: entry.step):
        lines = list(mine)
        step = _alone(number, lines, start) if lines[0].history is not None else _together(number, lines, start)
        if step.end > start:
            yield step
            start = step.end


def _together(number: int, lines: list[JournalEntry], start: int) -> _Step:
    phases = [[one for one in phase if one.score is not None] for _, phase in groupby(lines, key=lambda one: one.phase)]
    scored = [(start + at, phase) for at, phase in enumerate(phases) if phase]
    dots = [
        Point(at, one.score or 0.0, f"candidate {one.index}\nfitness {one.score:.4f}")
        for at, phase in scored
        for one in phase
    ]
    highs = list(accumulate((max(one.score or 0.0 for one in phase) for _, phase in scored), max))
    means = [sum(one.score or 0.0 for one in phase) / len(phase) for _, phase in scored]
    best = [
        Point(at, high, f"step {number + 1}\nbest so far {high:.4f}")
        for (at, _), high in zip(scored, highs, strict=True)
    ]
    mean = [Point(at, value) for (at, _), value in zip(scored, means, strict=True)]
    return _Step(number, start, start + len(phases), dots, mean, best)


def _alone(number: int, lines: list[JournalEntry], start: int) -> _Step:
    """Layers that were searched by themselves: a dot for each and its generations, the best of them, and the mean."""
    histories = [[float(one["fitness"]) for one in line.history] for line in lines if line.history]
    longest = max(map(len, histories), default=0)
    full = [one + one[-1:] * (longest - len(one)) for one in histories]
    dots = [Point(start + at, value) for one in histories for at, value in enumerate(one)]
    columns = list(zip(*full, strict=True))
    mean = [Point(start + at, sum(column) / len(column)) for at, column in enumerate(columns)]
    best = [
        Point(start + at, max(column), f"step {number + 1}\nbest layer {max(column):.4f}")
        for at, column in enumerate(columns)
    ]
    return _Step(number, start, start + longest, dots, mean, best)
