"""Scored candidates in order, the best first: by their fitness, or by the fronts that they form; and how far orders agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from evoprune.search.base import Scored

FEWEST_RANKED: Final = 4
"""Candidates in two orders that are compared."""


def by_fitness(scored: Sequence[Scored]) -> list[Scored]:
    """Least violation first, then the fitter; the earlier one of equals."""
    return sorted(scored, key=lambda one: (one.violation, -one.fitness))


def by_front(scored: Sequence[Scored]) -> list[Scored]:
    """Least violation first, then the better front, then the one with more room around it.

    Source:
        Deb et al. 2002, NSGA-II, sections III.A and III.B.
    """
    usable = [one for one in scored if one.violation == 0]
    others = by_fitness([one for one in scored if one.violation != 0])
    if not usable:
        return others
    costs = np.array([one.costs for one in usable], dtype=np.float64)
    fronts = front_numbers(costs)
    room = np.zeros(len(usable))
    for number in np.unique(fronts):
        members = np.flatnonzero(fronts == number)
        room[members] = crowding_distance(scaled(costs[members]))
    order = np.lexsort((-room, fronts))
    return [*(usable[place] for place in order), *others]


def scaled(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, objectives] costs -> the same, each from 0 to 1: by its logarithm where it is above 0 throughout.

    On a linear scale nearly all room of a front is among large networks and among useless ones, and none where the bend is.
    """
    positive = (costs > 0).all(axis=0)
    seen = np.where(positive, np.log(np.where(positive, costs, 1.0)), costs)
    lowest, span = seen.min(axis=0), np.ptp(seen, axis=0)
    found: NDArray[np.float64] = (seen - lowest) / np.where(span > 0, span, 1.0)
    return found


def front_numbers(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """[n, objectives] costs, lower is better -> [n] number of the front that each row is in, 0 for what no other row beats."""
    no_worse = np.all(costs[:, None] <= costs[None], axis=2)
    beats = no_worse & np.any(costs[:, None] < costs[None], axis=2)
    numbers = np.full(len(costs), -1, dtype=np.int64)
    number = 0
    while (numbers < 0).any():
        left = numbers < 0
        beaten = beats[left].any(axis=0)
        numbers[left & ~beaten] = number
        number += 1
    return numbers


def crowding_distance(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, objectives] costs of one front -> [n] gaps between a row's neighbours, summed over the objectives; inf at the ends."""
    distance = np.zeros(len(costs))
    for column in costs.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0 and len(costs) > 2:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance


def rank_correlation(
    before: Mapping[str, float], now: Mapping[str, float], *, fewest: int = FEWEST_RANKED
) -> float | None:
    """How far two orders of candidates agree, from -1 to 1, over the candidates that are in both.

    Args:
        before: Scores by digest.
        now: Later scores by digest.
        fewest: Candidates in both for which there is an answer.

    Returns:
        Spearman's coefficient; None where there are too few, or all score alike.
    """
    both = [digest for digest in now if digest in before]
    if len(both) < fewest:
        return None
    earlier, later = ([known[digest] for digest in both] for known in (before, now))
    if len(set(earlier)) == 1 or len(set(later)) == 1:
        return None
    found = float(spearmanr(earlier, later).statistic)
    return found if math.isfinite(found) else None
