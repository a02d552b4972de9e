"""What the run was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import counted, listed, seconds_text, shown, title_of


def asked_of(facts: RunFacts) -> Section | None:
    """Settings that decide the result, as pairs of name and value."""
    if not facts.manifest.identity:
        return None
    rows = [*_goal(facts), *(_masks(facts) if facts.comparison.steps is not None else _channels(facts)), *_rest(facts)]
    return Section("asked", "What was asked", [(name, shown(text, 400)) for name, text in rows], "asked")


def _goal(facts: RunFacts) -> Iterator[tuple[str, str]]:
    yield "Network", facts.recipe or "given in Python"
    constraints = facts.setting("search.constraints", [])
    masked = facts.comparison.steps is not None
    objectives = facts.comparison.objectives
    free = "none: a front to choose from" if len(objectives) > 1 else "none"
    if constraints or not masked:
        yield "Bounds", listed(list(map(str, constraints))) if constraints else free
    if objectives:
        metric = facts.comparison.metric
        yield "Objectives", listed([title_of(one, metric) for one in objectives])
    for key, label in (("search.layers", "Only these layers"), ("search.exclude", "Left alone")):
        names = facts.setting(key, [])
        if names:
            yield label, ", ".join(map(str, names))


def _channels(facts: RunFacts) -> Iterator[tuple[str, str]]:
    yield "Genome", str(facts.setting("search.encoding", "-"))
    generations = len({one.generation for one in facts.entries})
    yield (
        "Search",
        f"{counted(len(facts.entries), 'evaluation')} in {counted(generations, 'generation')}, asked for {_ga(facts)}",
    )
    seeding = facts.setting("search.seeding")
    if seeding is not None:
        yield "First generation", "cuts of classic criteria" if seeding == "criteria" else f"{seeding}"


def _masks(facts: RunFacts) -> Iterator[tuple[str, str]]:
    yield "Genome", str(facts.setting("search.encoding", "-"))
    goals = facts.setting("masks.goals", [])
    if goals:
        yield (
            "Sparsity goals",
            ", ".join(f"{100 * goal:.4g} %" if isinstance(goal, float) else str(goal) for goal in goals),
        )
    yield (
        "Layers",
        {"whole": "all together", "layers": "one after the other", "independent": "each by itself"}.get(
            str(facts.setting("masks.mode", "whole")), str(facts.setting("masks.mode"))
        ),
    )
    yield "Structure", str(facts.setting("masks.structure", "-"))
    yield "Search", f"{counted(len(facts.entries), 'journal line')}, asked for {_ga(facts)}"


def _ga(facts: RunFacts) -> str:
    ga = facts.setting("ga", {})
    ga = ga if isinstance(ga, Mapping) else {}
    return f"a population of {ga.get('pop_size', '-')} over {ga.get('num_generations', '-')} generations"


def _rest(facts: RunFacts) -> Iterator[tuple[str, str]]:
    budget = facts.setting("run.time_budget")
    if isinstance(budget, int | float):
        yield "Time budget", seconds_text(float(budget))
    elif budget is not None:
        yield "Time budget", str(budget)
    yield "Seed", str(facts.setting("run.seed", "-"))
