"""Choosing units by a score: to a fraction of all units, or to a budget of MACs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoprune.errors import UsageError
from evoprune.space.cost_model import PlanCosts
from evoprune.space.groups import Group

Bits = NDArray[np.bool_]
MacsOf = Callable[[Bits], NDArray[np.int64]]
"""[population, size] choices -> [population] MACs."""

SCOPES = ("global", "uniform")

_CLOSE = 0.005
"""How far below the budget a choice may end before single units are exchanged, as a fraction of it."""

_MOST_EXCHANGES = 100

_MOST_STARTS = 12
"""Of each kind that are filled up until one comes close."""

_MOST_AT_ONCE = 3
"""Units of one group that an exchange moves."""

_MOST_BITS = 50_000_000
"""Bits in all the exchanges that are compared at once."""


def choose(
    groups: Sequence[Group],
    score: ArrayLike,
    cost: Callable[[Bits], PlanCosts],
    *,
    keep: float | None,
    macs: float | None,
    scope: str,
) -> Bits:
    """The bits of `PruningSpace.plan_by_importance`: [size] bool.

    Raises:
        UsageError: The score doesn't fit, both or none of the targets are given, or the target can't be reached.
    """
    ranking = Ranking(groups, score, scope)
    if keep is not None and macs is None:
        return ranking.fraction(keep)
    if macs is None or keep is not None:
        raise UsageError("give either keep= or macs=")
    if not macs > 0:
        raise UsageError(f"macs={macs} is not above 0")
    dense = int(cost(np.ones(groups[-1].stop if groups else 0, dtype=np.bool_)).macs)
    return ranking.budget(macs * dense if macs <= 1 else macs, lambda bits: cost(bits).macs)


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
        least = int(macs_of(self._first(len(self._groups))[None])[0])
        if least > macs:
            raise UsageError(f"{macs:,.0f} MACs can't be reached: with one unit in every group {least:,} are left")
        best, reached = self._first(len(self._groups)), 0
        for start in self._starts(macs, macs_of):
            bits = self._filled(start, macs, macs_of)
            found = int(macs_of(bits[None])[0])
            if found > reached:
                best, reached = bits, found
            if reached >= (1 - _CLOSE) * macs:
                break
        return best

    def _starts(self, macs: float, macs_of: MacsOf) -> Iterator[Bits]:
        """Choices within the budget to fill up: the longest beginning of the order, then others for nets of few, costly units."""
        fewest, longest = len(self._groups), self._longest(self._order, macs, macs_of)
        for shorter in range(min(_MOST_STARTS, longest - fewest + 1)):
            yield self._first(longest - shorter)
        if self._uniform:
            return
        for unit in self._order[longest : longest + _MOST_STARTS]:
            promoted = np.insert(self._order[self._order != unit], fewest, unit)
            bits = np.zeros(len(promoted), dtype=np.bool_)
            bits[promoted[: self._longest(promoted, macs, macs_of)]] = True
            yield bits

    def _longest(self, order: NDArray[np.int64], macs: float, macs_of: MacsOf) -> int:
        """How many units from the beginning of `order` are within the budget, one per group at least."""
        low, high = len(self._groups), len(order) + 1
        while high - low > 1:
            middle = (low + high) // 2
            bits = np.zeros((1, len(order)), dtype=np.bool_)
            bits[0, order[:middle]] = True
            low, high = (middle, high) if macs_of(bits)[0] <= macs else (low, middle)
        return low

    def _first(self, count: int) -> Bits:
        bits = np.zeros(len(self._order), dtype=np.bool_)
        bits[self._order[:count]] = True
        return bits

    def _filled(self, start: Bits, budget: float, macs_of: MacsOf) -> Bits:
        """Add units that still fit, best first; where none does, exchange some for others that bring the choice closer."""
        bits, now = start, int(macs_of(start[None])[0])
        for _ in range(_MOST_EXCHANGES):
            if now >= (1 - _CLOSE) * budget:
                break
            added, removed = self._moves(bits, start, keep=True), self._moves(bits, start, keep=False)
            few = max(1, _MOST_BITS // max(1, len(added) * len(bits)))
            pairs = [
                out + into for out in removed[:few] for into in added if self._owner[out[0]] != self._owner[into[0]]
            ]
            for choices in (added, pairs):
                options = _flipped(bits, choices)
                costs = macs_of(options)
                better = np.where((costs <= budget) & (costs > now), costs, 0)
                if better.any():
                    close = np.flatnonzero(better >= (1 - _CLOSE) * budget)
                    best = close[0] if close.size else better.argmax()
                    bits, now = options[best], int(costs[best])
                    break
            else:
                break
        return bits

    def _moves(self, bits: Bits, start: Bits, *, keep: bool) -> list[list[int]]:
        """Per group the next units to come, or the next to go: one, two, ... of them, those first that hurt least.

        With a uniform scope no group moves more than one unit away from where it started.
        """
        order = self._order if keep else self._order[: len(self._groups) - 1 : -1]
        change = np.bincount(self._owner, weights=bits.astype(np.int64) - start, minlength=len(self._groups))
        found: list[list[list[int]]] = [[] for _ in range(_MOST_AT_ONCE)]
        own: dict[int, list[int]] = {}
        for unit in order[bits[order] != keep].tolist():
            group = int(self._owner[unit])
            before = own.setdefault(group, [])
            moved = change[group] + (len(before) + 1) * (1 if keep else -1)
            if len(before) < _MOST_AT_ONCE and not (self._uniform and abs(moved) > 1):
                found[len(before)].append([*before, unit])
                before.append(unit)
        return [move for moves in found for move in moves]


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
