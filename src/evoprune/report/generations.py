"""A journal generation by generation: fitness, the best so far, how far ranks last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Final

from evoprune.search.ranking import rank_correlation
from evoprune.store.journal import JournalEntry

FEWEST_DOTS: Final = 20
"""Candidates of which some may be left out of a picture."""


@dataclass(frozen=True)
class Generation:
    """Fitness of the candidates of one generation that were scored; empty when none was."""

    number: int
    fitness: Sequence[float]


def by_generation(entries: Sequence[JournalEntry]) -> list[Generation]:
    """Fitness per generation, in order."""
    grouped: dict[int, list[float]] = defaultdict(list)
    for entry in entries:
        fitness = grouped[entry.generation]
        if entry.score is not None:
            fitness.append(entry.score)
    return [Generation(number, grouped[number]) for number in sorted(grouped)]


def best_so_far(generations: Sequence[Generation]) -> list[float]:
    """The highest fitness up to each generation; all of them have candidates that were scored."""
    return list(accumulate((max(one.fitness) for one in generations), max))


def rank_correlations(entries: Sequence[JournalEntry]) -> dict[int, float]:
    """How far the ranks of each generation agree with the latest ones before, over the candidates that were scored in both.

    Only where candidates are scored again, as on a ladder, is there anything to compare.
    """
    latest: dict[str, float] = {}
    found: dict[int, float] = {}
    scored = [entry for entry in entries if entry.score is not None]
    for number, mine in groupby(scored, key=lambda entry: entry.generation):
        now = {entry.evaluation.genome: entry.score or 0.0 for entry in mine}
        agreement = rank_correlation(latest, now)
        if agreement is not None:
            found[number] = agreement
        latest |= now
    return found


def ruins_below(fitness: Sequence[float]) -> float | None:
    """Where a picture ends if a few ruined candidates would flatten all others; None where it shows them all."""
    ranked = sorted(fitness)
    if len(ranked) < FEWEST_DOTS:
        return None
    lowest, highest = ranked[len(ranked) // 10], ranked[-1]
    floor = lowest - 0.15 * (highest - lowest)
    return None if ranked[0] >= floor else floor
