"""Widths brought onto a budget: scaled together, then filled up."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import UsageError
from evoprune.space.budget import Budget
from evoprune.space.widths import Counts, Widths

Bits = NDArray[np.bool_]
Ranks = NDArray[np.int32]

_SCALES: Final = 24
"""Scales that are tried at once."""
_ROUNDS: Final = 3
"""Each narrows the range of scales to one of its parts."""


class Projection:
    """Chooses widths within a budget, and units for them.

    The units of a group are kept in the order of their ranks, so that a narrower group keeps a part of what a wider one keeps.

    Args:
        size: Number of units in the space.
        positions: [n] positions of the units that may go, group after group; all others stay.
        widths: Allowed widths of these groups.
        budget: Limits; none for any widths.
    """

    def __init__(self, size: int, positions: Counts, widths: Widths, budget: Budget) -> None:
        self._size, self._positions = size, positions
        self._owner = np.repeat(np.arange(len(widths.sizes)), widths.sizes)
        self.widths: Final = widths
        self.budget: Final = budget

    def bits(self, widths: Counts, ranks: Ranks) -> Bits:
        """The units that stay.

        Args:
            widths: [..., groups] number of units that each group keeps.
            ranks: [n] place of each unit in its group, 0 for the one that stays longest.

        Returns:
            [..., n] bool.
        """
        kept: Bits = ranks < widths[..., self._owner]
        return kept

    def whole(self, bits: Bits) -> Bits:
        """[..., n] bits of the groups that may be pruned -> [..., size] bits of the whole space."""
        keep = np.ones((*bits.shape[:-1], self._size), dtype=np.bool_)
        keep[..., self._positions] = bits
        return keep

    def project(self, wished: NDArray[np.float64], ranks: Ranks, *, fill: bool) -> Counts:
        """Allowed widths that keep the budget, as close to the proportions of the wished ones as their steps allow.

        Args:
            wished: [groups] widths above 0.
            ranks: As for `bits`.
            fill: Whether what the budget has left is used up; otherwise widths that keep it are only rounded.

        Returns:
            [groups] widths. With `fill`, no group could be one step wider.
        """
        nearest = self.widths.nearest(wished)
        if not self.budget or (not fill and self._keep(nearest[None], ranks)[0]):
            return nearest
        return self._filled(self._scaled(wished, ranks), wished, ranks)

    def reachable(self, ranks: Ranks) -> bool:
        """Whether the smallest widths keep the budget."""
        return not self.budget or bool(self._keep(self.widths.least[None], ranks)[0])

    def check(self, ranks: Ranks) -> None:
        """See that the budget can be kept.

        Raises:
            UsageError: Not even the smallest widths keep it; says what they cost.
        """
        if self.reachable(ranks):
            return
        broken = self.budget.broken_by(self.whole(self.bits(self.widths.least[None], ranks))[0])
        listed = ", ".join(
            f"{name}<={self.budget.limits[name]:,.4g} ({value:,.6g} at least)" for name, value in broken.items()
        )
        raise UsageError(
            f"no choice of widths keeps {listed}",
            "raise the bound to that, or prune more layers (search.layers, search.layer_types, search.exclude)",
        )

    def _scaled(self, wished: NDArray[np.float64], ranks: Ranks) -> Counts:
        """The widest multiple of the wished widths within the budget, by ever closer scales."""
        low = float(np.min(self.widths.least / wished)) / 2
        high = float(np.max(self.widths.sizes / wished))
        best: Counts = self.widths.least
        for _ in range(_ROUNDS):
            scales = np.geomspace(low, high, _SCALES)
            rows = self.widths.below(scales[:, None] * wished)
            kept = np.flatnonzero(self._keep(rows, ranks))
            if kept.size == 0:
                return best
            best, last = rows[kept[-1]], int(kept[-1])
            if last == _SCALES - 1:
                return best
            low, high = float(scales[last]), float(scales[last + 1])
        return best

    def _filled(self, widths: Counts, wished: NDArray[np.float64], ranks: Ranks) -> Counts:
        """Add steps where the wish is furthest from fulfilled, for as long as one fits (d'Hondt's method)."""
        while True:
            wider = self.widths.above(widths)
            groups = np.flatnonzero(wider > widths)
            groups = groups[np.argsort(-(wished / wider)[groups], kind="stable")]
            rows = np.repeat(widths[None], len(groups), axis=0)
            rows[np.arange(len(groups)), groups] = wider[groups]
            fitting = self._first_kept(rows, ranks)
            if fitting is None:
                return widths
            widths = rows[fitting]

    def _first_kept(self, rows: Counts, ranks: Ranks) -> int | None:
        """The first row that keeps the budget; most often it is among the first few."""
        for start, stop in ((0, 4), (4, len(rows))):
            kept = np.flatnonzero(self._keep(rows[start:stop], ranks)) if start < len(rows) else np.zeros(0, dtype=int)
            if kept.size:
                return start + int(kept[0])
        return None

    def _keep(self, rows: Counts, ranks: Ranks) -> Bits:
        return self.budget.keeps(self.whole(self.bits(rows, ranks)))
