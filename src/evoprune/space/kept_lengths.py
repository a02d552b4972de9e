"""How long dimensions stay when units go, for a whole population at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evoprune.space.groups import Group
from evoprune.space.workload import Extent

Amounts = NDArray[np.int64]


class KeptLengths:
    """Extents, compiled for evaluation.

    Neighbouring units that weigh the same everywhere, most often a whole group, are counted together as a *run*.

    Args:
        groups: Groups of the space; what the extents say of others is taken as kept.
        extents: Extents to evaluate.
    """

    def __init__(self, groups: Sequence[Group], extents: Sequence[Extent]) -> None:
        self._starts = _run_starts(groups, extents)
        self._weights, self._fixed = self._positions(groups, extents)

    def of(self, keep: NDArray[np.bool_]) -> Amounts:
        """[..., size] bits -> [..., extents] lengths. Floats hold these numbers exactly."""
        counts = totals(keep, self._starts) if len(self._starts) else np.zeros((*keep.shape[:-1], 0))
        return (self._fixed + counts.astype(np.float64) @ self._weights).astype(np.int64)

    def _positions(
        self, groups: Sequence[Group], extents: Sequence[Extent]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[runs, extents] positions per kept unit, and [extents] positions that always stay."""
        known = {group.name: group for group in groups}
        weights = np.zeros((len(self._starts), len(extents)))
        fixed = np.array([extent.size for extent in extents], dtype=np.float64)
        for number, extent in enumerate(extents):
            for name, counts in extent.parts:
                group = known.get(name)
                if group is not None:
                    per_unit = np.broadcast_to(counts, (group.size,))
                    inside = (self._starts >= group.start) & (self._starts < group.stop)
                    weights[inside, number] = per_unit[self._starts[inside] - group.start]
                    fixed[number] -= per_unit.sum()
        return weights, fixed


def totals(keep: NDArray[np.bool_], starts: Amounts) -> Amounts:
    """How many are kept from each start to the next: [..., size] -> [..., starts]."""
    found: Amounts = np.add.reduceat(keep, starts, axis=-1, dtype=np.int64)
    return found


def _run_starts(groups: Sequence[Group], extents: Sequence[Extent]) -> Amounts:
    known = {group.name: group for group in groups}
    starts = [np.array([group.start for group in groups], dtype=np.int64)]
    for extent in extents:
        for name, counts in extent.parts:
            if name in known and len(counts) > 1:
                starts.append(known[name].start + 1 + np.flatnonzero(np.diff(counts)))
    return np.unique(np.concatenate(starts))
