"""Cost and time, by stage."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import STAGES, counted, seconds_text, shown


@dataclass(frozen=True)
class StageRow:
    """A stage: its name, its length in per cent of the longest, and its seconds in words."""

    name: str
    length: float
    wall: str
    cpu: str
    share: str


@dataclass(frozen=True)
class Cost:
    """What the section shows."""

    lead: str
    stages: tuple[StageRow, ...]
    decisions: tuple[str, ...]


def cost_of(facts: RunFacts) -> Section | None:
    """Seconds by stage; None where the run has no events."""
    history = facts.history
    if not history.stages:
        return None
    longest = max(one.wall_s for one in history.stages) or 1.0
    total = sum(one.wall_s for one in history.stages) or 1.0
    rows = tuple(
        StageRow(
            name=STAGES.get(one.name, shown(one.name)) + (f" ({one.times} times)" if one.times > 1 else ""),
            length=round(100 * one.wall_s / longest, 2),
            wall=seconds_text(one.wall_s),
            cpu=seconds_text(one.cpu_s),
            share=f"{100 * one.wall_s / total:.0f} %" if one.wall_s > 0.005 * total else "< 1 %",
        )
        for one in history.stages
    )
    return Section(
        "cost",
        "Cost and time",
        Cost(_lead(facts, total), rows, tuple(shown(one, 300) for one in history.decisions)),
        "cost",
    )


def _lead(facts: RunFacts, total: float) -> str:
    history = facts.history
    whole = history.wall_s if history.wall_s is not None and history.starts <= 1 else total
    cpu = sum(one.cpu_s for one in history.stages)
    lead = f"The run took {seconds_text(whole)}, and {seconds_text(cpu)} of CPU time"
    if history.starts > 1:
        lead += f", in {counted(history.starts, 'process', 'processes')}"
    if history.candidate_s:
        median = seconds_text(statistics.median(history.candidate_s))
        lead += f"; a candidate took {median} (median of {len(history.candidate_s):,})"
    return f"{lead}."
