"""Guards of weight masks: no output left without a weight. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprune.genome import Bits
from evoprune.mask_plan import BoolMask
from evoprune.pruning.structures import ROWS, Shape, Structure, Values


def ensure_outputs_alive(
    mask: BoolMask, scores: NDArray[Any], *, output_dim: int = 0, inputs_too: bool = False
) -> BoolMask:
    """Bring back the highest-scoring weight of every output that has lost all of its own.

    Args:
        mask: [outputs, inputs, *kernel] bool; left as it is.
        scores: Of the same shape, higher is more important; of equals the first comes back.
        output_dim: 1 for the weight of a transposed convolution, [inputs, outputs, *kernel].
        inputs_too: Do the same for every input that nothing reads any more.

    Returns:
        `mask` itself where nothing is missing.
    """
    alive = _ensure_alive(mask, scores, output_dim)
    return _ensure_alive(alive, scores, 1 - output_dim) if inputs_too else alive


def ensure_units_alive(structure: Structure, bits: Bits, shape: Shape, scores: Values) -> Bits:
    """As `ensure_outputs_alive`, for a genome's bits: brings back the highest-scoring unit that an output has a part in.

    With the structure `rows` that would be all of them, so there it only sees to it that one is left.

    Args:
        structure: What the bits stand for.
        bits: [units] bool, satisfying the structure; left as it is.
        shape: Of the weight tensor, outputs first.
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


def _ensure_alive(mask: BoolMask, scores: NDArray[Any], dim: int) -> BoolMask:
    rows = np.moveaxis(mask, dim, 0).reshape(mask.shape[dim], -1)
    dead = np.flatnonzero(~rows.any(axis=1))
    if not dead.size:
        return mask
    best = np.moveaxis(scores, dim, 0).reshape(rows.shape)[dead].argmax(axis=1)
    alive = rows.copy()
    alive[dead, best] = True
    moved = np.moveaxis(mask, dim, 0).shape
    return np.moveaxis(alive.reshape(moved), 0, dim)
