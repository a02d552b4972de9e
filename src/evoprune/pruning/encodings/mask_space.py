"""What one search of weight masks decides about, and the one function that turns preferences into masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import UsageError
from evoprune.genome import Bits
from evoprune.mask_plan import BoolMask, MaskPlan, PackedMask
from evoprune.pruning.guards import ensure_units_alive
from evoprune.pruning.maskable import MaskableWeight
from evoprune.pruning.structures import ROWS, Structure

Keys = NDArray[np.float32]
UnitBits = Mapping[str, Bits]
UnitKeys = Mapping[str, Keys]

FORCED = np.float32(np.inf)
NEVER = np.float32(-np.inf)


@dataclass(frozen=True)
class MaskSpace:
    """The weights that a search may prune, in units of the structure.

    Attributes:
        weights: In genome order.
        alive: `{weight name: [units] bool}`, what is not pruned yet; only that may stay.
        kept: Weights that a plan keeps, exactly where units are of one size and at most otherwise; None leaves it to the genome.
        orders: `{criterion: {weight name: [units] float32}}`, higher stays longer; empty for a search without any rule.
        structure: Which weights share a unit.
        live_outputs: Names of the weights of which every output keeps at least one unit.
        fingerprint: Of the dense structure, for plans.

    Raises:
        UsageError: There is nothing to keep, or more than there is.
    """

    weights: tuple[MaskableWeight, ...]
    alive: UnitBits
    kept: int | None
    orders: Mapping[str, UnitKeys]
    structure: Structure
    live_outputs: frozenset[str]
    fingerprint: str

    def __post_init__(self) -> None:
        available = sum(self.weights_in(weight, self.alive[weight.name]) for weight in self.weights)
        if self.kept is not None and not 1 <= self.kept <= available:
            raise UsageError(
                f"{self.kept:,} of {available:,} weights can't be kept", "choose sparsity goals that rise, below 1"
            )

    def shape_of(self, weight: MaskableWeight) -> tuple[int, ...]:
        """Shape of the weight with its outputs first."""
        if weight.output_dim == 0:
            return weight.shape
        return weight.shape[1], weight.shape[0], *weight.shape[2:]

    def unit_sizes(self, weight: MaskableWeight) -> NDArray[np.int64] | int:
        """Weights in each unit; one number where all are alike."""
        shape = self.shape_of(weight)
        units = self.structure.units(shape)
        if units == weight.size:
            return 1
        counts = np.zeros(units, dtype=np.int64)
        np.add.at(counts, self.structure.expand(np.arange(units), shape).ravel(), 1)
        return counts

    def weights_in(self, weight: MaskableWeight, bits: Bits) -> int:
        """Number of weights in the units that are set."""
        sizes = self.unit_sizes(weight)
        return int(bits.sum()) * sizes if isinstance(sizes, int) else int(sizes[bits].sum())

    def plan(self, bits: UnitBits) -> MaskPlan:
        """The plan that keeps these units."""
        return MaskPlan(
            {weight.name: PackedMask.from_bools(self._mask(weight, bits[weight.name])) for weight in self.weights},
            self.fingerprint,
        )

    def units_of(self, weight: MaskableWeight, values: NDArray[Any]) -> NDArray[np.float64]:
        """[units] means of values of the weight's own shape."""
        return self.structure.reduce(_outputs_first(values, weight), self.shape_of(weight))

    def _mask(self, weight: MaskableWeight, bits: Bits) -> BoolMask:
        return np.ascontiguousarray(_outputs_first(self.structure.expand(bits, self.shape_of(weight)), weight))

    def admissible(self, weight: MaskableWeight, bits: Bits, keys: Keys) -> Bits:
        """`bits` without those that are gone already or break the structure, the lowest `keys` first."""
        alive = bits & self.alive[weight.name]
        return self.structure.repair(alive, self.shape_of(weight), keys)

    def guarded(self, weight: MaskableWeight, bits: Bits, keys: Keys) -> Bits:
        """`bits`, and for each output that must live and has none of them, the one of the highest key."""
        if weight.name not in self.live_outputs:
            return bits
        usable = np.where(self.alive[weight.name], keys, NEVER)
        return ensure_units_alive(self.structure, bits, self.shape_of(weight), usable)

    def choose(self, keys: UnitKeys) -> dict[str, Bits]:
        """The units of the highest keys, `kept` weights over all layers; structure and live outputs come first."""
        assert self.kept is not None
        ranked = {weight.name: self._ranked(weight, keys[weight.name]) for weight in self.weights}
        flat = np.concatenate([ranked[weight.name] for weight in self.weights])
        sizes = [self.unit_sizes(weight) for weight in self.weights]
        chosen = _highest(flat, _flat_sizes(sizes, [len(ranked[weight.name]) for weight in self.weights]), self.kept)
        ends = np.cumsum([len(ranked[weight.name]) for weight in self.weights])[:-1]
        return {weight.name: part for weight, part in zip(self.weights, np.split(chosen, ends), strict=True)}

    def _ranked(self, weight: MaskableWeight, keys: Keys) -> Keys:
        everything = np.ones(len(keys), dtype=np.bool_)
        allowed = self.admissible(weight, everything, keys)
        ranked = np.where(allowed, keys, NEVER).astype(np.float32)
        if weight.name in self.live_outputs:
            if self.structure == ROWS:
                ranked[int(np.argmax(ranked))] = FORCED
            else:
                ranked[self.guarded(weight, np.zeros_like(allowed), ranked) & allowed] = FORCED
        return ranked


def _flat_sizes(sizes: list[NDArray[np.int64] | int], counts: list[int]) -> NDArray[np.int64] | int:
    if all(isinstance(size, int) for size in sizes):
        return 1
    return np.concatenate([np.broadcast_to(size, count) for size, count in zip(sizes, counts, strict=True)])


def _highest(keys: Keys, sizes: NDArray[np.int64] | int, budget: int) -> Bits:
    """The highest keys whose sizes sum to at most `budget`; the first of equals, and never one of key `NEVER`."""
    chosen = np.zeros(len(keys), dtype=np.bool_)
    if isinstance(sizes, int):
        chosen[top_indices(keys, min(budget, len(keys)))] = True
    else:
        order = np.argsort(-keys, kind="stable")
        chosen[order[np.cumsum(sizes[order]) <= budget]] = True
    return chosen & (keys > NEVER)


def top_indices(keys: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Positions of the `count` highest keys; of equals at the border the first. Linear time, not a full sort."""
    if count >= len(keys):
        return np.arange(len(keys))
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    threshold = np.partition(keys, len(keys) - count)[len(keys) - count]
    above = np.flatnonzero(keys > threshold)
    at = np.flatnonzero(keys == threshold)[: count - len(above)]
    return np.concatenate([above, at])


def _outputs_first(values: NDArray[Any], weight: MaskableWeight) -> NDArray[Any]:
    return np.swapaxes(values, 0, 1) if weight.output_dim else values
