"""Fewer points where there are more than an eye, or a page of a sensible size, can take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeVar

MOST_DOTS: Final = 500
"""Candidates drawn in one chart."""

T = TypeVar("T")


def thinned(points: Sequence[T], most: int = MOST_DOTS) -> Sequence[T]:
    """Every so many of them, in their order."""
    return points[:: max(1, math.ceil(len(points) / most))]


def left_out(points: Sequence[object], most: int = MOST_DOTS) -> str:
    """How many of them are drawn, in words; empty where all are."""
    shown = len(thinned(points, most))
    return "" if shown == len(points) else f"{shown:,} of {len(points):,} candidates are drawn."
