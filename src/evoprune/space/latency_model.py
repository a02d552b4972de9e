"""Latency of plans, predicted from a table for a whole population at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoprune.errors import InvalidPlanError
from evoprune.space.groups import Axis, Group
from evoprune.space.kept_lengths import KeptLengths
from evoprune.space.latency_grid import Milliseconds, Widths
from evoprune.space.latency_table import LatencyTable
from evoprune.space.workload import Extent


class LatencyModel:
    """A latency table, compiled for the choices of a pruning space.

    Args:
        groups: Groups of the space; what the table says of others is taken as kept.
        table: Latencies of the network by the widths of its layers.
    """

    def __init__(self, groups: Sequence[Group], table: LatencyTable) -> None:
        self._table, self._axes = table, table.axes
        self._size = groups[-1].stop if groups else 0
        self._lengths = KeptLengths(groups, [_extent(axis, table.full_width(axis), groups) for axis in self._axes])

    def predict(self, bits: ArrayLike) -> Milliseconds:
        """How long the networks of choices take.

        Args:
            bits: [..., size] bool or 0/1, one per unit; 1 keeps.

        Returns:
            [...] float64 milliseconds.

        Raises:
            InvalidPlanError: The choices have another length.
        """
        keep = self._checked(bits)
        return np.broadcast_to(self._table.predict_widths(self._widths(keep)), keep.shape[:-1]).copy()

    def parts(self, bits: ArrayLike) -> tuple[Milliseconds, Milliseconds]:
        """What predictions are made of, as `LatencyTable.parts` gives it: [..., size] bits -> [...] of each.

        Raises:
            InvalidPlanError: The choices have another length.
        """
        keep = self._checked(bits)
        ms, elements = self._table.parts(self._widths(keep))
        return np.broadcast_to(ms, keep.shape[:-1]), np.broadcast_to(elements, keep.shape[:-1])

    def _checked(self, bits: ArrayLike) -> NDArray[np.bool_]:
        keep = np.asarray(bits).astype(np.bool_, copy=False)
        if keep.ndim == 0 or keep.shape[-1] != self._size:
            raise InvalidPlanError(f"{self._size} bits are needed per plan, one per unit, not {list(keep.shape)}")
        return keep

    def _widths(self, keep: NDArray[np.bool_]) -> dict[Axis, Widths]:
        lengths = self._lengths.of(keep)
        return {axis: lengths[..., number] for number, axis in enumerate(self._axes)}


def _extent(axis: Axis, size: int, groups: Sequence[Group]) -> Extent:
    """The length of an axis, by the units that reach into it."""
    parts: dict[str, NDArray[np.int32]] = {}
    for group in groups:
        for member in group.members:
            if (member.tensor, member.dim) == axis:
                counts = np.bincount(member.unit, minlength=group.size).astype(np.int32)
                parts[group.name] = parts.get(group.name, 0) + counts
    return Extent(size, tuple(parts.items()))
