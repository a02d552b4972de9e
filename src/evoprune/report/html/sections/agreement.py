"""Which genes the best candidates agree on: widths by group, and the criterion that chooses the units."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Final

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.bars import MOST_BARS
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import counted, shown
from evoprune.results import Status
from evoprune.store.widths import NetworkWidths, Widths

TOP: Final = 10
FEWEST: Final = 3
"""Candidates of whom it can be said that they agree."""


@dataclass(frozen=True)
class Gene:
    """What the best have of one group; lengths are in per cent of its units.

    Attributes:
        name: Name of the group.
        low: Narrowest width.
        high: Widest width.
        median: Width in the middle.
        winner: The finished network's width.
        widths: `8 to 16 of 32`.
        criteria: How many use which criterion, the most frequent first; empty where genomes have none.
    """

    name: str
    low: float
    high: float
    median: float
    winner: float | None
    widths: str
    criteria: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Agreement:
    """The genes, and how many candidates are compared."""

    genes: tuple[Gene, ...]
    count: int
    has_criteria: bool
    lead: str


def agreement_of(facts: RunFacts) -> Section | None:
    """The genes of the fittest candidates, the further trained ones first."""
    widths = facts.widths
    if widths is None:
        return None
    best = _fittest(facts, widths)
    if len(best) < FEWEST:
        return None
    winner = widths.networks.get(facts.comparison.pruned.genome or "")
    genes = tuple(_gene(number, widths, best, winner) for number in range(len(widths.groups)))[:MOST_BARS]
    agreed = sum(one.low == one.high for one in genes)
    lead = (
        f"The {len(best)} best candidates have the same width in {agreed or 'none'} of {counted(len(genes), 'group')}"
    )
    criteria = bool(best[0].criteria)
    if criteria:
        alike = sum(len(one.criteria) == 1 for one in genes)
        lead += f", and units chosen by the same criterion in {alike or 'none'}"
    return Section("genes", "What the best agree on", Agreement(genes, len(best), criteria, f"{lead}."), "genes")


def _fittest(facts: RunFacts, widths: Widths) -> list[NetworkWidths]:
    usable = [one for one in facts.entries if one.evaluation.status is Status.OK and one.fitness is not None]
    ranked = sorted(usable, key=lambda one: (one.evaluation.rung, one.fitness or 0.0), reverse=True)
    genomes = dict.fromkeys(one.evaluation.genome for one in ranked)
    return [widths.networks[genome] for genome in genomes if genome in widths.networks][:TOP]


def _gene(number: int, widths: Widths, best: list[NetworkWidths], winner: NetworkWidths | None) -> Gene:
    group = widths.groups[number]
    theirs = [one.widths[number] for one in best]
    low, high = min(theirs), max(theirs)
    counts = Counter(shown(one.criteria[number]) for one in best if one.criteria)

    def share(width: float) -> float:
        return round(100 * width / group.size, 2)

    return Gene(
        name=shown(group.name),
        low=share(low),
        high=share(high),
        median=share(statistics.median(theirs)),
        winner=None if winner is None else share(winner.widths[number]),
        widths=f"{low:,} of {group.size:,}" if low == high else f"{low:,} to {high:,} of {group.size:,}",
        criteria=tuple(sorted(counts.items(), key=lambda one: (-one[1], one[0]))),
    )
