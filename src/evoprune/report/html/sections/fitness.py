"""Fitness and hypervolume by generation, of a run that removes channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evoprune.report.front_table import has_wide_front
from evoprune.report.generations import (
    Generation,
    best_so_far,
    by_generation,
    rank_correlations,
    ruins_below,
)
from evoprune.report.html.charts.plot import Axis, Chart, Plot, Point, Series, chart_of
from evoprune.report.html.charts.scale import span_of
from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.sections.thinned import left_out, thinned
from evoprune.report.html.wording import RHO, TIMES, counted, shown
from evoprune.store.journal import JournalEntry


@dataclass(frozen=True)
class Fitness:
    """The charts, and what to know about them; `hypervolume` is None where there is no front to speak of."""

    chart: Chart
    hypervolume: Chart | None
    notes: tuple[str, ...]


def fitness_of(facts: RunFacts) -> Section | None:
    """The course of a search by generation."""
    generations = [one for one in by_generation(facts.entries) if one.fitness]
    if not generations:
        return None
    scored = [one for one in facts.entries if one.score is not None]
    floor = ruins_below([one.score or 0.0 for one in scored])
    correlations = rank_correlations(facts.entries)
    plot = _plot(facts, generations, scored, floor, correlations)
    below = 0 if floor is None else sum((one.score or 0.0) < floor for one in scored)
    notes = [
        left_out(scored),
        f"{counted(below, 'candidate')} below the picture." if below else "",
        f"{RHO} below the axis: how far the ranks of candidates that went on agree with those on the rung before, at most 1."
        if correlations
        else "",
        "Later generations train for longer, so that their fitness is higher for that reason as well."
        if any(one.evaluation.rung for one in scored)
        else "",
    ]
    return Section(
        "fitness",
        "Fitness by generation",
        Fitness(chart_of(plot), _hypervolume(facts), tuple(filter(None, notes))),
        "fitness",
    )


def _plot(
    facts: RunFacts,
    generations: Sequence[Generation],
    scored: Sequence[JournalEntry],
    floor: float | None,
    correlations: dict[int, float],
) -> Plot:
    series = [
        Series("candidate", "one candidate", [_dot(one) for one in thinned(scored)]),
        Series("mean", "mean", list(map(_mean, generations)), line="straight", shape="square"),
        _criterion(facts),
        Series("best", "best of the generation", [_best(facts, one) for one in generations], line="straight"),
        Series("so-far", "best so far", _best_so_far(generations), line="step", shape=""),
    ]
    seen = [point.y for one in series for point in one.points if floor is None or point.y >= floor]
    low, high = span_of(seen)
    span = (low if floor is None else min(low, floor), high)
    last = generations[-1].number
    return Plot(
        label=f"Fitness over {counted(len(generations), 'generation')}: candidates, mean, best and best so far",
        x=Axis("generation", lambda value: f"{value:g}", whole=True, span=(generations[0].number - 0.4, last + 0.4)),
        y=Axis("fitness", lambda value: f"{value:.4g}", span=span),
        series=series,
        notes=[(number, f"{RHO} {value:.2f}") for number, value in correlations.items()],
    )


def _dot(entry: JournalEntry) -> Point:
    return Point(entry.generation, entry.score or 0.0, f"candidate {entry.index}\nfitness {entry.score:.4f}")


def _mean(generation: Generation) -> Point:
    mean = sum(generation.fitness) / len(generation.fitness)
    return Point(generation.number, mean, f"generation {generation.number}\nmean {mean:.4f}")


def _best(facts: RunFacts, generation: Generation) -> Point:
    known = facts.history.generations.get(generation.number)
    noise = "" if known is None or known.noise is None else f" ± {known.noise:.2g}"
    best, count = max(generation.fitness), counted(len(generation.fitness), "candidate")
    return Point(generation.number, best, f"generation {generation.number}\nbest {best:.4f}{noise}\n{count}")


def _best_so_far(generations: Sequence[Generation]) -> list[Point]:
    pairs = zip(generations, best_so_far(generations), strict=True)
    return [Point(one.number, best) for one, best in pairs]


def _criterion(facts: RunFacts) -> Series:
    rival = facts.comparison.criterion
    if rival is None or rival.model.genome is None:
        return Series("criterion", "", [])
    followed = [one for one in facts.entries if one.evaluation.genome == rival.model.genome and one.score is not None]
    name = shown(rival.name)
    points = [
        Point(one.generation, one.score or 0.0, f"{name}\ngeneration {one.generation}\nfitness {one.score:.4f}")
        for one in followed
    ]
    return Series(
        "criterion", f"best criterion's cut ({name}), trained alike", points, line="straight", shape="triangle"
    )


def _hypervolume(facts: RunFacts) -> Chart | None:
    values = [
        (number, one.hypervolume) for number, one in facts.history.generations.items() if one.hypervolume is not None
    ]
    if len(values) < 2 or not has_wide_front(facts.comparison):
        return None
    points = [Point(number, value, f"generation {number}\nhypervolume {value:.4g}") for number, value in values]
    return chart_of(
        Plot(
            label="Hypervolume of the front by generation",
            x=Axis(
                "generation", lambda value: f"{value:g}", whole=True, span=(values[0][0] - 0.4, values[-1][0] + 0.4)
            ),
            y=Axis(f"hypervolume, {TIMES} the box of generation 0", lambda value: f"{value:.4g}"),
            series=[Series("best", "", points, line="straight", shape="diamond")],
            short=True,
        )
    )
