"""Encoding `threshold-exceptions`: keep ratios, and one bit for each unit near the threshold that turns its fate round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evoprune.genome import BitGenome, Bits, Segment
from evoprune.mask_plan import MaskPlan
from evoprune.masks.encodings.keep_ratios import KeepRatios, require_goal_and_orders
from evoprune.masks.selection import NEVER, top_indices
from evoprune.masks.space import MaskSpace, UnitBits, UnitKeys

MARGIN = 0.25
"""Units of the first order's ranks within this share of the goal, on either side, have an exception bit."""


class ThresholdExceptions:
    """The fields of `KeepRatios`, then exception bits, 0 for as the threshold says.

    Args:
        space: Mask space with a number of weights to keep and at least one order.

    Raises:
        ConfigError: The space has no goal, or no order.
    """

    def __init__(self, space: MaskSpace) -> None:
        require_goal_and_orders(space, "threshold-exceptions")
        self._space = space
        self._ratios = KeepRatios(space)
        self._near = _near_threshold(space, next(iter(space.orders.values())))
        counts = [len(self._near[weight.name]) for weight in space.weights]
        starts = self._ratios.length + np.cumsum([0, *counts])
        self._length = int(starts[-1])
        self.segments: tuple[Segment, ...] = (
            *self._ratios.segments,
            *(
                Segment(f"{weight.name}, exceptions", int(start), count)
                for weight, start, count in zip(space.weights, starts, counts, strict=False)
                if count
            ),
        )

    @property
    def length(self) -> int:
        """Bits in a genome."""
        return self._length

    def repair(self, genome: BitGenome) -> BitGenome:
        """Every genome is valid."""
        return genome

    def decode(self, genome: BitGenome) -> MaskPlan:
        """The masks."""
        return self._space.plan(self.bits_of(genome))

    def encode(self, bits: UnitBits, order: int = 0) -> BitGenome:
        """The genome nearest to masks that were chosen by an order, without exceptions."""
        fields = self._ratios.encode(bits, order).bits
        return BitGenome.from_bits(np.concatenate([fields, np.zeros(self._length - len(fields), dtype=np.bool_)]))

    def bits_of(self, genome: BitGenome) -> dict[str, Bits]:
        """[units] bool per weight tensor: the threshold's choice, exceptions turned round, then by rank to the goal."""
        flat = genome.bits
        start = self._ratios.length
        keys = self._ratios.keys_of(flat[:start])
        chosen = self._space.choose(keys)
        if not flat[start:].any():
            return chosen
        for weight in self._space.weights:
            near = self._near[weight.name]
            turned = near[flat[start : start + len(near)]]
            start += len(near)
            one, kept = keys[weight.name], chosen[weight.name][turned]
            one[turned] = np.where(kept, one[turned] * _FAR, one[turned] / _FAR)
        return self._space.choose(keys)


_FAR = np.float32(2.0**80)
"""A factor past the range of due values, -2 ** 33 to -2 ** -33 at the utmost.

Times it a unit comes after all others, and divided by it before them. It is a power of two, so that nothing is rounded: between
the units that exceptions keep, and those that they prune, the order of the ratios goes on deciding.
"""


def _near_threshold(space: MaskSpace, keys: UnitKeys) -> dict[str, NDArray[np.int64]]:
    """Positions per weight tensor of the units whose rank over all tensors is near the goal, in ascending order."""
    assert space.kept is not None
    flat = np.concatenate([np.where(space.alive[weight.name], keys[weight.name], NEVER) for weight in space.weights])
    alive = int((flat > NEVER).sum())
    units = round(alive * space.kept / max(1, _alive_weights(space)))
    inner, outer = int(units * (1 - MARGIN)), min(alive, int(np.ceil(units * (1 + MARGIN))))
    near = np.zeros(len(flat), dtype=np.bool_)
    near[top_indices(flat, outer)] = True
    near[top_indices(flat, inner)] = False
    ends = np.cumsum([len(keys[weight.name]) for weight in space.weights])[:-1]
    return {weight.name: np.flatnonzero(part) for weight, part in zip(space.weights, np.split(near, ends), strict=True)}


def _alive_weights(space: MaskSpace) -> int:
    return sum(space.weights_in(weight, space.alive[weight.name]) for weight in space.weights)
