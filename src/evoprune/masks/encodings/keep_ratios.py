"""Encoding `keep-ratios`: one keep ratio per weight tensor, and the importance order by which its weights go.

A few bits per layer whatever its size. A field says by what factor a tensor's ratio differs from that which the first importance
order alone would give it, from 0.35 to 2.8: a random genome is a sensible one. A plan scales the ratios to the sparsity goal, so
that every genome meets it exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import ConfigError
from evoprune.genome import BitGenome, Bits, Segment
from evoprune.mask_plan import MaskPlan
from evoprune.masks.encodings.ratio_fields import OCTAVES, RatioFields
from evoprune.masks.selection import NEVER, Keys
from evoprune.masks.space import MaskSpace, UnitBits, UnitKeys

LARGEST: Final = 2.0 ** (OCTAVES / 2)
"""Most that a field multiplies a ratio by; the least is one over it."""

Positions = NDArray[np.int32]


class KeepRatios:
    """One field per weight tensor: its keep ratio and its importance order.

    Args:
        space: Mask space with a number of weights to keep and at least one order.

    Raises:
        ConfigError: The space has no goal, or no order.
    """

    def __init__(self, space: MaskSpace) -> None:
        require_goal_and_orders(space, "keep-ratios")
        self._space = space
        self._fields = RatioFields(len(space.weights), len(space.orders))
        self._reference = self._shares(space.choose(next(iter(space.orders.values()))))
        self._positions: dict[tuple[int, str], Positions] = {}
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
        factors = self._shares(bits) / self._reference
        return BitGenome.from_bits(self._fields.write(factors / LARGEST, np.full(len(factors), order, dtype=np.int64)))

    def bits_of(self, genome: BitGenome) -> dict[str, Bits]:
        """[units] bool per weight tensor."""
        return self._space.choose(self.keys_of(genome.bits))

    def keys_of(self, bits: Bits) -> dict[str, Keys]:
        """Keys whose highest are what the fields in `bits` keep: how early each unit of a tensor is due, as its ratio grows."""
        factors, orders = self._fields.read(bits)
        ratios = factors * LARGEST * self._reference
        return {
            weight.name: _due(self._space.alive[weight.name], self._positions_in(int(order), weight.name), ratio)
            for weight, order, ratio in zip(self._space.weights, orders, ratios, strict=True)
        }

    def _shares(self, bits: UnitBits) -> NDArray[np.float64]:
        """[tensors] share of units that stay, that of at least one."""
        kept = [bits[weight.name] for weight in self._space.weights]
        return np.array([max(1, int(np.count_nonzero(one))) / len(one) for one in kept])

    def _positions_in(self, order: int, name: str) -> Positions:
        """Positions of a tensor's units in an order, sorted when first asked for."""
        key = order, name
        if key not in self._positions:
            scores = list(self._space.orders.values())[order][name]
            self._positions[key] = _positions(self._space.alive[name], scores)
        return self._positions[key]


def _positions(alive: Bits, keys: Keys) -> Positions:
    """[units] positions in descending order of the keys, counted from 1, the living before the dead."""
    positions = np.empty(len(keys), dtype=np.int32)
    positions[np.argsort(np.where(alive, -keys, np.float32(np.inf)), kind="stable")] = np.arange(
        1, len(keys) + 1, dtype=np.int32
    )
    return positions


def _due(alive: Bits, positions: Positions, ratio: float) -> Keys:
    """Minus the factor that the ratio has to be scaled by until the unit is kept; `NEVER` for those that are gone.

    The unit at position p of n is kept once factor * ratio * n reaches p. The units of the highest of these values over all
    tensors are thus the very ones that a common factor keeps.
    """
    due = np.empty(len(positions), dtype=np.float32)
    # Divided in double precision, a piece at a time: equal shares of tensors of different sizes are due together.
    np.divide(positions, -ratio * len(positions), out=due, dtype=np.float64, casting="same_kind")
    due[~alive] = NEVER
    return due


def uniform_bits(space: MaskSpace, keys: UnitKeys) -> dict[str, Bits]:
    """What a criterion keeps when every tensor keeps the same share."""
    return space.choose(
        {name: _due(space.alive[name], _positions(space.alive[name], scores), 1.0) for name, scores in keys.items()}
    )


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
