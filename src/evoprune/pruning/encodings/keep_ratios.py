"""Encoding `keep-ratios`: one keep ratio per weight tensor, and the importance order by which its weights go.

A few bits per layer whatever its size. Ratios are relative to each other: a plan scales them to the sparsity goal, so that every
genome meets it exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import ConfigError
from evoprune.genome import BitGenome, Bits, Segment
from evoprune.mask_plan import MaskPlan
from evoprune.pruning.encodings.mask_space import NEVER, Keys, MaskSpace, UnitBits, UnitKeys
from evoprune.pruning.encodings.ratio_fields import RatioFields


class KeepRatios:
    """One field per weight tensor: its keep ratio and its importance order.

    Args:
        space: What may be pruned; with a number of weights to keep and at least one order.

    Raises:
        ConfigError: The space has no goal, or no order.
    """

    def __init__(self, space: MaskSpace) -> None:
        require_goal_and_orders(space, "keep-ratios")
        self._space = space
        self._orders = list(space.orders.values())
        self._fields = RatioFields(len(space.weights), len(self._orders))
        self.segments: tuple[Segment, ...] = tuple(
            Segment(weight.name, number * self._fields.width, self._fields.width)
            for number, weight in enumerate(space.weights)
        )

    @property
    def length(self) -> int:
        """Bits in a genome."""
        return self._fields.count * self._fields.width

    def repair(self, genome: BitGenome) -> BitGenome:
        """Every genome is valid."""
        return genome

    def decode(self, genome: BitGenome) -> MaskPlan:
        """The masks."""
        return self._space.plan(self.bits_of(genome))

    def encode(self, bits: UnitBits, order: int = 0) -> BitGenome:
        """The genome nearest to masks that were chosen by an order: their ratios, and the order for all tensors."""
        kept = [bits[weight.name].mean() for weight in self._space.weights]
        return BitGenome.from_bits(
            self._fields.write(np.array(kept, dtype=np.float64), np.full(len(kept), order, dtype=np.int64))
        )

    def bits_of(self, genome: BitGenome) -> dict[str, Bits]:
        """[units] bool per weight tensor."""
        return self._space.choose(self.keys_of(genome.bits))

    def keys_of(self, bits: Bits) -> dict[str, Keys]:
        """Keys whose highest are what the fields in `bits` keep: how early each unit of a tensor is due, as its ratio grows."""
        ratios, orders = self._fields.read(bits)
        chosen = [self._orders[order][weight.name] for order, weight in zip(orders, self._space.weights, strict=True)]
        return {
            weight.name: _due(self._space.alive[weight.name], keys, ratio)
            for weight, keys, ratio in zip(self._space.weights, chosen, ratios, strict=True)
        }


def _due(alive: Bits, keys: NDArray[np.float32], ratio: float) -> Keys:
    """Minus the factor that the ratio has to be scaled by until the unit is kept; `NEVER` for those that are gone.

    The unit at position p of n, counted from 1 in descending order, is kept once factor * ratio * n reaches p. The units of the
    highest of these values over all tensors are thus the very ones that a common factor keeps.
    """
    order = np.argsort(np.where(alive, -keys, np.inf), kind="stable")
    due = np.empty(len(keys), dtype=np.float32)
    due[order] = -(np.arange(1, len(keys) + 1) / (ratio * len(keys))).astype(np.float32)
    due[~alive] = NEVER
    return due


def uniform_bits(space: MaskSpace, keys: UnitKeys) -> dict[str, Bits]:
    """What a criterion keeps when every tensor keeps the same share."""
    return space.choose({name: _due(space.alive[name], scores, 1.0) for name, scores in keys.items()})


def require_goal_and_orders(space: MaskSpace, encoding: str) -> None:
    """See that the space has what ratios are about.

    Raises:
        ConfigError: It hasn't.
    """
    missing: Sequence[str] = [
        text
        for text, there in (
            ("sparsity goals (masks.goals)", space.kept is not None),
            ("an importance order (search.seeding: criteria)", bool(space.orders)),
        )
        if not there
    ]
    if missing:
        raise ConfigError(f"encoding {encoding} needs {' and '.join(missing)}", "or use weight-bits")
