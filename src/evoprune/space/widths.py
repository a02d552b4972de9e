"""The numbers of units that a group may keep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import UsageError
from evoprune.space.groups import Group

Counts = NDArray[np.int64]

_CHOICES: Final = 4
"""Widths, all included, that a narrow group is to have."""


class Widths:
    """Allowed widths of some groups: multiples of a step, and all.

    Args:
        groups: The groups.
        round_to: The kept channels of a group are a multiple of this, or all. In groups under twice as wide, which would hardly
            have a choice, it is halved until there are four.

    Raises:
        UsageError: `round_to` is below 1.
    """

    def __init__(self, groups: Sequence[Group], round_to: int) -> None:
        if round_to < 1:
            raise UsageError(f"round_to={round_to} must be at least 1")
        self.round_to: Final = round_to
        self.sizes: Counts = np.array([group.size for group in groups], dtype=np.int64)
        self.steps: Counts = np.array([_step(group, round_to) for group in groups], dtype=np.int64)
        self._groups = groups

    @property
    def choices(self) -> Counts:
        """[groups] number of widths that each group may have."""
        choices: Counts = -(-self.sizes // self.steps)
        return choices

    @property
    def least(self) -> Counts:
        """[groups] smallest widths."""
        least: Counts = np.minimum(self.steps, self.sizes)
        return least

    def of(self, numbers: Counts) -> Counts:
        """[..., groups] widths by their number, from 0 for the smallest; numbers beyond the last wrap around."""
        widths: Counts = np.minimum((numbers % self.choices + 1) * self.steps, self.sizes)
        return widths

    def numbers(self, widths: Counts) -> Counts:
        """[..., groups] numbers of allowed widths."""
        numbers: Counts = -(-widths // self.steps) - 1
        return numbers

    def below(self, wished: NDArray[np.float64]) -> Counts:
        """[..., groups] widest allowed ones that are not above the wished ones, the smallest where there is none."""
        floored = np.floor(wished / self.steps).astype(np.int64) * self.steps
        return np.where(wished >= self.sizes, self.sizes, np.clip(floored, self.least, self.sizes))

    def nearest(self, wished: NDArray[np.float64]) -> Counts:
        """[..., groups] allowed ones that are closest to the wished ones; of two as close, the wider."""
        lower = self.below(wished)
        upper = self.above(lower)
        return np.where(upper - wished <= wished - lower, upper, lower)

    def above(self, widths: Counts) -> Counts:
        """[..., groups] next wider ones; all where there is none."""
        wider: Counts = np.minimum((widths // self.steps + 1) * self.steps, self.sizes)
        return wider

    def finer(self) -> Iterator[Widths]:
        """The same with steps of half the size, again and again, down to single units."""
        step = self.round_to // 2
        while step >= 1:
            yield Widths(self._groups, step)
            step //= 2


def _step(group: Group, round_to: int) -> int:
    """Units that come and go together in a group."""
    channels = min((len(member.index) // group.size for member in group.members), default=1)
    step = round_to // math.gcd(round_to, channels)  # a unit may be a head of many channels
    if group.size < 2 * step:
        while group.size < _CHOICES * step and step > 1:
            step //= 2
    return step
