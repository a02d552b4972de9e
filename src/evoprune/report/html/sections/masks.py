"""How a run of weight masks went: sparsity against the metric, and fitness step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Final

from evoprune.report.courses import step_title
from evoprune.report.generations import ruins_below
from evoprune.report.html.charts.plot import Axis, Chart, Plot, Point, Rule, Series, chart_of
from evoprune.report.html.charts.scale import span_of
from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.sections.thinned import left_out, thinned
from evoprune.report.html.wording import counted, shown
from evoprune.store.comparison import FinishedStep
from evoprune.store.journal import JournalEntry

MOST_STEPS: Final = 400
MOST_SEAMS: Final = 24
MOST_MARKS: Final = 200
"""Generations whose best are marked one by one."""


@dataclass(frozen=True)
class Course:
    """A chart, and what to know about it."""

    chart: Chart
    lead: str
    notes: tuple[str, ...]


def sparsity_of(facts: RunFacts) -> Section | None:
    """The metric on test against what is left of the weights, step by step."""
    steps = facts.comparison.steps
    if not steps:
        return None
    comparison, metric = facts.comparison, facts.comparison.metric
    baseline = comparison.baseline.accuracy
    judged = [one for one in steps if one.accuracy is not None and one.record.sparsity < 1]
    points = [Point(_left(one), one.accuracy or 0.0, _tip(facts, one)) for one in thinned(judged, MOST_STEPS)]
    final = _final(facts)
    if not points and not final:
        return None
    dense = Point(100.0, baseline, f"dense network\n{metric.text(baseline)}")
    plot = Plot(
        label=f"Test {shown(metric.name)} against the share of weights that stay, step by step",
        x=Axis("weights that stay, logarithmic", lambda value: f"{value:.4g} %", log=True, reverse=True),
        y=Axis(f"test {shown(metric.name)}", _writer(facts)),
        series=[
            Series("best", "after each step, retrained", [dense, *points], line="straight"),
            Series("chosen", "finished network", final, shape="star"),
        ],
        rules=[Rule("dense", "dense network", baseline)],
    )
    lead = f"{counted(len(steps), 'step')}, each searched, masked and retrained before the next."
    return Section(
        "sparsity", f"Sparsity and {shown(metric.name)}", Course(chart_of(plot), lead, _dropped(facts)), "course"
    )


def _final(facts: RunFacts) -> list[Point]:
    comparison = facts.comparison
    sparsity, judged = comparison.pruned.figures.get("sparsity"), comparison.metric.text(comparison.pruned.accuracy)
    if sparsity is None or sparsity >= 1:
        return []
    tip = f"finished network\n{100 * sparsity:.2f} % sparse\n{judged}"
    return [Point(100 * (1 - sparsity), comparison.pruned.accuracy, tip)]


def _left(step: FinishedStep) -> float:
    return 100 * (1 - step.record.sparsity)


def _writer(facts: RunFacts) -> Callable[[float], str]:
    in_percent = facts.comparison.metric.in_percent
    return lambda value: f"{100 * value:.4g} %" if in_percent else f"{value:.4g}"


def _tip(facts: RunFacts, step: FinishedStep) -> str:
    metric, record = facts.comparison.metric, step.record
    layers = ", ".join(map(shown, record.layers[:3])) + (" …" if len(record.layers) > 3 else "")
    return (
        f"step {record.step + 1}: {layers}\n{100 * record.sparsity:.2f} % sparse\ntest {metric.text(step.accuracy or 0.0)}\n"
        f"select {metric.text(record.select_accuracy_before)} before, {metric.text(record.select_accuracy)} after retraining"
    )


def _dropped(facts: RunFacts) -> tuple[str, ...]:
    lost = [one for one in facts.comparison.steps or () if not one.record.taken]
    return (f"Step {lost[-1].record.step + 1} cost too much and was not taken.",) if lost else ()


def steps_of(facts: RunFacts) -> Section | None:
    """Fitness by generation, one step after the other."""
    if facts.comparison.steps is None:
        return None
    drawn = list(_steps(facts.entries))
    best = [point for step in drawn for point in step.best]
    if not best:
        return None
    dots = [point for step in drawn for point in step.dots]
    floor = ruins_below([one.y for one in dots])
    low, high = span_of([one.y for one in [*best, *dots] if floor is None or one.y >= floor])
    goals = {one.record.step: one.record.goal for one in facts.comparison.steps}
    below = 0 if floor is None else sum(one.y < floor for one in dots)
    end, dotted = max(step.end for step in drawn), len(best) <= MOST_MARKS
    plot = Plot(
        label="Fitness by generation, one step after the other: candidates, mean and best so far",
        x=Axis("generation, one step after the other", lambda value: f"{value:g}", whole=True, span=(-0.6, end - 0.4)),
        y=Axis("fitness", lambda value: f"{value:.4g}", span=(low if floor is None else floor, high)),
        series=[
            Series("candidate", "one candidate", thinned(dots)),
            *(_mean(step, label="mean of the generation" if step is drawn[0] else "") for step in drawn),
            *(
                _best(step, label="best of the step so far" if step is drawn[0] else "", dotted=dotted)
                for step in drawn
            ),
        ],
        seams=[
            (step.start - 0.5, step_title(step.number, goals.get(step.number))) for step in thinned(drawn, MOST_SEAMS)
        ],
    )
    notes = (left_out(dots), f"{counted(below, 'candidate')} below the picture." if below else "")
    lead = (
        "Each step begins from the weights that the one before has left, so that only candidates of one step compare."
    )
    return Section(
        "fitness", "Fitness by generation", Course(chart_of(plot), lead, tuple(filter(None, notes))), "course"
    )


def _mean(step: _Step, *, label: str) -> Series:
    return Series("mean", label, step.mean, line="straight", shape="")


def _best(step: _Step, *, label: str, dotted: bool) -> Series:
    return Series("best", label, step.best, line="straight", shape="circle" if dotted else "")


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
