"""Guards of weight masks: no output left without a weight. numpy only."""

from __future__ import annotations

import numpy as np

from evoprune.genome import Bits
from evoprune.masks.structures import ROWS, Shape, Structure, Values


def ensure_units_alive(structure: Structure, bits: Bits, shape: Shape, scores: Values) -> Bits:
    """Bring back, for every output that has lost all of its weights, the highest-scoring unit that it has a part in.

    With the structure `rows` that would be all of them, so there it only sees to it that one is left.

    Args:
        structure: Says which weights a bit stands for.
        bits: [units] bool, satisfying the structure; left as it is.
        shape: Shape of the weight tensor, outputs first.
        scores: [units], higher is more important; of equals the first comes back.

    Returns:
        `bits` itself where nothing is missing.
    """
    if structure == ROWS:
        return bits if bits.any() else np.arange(len(bits)) == np.argmax(scores)
    dead = ~structure.expand(bits, shape).reshape(shape[0], -1).any(axis=1)
    if not dead.any():
        return bits
    units = structure.expand(np.arange(len(bits)), shape).reshape(shape[0], -1)[dead]
    best = np.take_along_axis(units, np.argmax(scores[units], axis=1)[:, None], axis=1)[:, 0]
    alive = bits.copy()
    alive[best] = True
    return alive
