"""What sparsity cost a run of weight masks, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from evoprune.report.html.charts.plot import Axis, Chart, Plot, Point, Rule, Series, chart_of
from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.sections.thinned import thinned
from evoprune.report.html.wording import counted, shown
from evoprune.store.comparison import FinishedStep

MOST_STEPS: Final = 400


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
