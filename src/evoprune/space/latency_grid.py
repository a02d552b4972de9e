"""Latencies of one layer by its widths, and what lies between the measured ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Milliseconds = NDArray[np.float64]
Widths = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Latencies of one layer at some of its widths; in between they are interpolated.

    Attributes:
        nodes: Widths per dimension, increasing, those of the smallest and of the whole layer included.
        ms: [nodes of each dimension] float64 milliseconds of one call.
        spread: Interquartile range over median of its timings, the median of all nodes.
    """

    nodes: tuple[tuple[int, ...], ...]
    ms: Milliseconds
    spread: float

    @property
    def rising(self) -> Grid:
        """The least latencies above these, at the nodes and between them, that never fall with a width."""
        ms = self.ms
        for axis in range(ms.ndim):
            ms = np.maximum.accumulate(ms, axis=axis)
        return replace(self, ms=ms)

    def at(self, widths: Widths) -> Milliseconds:
        """Multilinear interpolation; widths beyond the nodes are taken as the nearest.

        Args:
            widths: [..., dimensions] kept widths.

        Returns:
            [...] milliseconds.
        """
        places = [_place(np.asarray(nodes), widths[..., dim]) for dim, nodes in enumerate(self.nodes)]
        total = np.zeros(widths.shape[:-1])
        for corner in np.ndindex(*([2] * len(places))):
            share = np.ones(widths.shape[:-1])
            index = []
            for upper, (low, high, part) in zip(corner, places, strict=True):
                share = share * (part if upper else 1 - part)
                index.append(high if upper else low)
            total += share * self.ms[tuple(index)]
        return total


def _place(nodes: Widths, widths: Widths) -> tuple[Widths, Widths, Milliseconds]:
    """The nodes below and above each width, and what part of the way between them it is."""
    if len(nodes) == 1:
        none = np.zeros(widths.shape, dtype=np.int64)
        return none, none, np.zeros(widths.shape)
    low = np.clip(np.searchsorted(nodes, widths, side="right") - 1, 0, len(nodes) - 2)
    part = (np.clip(widths, nodes[0], nodes[-1]) - nodes[low]) / (nodes[low + 1] - nodes[low])
    return low, low + 1, part
