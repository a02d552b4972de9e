"""What one search of weight masks decides about, and the one function that turns preferences into masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import UsageError
from evoprune.genome import Bits
from evoprune.mask_plan import BoolMask, MaskPlan, PackedMask
from evoprune.masks.guards import ensure_units_alive
from evoprune.masks.maskable import MaskableWeight
from evoprune.masks.neurons import Neurons
from evoprune.masks.selection import FORCED, NEVER, Keys, highest
from evoprune.masks.structures import ROWS, Structure

UnitBits = Mapping[str, Bits]
UnitKeys = Mapping[str, Keys]
Sizes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MaskSpace:
    """The weights that a search may prune, in units of the structure.

    Attributes:
        weights: The weights, in genome order.
        alive: `{weight name: [units] bool}`, what is not pruned yet; only that may stay.
        kept: Weights that a plan keeps: so many where every unit is one weight, otherwise at most so many, and more than that
            less one unit. None leaves it to the genome.
        orders: `{criterion: {weight name: [units] float32}}`, higher stays longer; empty for a search without any rule.
        structure: Says which weights share a unit.
        live_outputs: Names of the weights of which every output keeps at least one unit, if any of its units is alive.
        fingerprint: Digest of the dense structure, for plans.
        neurons: The network's neurons; None where nobody asks for them.

    Raises:
        UsageError: `alive` or an order doesn't fit the weights, an order has scores that are no numbers, or `kept` can't be met:
            the structure allows less, or live outputs need more.
    """

    weights: tuple[MaskableWeight, ...]
    alive: UnitBits
    kept: int | None
    orders: Mapping[str, UnitKeys]
    structure: Structure
    live_outputs: frozenset[str]
    fingerprint: str
    neurons: Neurons | None = None

    def __post_init__(self) -> None:
        for weight in self.weights:
            self._check_fits(weight)
        if self.kept is None:
            return
        most = sum(self.weights_in(weight, self.structured(weight, self.alive[weight.name])) for weight in self.weights)
        if not 1 <= self.kept <= most:
            raise UsageError(
                f"{self.kept:,} of {most:,} weights can't be kept, as many as are left and as {self.structure} allows",
                "choose sparsity goals that rise, below 1, and as high as the structure asks for",
            )
        if self.kept < self.least_kept:
            raise UsageError(
                f"{self.kept:,} weights are too few for every output to keep one, {self.least_kept:,} may be needed",
                "choose a lower sparsity goal",
            )

    @cached_property
    def least_kept(self) -> int:
        """Weights that keeping outputs alive may take."""
        return sum(map(self._least, self.weights))

    def unit_sizes(self, weight: MaskableWeight) -> Sizes | int:
        """Weights in each unit, [units]; the number 1 where every unit is one weight."""
        return self._sizes[weight.name]

    def weights_in(self, weight: MaskableWeight, bits: Bits) -> int:
        """Number of weights in the units that are set."""
        sizes = self.unit_sizes(weight)
        return int(np.count_nonzero(bits)) if isinstance(sizes, int) else int(sizes[bits].sum())

    def plan(self, bits: UnitBits) -> MaskPlan:
        """The plan that keeps these units."""
        return MaskPlan(
            {weight.name: PackedMask.from_bools(self._mask(weight, bits[weight.name])) for weight in self.weights},
            self.fingerprint,
        )

    def fits(self, bits: UnitBits) -> bool:
        """Whether a plan may keep exactly these units."""
        if self.kept is not None:
            total = sum(self.weights_in(weight, bits[weight.name]) for weight in self.weights)
            if not self.kept - self._largest_unit < total <= self.kept:
                return False
        return self.well_formed(bits)

    def well_formed(self, bits: UnitBits) -> bool:
        """Whether these units are alive, satisfy the structure and leave the outputs alive that must live; goal apart."""
        return all(self._well_formed(weight, bits[weight.name]) for weight in self.weights)

    def structured(self, weight: MaskableWeight, bits: Bits, keys: Keys | None = None) -> Bits:
        """`bits` without what breaks the structure, the lowest `keys` first; `bits` itself where nothing does."""
        return self.structure.repair(bits, weight.rows_shape, bits if keys is None else keys)

    def mended(self, weight: MaskableWeight, bits: Bits, keys: Keys) -> Bits:
        """`bits` without what is gone already or breaks the structure, and with what outputs need to live, by their `keys`."""
        allowed = self.structured(weight, bits & self.alive[weight.name], keys)
        if weight.name not in self.live_outputs:
            return allowed
        usable = np.where(self.alive[weight.name], keys, NEVER)
        # Where all of an output is gone already, the guard brings back one of the dead.
        return ensure_units_alive(self.structure, allowed, weight.rows_shape, usable) & self.alive[weight.name]

    def choose(self, keys: UnitKeys) -> dict[str, Bits]:
        """The units of the highest keys, `kept` weights over all layers; structure and live outputs come first."""
        flat = np.concatenate([keys[weight.name] for weight in self.weights], dtype=np.float32)
        return self.choose_flat(flat)

    def choose_flat(self, keys: Keys) -> dict[str, Bits]:
        """Do what `choose` does, from the keys of all weights in one array, [all units]; these are overwritten."""
        assert self.kept is not None
        for weight, part in self.parts(keys):
            self._rank(weight, part)
        chosen = highest(keys, self._flat_sizes, self.kept)
        return {weight.name: part for weight, part in self.parts(chosen)}

    def parts(self, values: NDArray[Any]) -> list[tuple[MaskableWeight, NDArray[Any]]]:
        """Each weight with its share of [all units] values, as a view."""
        ends = np.cumsum([len(self.alive[weight.name]) for weight in self.weights])
        return list(zip(self.weights, np.split(values, ends[:-1]), strict=True))

    def _rank(self, weight: MaskableWeight, keys: Keys) -> None:
        """Write `NEVER` where a unit may not stay and `FORCED` where it must, in place."""
        possible = keys > NEVER
        stopped = possible & ~self.structured(weight, possible & self.alive[weight.name], keys)
        if stopped.any():
            keys[stopped] = NEVER
        if weight.name in self.live_outputs:
            best = self._best_of_outputs(weight, keys)
            keys[best[keys[best] > NEVER]] = FORCED

    def _best_of_outputs(self, weight: MaskableWeight, keys: Keys) -> NDArray[np.int64]:
        """Positions of the units that keep every output alive: the highest of each, or of them all where units are outputs."""
        shape = weight.rows_shape
        if self.structure == ROWS:
            return np.array([np.argmax(keys)])
        if isinstance(self.unit_sizes(weight), int):
            width = len(keys) // shape[0]
            best: NDArray[np.int64] = keys.reshape(shape[0], width).argmax(axis=1) + np.arange(shape[0]) * width
            return best
        return np.flatnonzero(ensure_units_alive(self.structure, np.zeros(len(keys), np.bool_), shape, keys))

    def _well_formed(self, weight: MaskableWeight, bits: Bits) -> bool:
        if np.any(bits & ~self.alive[weight.name]) or not np.array_equal(self.structured(weight, bits), bits):
            return False
        return weight.name not in self.live_outputs or np.array_equal(
            self._outputs_with(weight, bits), self._living_outputs[weight.name]
        )

    def _outputs_with(self, weight: MaskableWeight, bits: Bits) -> Bits:
        """[outputs] bool, whether any of its units is set; for `rows`, [1], whether any output is."""
        if self.structure == ROWS:
            return np.array([bits.any()])
        shape = weight.rows_shape
        living: Bits = np.any(self.structure.expand(bits, shape).reshape(shape[0], -1), axis=1)
        return living

    def _least(self, weight: MaskableWeight) -> int:
        """Weights that keeping its outputs alive may take."""
        if weight.name not in self.live_outputs:
            return 0
        sizes, alive = self.unit_sizes(weight), self.alive[weight.name]
        if isinstance(sizes, int):
            return int(self._living_outputs[weight.name].sum())
        best = self._best_of_outputs(weight, np.where(alive, sizes, NEVER).astype(np.float32))
        return int(sizes[best[alive[best]]].sum())

    def _mask(self, weight: MaskableWeight, bits: Bits) -> BoolMask:
        return np.ascontiguousarray(weight.from_rows(self.structure.expand(bits, weight.rows_shape)))

    def _check_fits(self, weight: MaskableWeight) -> None:
        units = self.structure.units(weight.rows_shape)
        given = {"alive": self.alive, **{f"order {name}": scores for name, scores in self.orders.items()}}
        for what, values in given.items():
            if weight.name not in values or values[weight.name].shape != (units,):
                raise UsageError(f"{what} doesn't have the {units:,} units of {weight.name}")
            if what != "alive" and not np.isfinite(values[weight.name]).all():
                raise UsageError(
                    f"{what} has scores of {weight.name} that are nan or infinite",
                    "check that the network's weights and its loss are finite",
                )

    @cached_property
    def _sizes(self) -> dict[str, Sizes | int]:
        return {weight.name: self._count_sizes(weight) for weight in self.weights}

    @cached_property
    def _flat_sizes(self) -> Sizes | None:
        sizes = [self.unit_sizes(weight) for weight in self.weights]
        if all(isinstance(one, int) for one in sizes):
            return None
        counts = [len(self.alive[weight.name]) for weight in self.weights]
        return np.concatenate([np.broadcast_to(one, count) for one, count in zip(sizes, counts, strict=True)])

    @cached_property
    def _largest_unit(self) -> int:
        return max(int(np.max(self.unit_sizes(weight))) for weight in self.weights)

    @cached_property
    def _living_outputs(self) -> dict[str, Bits]:
        live = [weight for weight in self.weights if weight.name in self.live_outputs]
        return {weight.name: self._outputs_with(weight, self.alive[weight.name]) for weight in live}

    def _count_sizes(self, weight: MaskableWeight) -> Sizes | int:
        shape = weight.rows_shape
        units = self.structure.units(shape)
        if units == weight.size:
            return 1
        return np.bincount(self.structure.expand(np.arange(units), shape).ravel(), minlength=units)
