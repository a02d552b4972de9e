"""Choosing units by a score: to a fraction of all units, or to a budget of MACs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoprune.errors import UsageError

if TYPE_CHECKING:
    from evoprune.space.pruning_space import Group, PruningSpace

Bits = NDArray[np.bool_]
MacsOf = Callable[[Bits], NDArray[np.int64]]
"""[population, size] choices -> [population] MACs."""

SCOPES = ("global", "uniform")

_CLOSE = 0.005
"""How far below the budget a choice may end before single units are exchanged, as a fraction of it."""

_MOST_EXCHANGES = 100


def choose(space: PruningSpace, score: ArrayLike, *, keep: float | None, macs: float | None, scope: str) -> Bits:
    """The bits of `PruningSpace.plan_by_importance`: [size] bool.

    Raises:
        UsageError: The score doesn't fit, both or none of the targets are given, or the target can't be reached.
    """
    ranking = Ranking(space.groups, score, scope)
    if keep is not None and macs is None:
        return ranking.fraction(keep)
    if macs is None or keep is not None:
        raise UsageError("give either keep= or macs=")
    if not macs > 0:
        raise UsageError(f"macs={macs} is not above 0")
    dense = int(space.cost(np.ones(space.size, dtype=np.bool_)).macs)
    return ranking.budget(macs * dense if macs <= 1 else macs, lambda bits: space.cost(bits).macs)


class Ranking:
    """Units in the order in which they are kept: the best of each group first, since one has to stay, then the others.

    Args:
        groups: All groups of a space.
        score: [size] one finite number per unit; higher stays longer.
        scope: `global` ranks the units of all groups against each other; `uniform` ranks them within their group, and keeps the
            same fraction of every group, to the nearest unit.

    Raises:
        UsageError: The score has another shape or isn't a number somewhere, or the scope is unknown.
    """

    def __init__(self, groups: Sequence[Group], score: ArrayLike, scope: str) -> None:
        size = groups[-1].stop if groups else 0
        values = np.asarray(score, dtype=np.float64)
        if values.shape != (size,):
            raise UsageError(f"the score needs one number for each of {size} units, not the shape {list(values.shape)}")
        if np.isnan(values).any():
            raise UsageError("the score is not a number for some units")
        if scope not in SCOPES:
            raise UsageError(f"scope={scope!r} is not one of {', '.join(SCOPES)}")
        self._groups, self._uniform = groups, scope == "uniform"
        self._owner = np.repeat(np.arange(len(groups)), [group.size for group in groups])
        place = _places_within(groups, values)
        first = place == 0
        sizes = np.array([group.size for group in groups])[self._owner] if groups else np.zeros(0)
        priority = -(place + 0.5) / sizes if self._uniform else values
        # Stable, and by place where scores are equal: the same order on every machine.
        self._order = np.lexsort((np.arange(size), place, -priority, ~first))

    def fraction(self, keep: float) -> Bits:
        """The choice that keeps a fraction of all units, or of every group's, rounded, and at least one of each.

        Raises:
            UsageError: `keep` is not above 0 and at most 1.
        """
        if not 0 < keep <= 1:
            raise UsageError(f"keep={keep} is not a fraction above 0 and at most 1")
        if not self._uniform:
            return self._first(max(len(self._groups), round(keep * len(self._order))))
        bits = np.zeros(len(self._order), dtype=np.bool_)
        for number, group in enumerate(self._groups):
            own = self._order[self._owner[self._order] == number]
            bits[own[: max(1, round(keep * group.size))]] = True
        return bits

    def budget(self, macs: float, macs_of: MacsOf) -> Bits:
        """The choice that comes closest to so many MACs from below: the longest beginning of the order, then single units.

        Raises:
            UsageError: Not even one unit per group is within the budget.
        """
        low, high = len(self._groups), len(self._order) + 1
        least = int(macs_of(self._first(low)[None])[0])
        if least > macs:
            raise UsageError(f"{macs:,.0f} MACs can't be reached: with one unit in every group {least:,} are left")
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if macs_of(self._first(middle)[None])[0] <= macs else (low, middle)
        return self._filled(self._first(low), macs, macs_of)

    def _first(self, count: int) -> Bits:
        bits = np.zeros(len(self._order), dtype=np.bool_)
        bits[self._order[:count]] = True
        return bits

    def _filled(self, start: Bits, budget: float, macs_of: MacsOf) -> Bits:
        """Add units that still fit, best first; where none does, exchange one for another that brings the choice closer."""
        bits, now = start, int(macs_of(start[None])[0])
        for _ in range(_MOST_EXCHANGES):
            if now >= (1 - _CLOSE) * budget:
                break
            added, removed = self._next(bits, start, keep=True), self._next(bits, start, keep=False)
            options = _flipped(bits, [[unit] for unit in added])
            costs = macs_of(options)
            fitting = np.flatnonzero(costs <= budget)[:1]
            if not fitting.size:
                pairs = [[one, two] for one in removed for two in added if self._owner[one] != self._owner[two]]
                options = _flipped(bits, pairs)
                costs = macs_of(options)
                gains = np.where(costs <= budget, costs, -1)
                fitting = np.flatnonzero(gains == gains.max())[:1] if len(gains) and gains.max() > now else fitting
            if not fitting.size:
                break
            bits, now = options[fitting[0]], int(costs[fitting[0]])
        return bits

    def _next(self, bits: Bits, start: Bits, *, keep: bool) -> list[int]:
        """Per group the next unit to come, or the next to go, in the order in which that hurts least.

        With a uniform scope no group moves more than one unit away from where it started.
        """
        order = self._order if keep else self._order[: len(self._groups) - 1 : -1]
        change = np.bincount(self._owner, weights=bits.astype(np.int64) - start, minlength=len(self._groups))
        found: dict[int, int] = {}
        for unit in order[bits[order] != keep].tolist():
            group = int(self._owner[unit])
            if not self._uniform or abs(change[group] + (1 if keep else -1)) <= 1:
                found.setdefault(group, unit)
        return list(found.values())


def _places_within(groups: Sequence[Group], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """[size] rank of each unit within its group, 0 for the best."""
    place = np.zeros(len(values), dtype=np.int64)
    for group in groups:
        own = np.argsort(-values[group.start : group.stop], kind="stable")
        place[group.start + own] = np.arange(group.size)
    return place


def _flipped(bits: Bits, choices: list[list[int]]) -> Bits:
    """[choices, size]: `bits` with some units flipped in each row."""
    rows = np.repeat(bits[None], len(choices), axis=0)
    for row, units in zip(rows, choices, strict=True):
        row[units] ^= True
    return rows
