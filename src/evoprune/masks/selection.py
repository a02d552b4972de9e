"""Selection of the units with the highest keys. numpy only, in linear time and with little more memory than the keys take."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evoprune.genome import Bits

Keys = NDArray[np.float32]

FORCED = np.float32(np.inf)
NEVER = np.float32(-np.inf)
CHUNK: Final = 1 << 20


def highest(keys: Keys, sizes: NDArray[np.int64] | None, budget: int) -> Bits:
    """The highest keys whose sizes sum to at most `budget`; the first of equals, and never one of key `NEVER`.

    Args:
        keys: [units], no nan.
        sizes: [units] weights in each unit; None where each is one weight.
        budget: Weights to choose. Where sizes differ, choosing ends before the first unit that doesn't fit.

    Returns:
        [units] bool.
    """
    if sizes is None:
        return _top(keys, budget)
    order = np.argsort(-keys, kind="stable")
    chosen = np.zeros(len(keys), dtype=np.bool_)
    chosen[order[np.cumsum(sizes[order]) <= budget]] = True
    return chosen & (keys > NEVER)


def top_indices(keys: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Positions of the `count` highest keys, ascending, all but those of key `NEVER`; of equals at the border the first."""
    return np.flatnonzero(_top(keys, count))


def _top(keys: NDArray[Any], count: int) -> Bits:
    possible: Bits = keys > NEVER
    total = int(np.count_nonzero(possible))
    if count >= total:
        return possible
    if count <= 0:
        return np.zeros(len(keys), dtype=np.bool_)
    candidates = np.empty(total, dtype=keys.dtype)
    start = 0
    # A piece at a time: masks turn into positions of eight bytes.
    for begin in range(0, len(keys), CHUNK):
        piece = np.compress(possible[begin : begin + CHUNK], keys[begin : begin + CHUNK])
        candidates[start : start + len(piece)] = piece
        start += len(piece)
    border = total - count
    candidates.partition(border)
    threshold = candidates[border]
    chosen: Bits = keys > threshold
    missing = count - int(np.count_nonzero(chosen))
    chosen[np.flatnonzero(keys == threshold)[:missing]] = True
    return chosen
