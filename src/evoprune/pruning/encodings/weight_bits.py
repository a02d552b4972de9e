"""Encoding `weight-bits`: one bit per weight, or per unit of a structure, that is not pruned yet."""

from __future__ import annotations

import numpy as np

from evoprune.genome import BitGenome, Bits, Segment
from evoprune.mask_plan import MaskPlan
from evoprune.pruning.encodings.mask_space import Keys, MaskSpace, UnitBits
from evoprune.seeding import SeedTree

BIT = np.float32(2.0)
"""More than any tie-break: a bit that is set stays before one that is not."""


class WeightBits:
    """One bit per unit that is alive, 1 keeps.

    Args:
        space: What may be pruned, and how much of it stays.
    """

    def __init__(self, space: MaskSpace) -> None:
        self._space = space
        counts = [int(space.alive[weight.name].sum()) for weight in space.weights]
        starts = np.cumsum([0, *counts])
        self.segments: tuple[Segment, ...] = tuple(
            Segment(weight.name, int(start), count)
            for weight, start, count in zip(space.weights, starts, counts, strict=False)
            if count
        )
        self._length = int(starts[-1])

    @property
    def length(self) -> int:
        """Bits in a genome."""
        return self._length

    def repair(self, genome: BitGenome) -> BitGenome:
        """The goal met, the structure and the live outputs kept, by as few changes as it takes.

        Which units come or go is drawn from a generator seeded with the genome's digest, half by chance and half by the first
        importance order; by chance alone where there is none.
        """
        space, bits = self._space, self.bits_of(genome)
        if self._fits(bits):
            return genome
        ties = self._ties(genome)
        if space.kept is not None:
            keys = {name: ties[name] + BIT * on.astype(np.float32) for name, on in bits.items()}
            return self.encode(space.choose(keys))
        mended = {}
        for weight in space.weights:
            on, keys_of = bits[weight.name], ties[weight.name]
            allowed = space.admissible(weight, on, keys_of)
            mended[weight.name] = space.guarded(weight, allowed, keys_of)
        return self.encode(mended)

    def decode(self, genome: BitGenome) -> MaskPlan:
        """The masks of a repaired genome."""
        return self._space.plan(self.bits_of(genome))

    def encode(self, bits: UnitBits) -> BitGenome:
        """The genome that keeps these units, all of them alive."""
        space = self._space
        return BitGenome.from_bits(
            np.concatenate([bits[weight.name][space.alive[weight.name]] for weight in space.weights])
        )

    def bits_of(self, genome: BitGenome) -> dict[str, Bits]:
        """[units] bool per weight."""
        flat, start, units = genome.bits, 0, {}
        for weight in self._space.weights:
            alive = self._space.alive[weight.name]
            count = int(alive.sum())
            bits = np.zeros(len(alive), dtype=np.bool_)
            bits[alive] = flat[start : start + count]
            units[weight.name] = bits
            start += count
        return units

    def _fits(self, bits: UnitBits) -> bool:
        space = self._space
        total = sum(space.weights_in(weight, bits[weight.name]) for weight in space.weights)
        if space.kept is not None and not space.kept - self._largest_unit < total <= space.kept:
            return False
        for weight in space.weights:
            on = bits[weight.name]
            keys = on.astype(np.float32)
            if not np.array_equal(space.admissible(weight, on, keys), on):
                return False
            if not np.array_equal(space.guarded(weight, on, keys), on):
                return False
        return True

    @property
    def _largest_unit(self) -> int:
        return max(int(np.max(self._space.unit_sizes(weight))) for weight in self._space.weights)

    def _ties(self, genome: BitGenome) -> dict[str, Keys]:
        """[units] float32 between 0 and 1 per weight."""
        generator = SeedTree(0).child("repair", genome.digest).generator()
        first = next(iter(self._space.orders.values()), None)
        ties: dict[str, Keys] = {}
        for weight in self._space.weights:
            chance = generator.random(len(self._space.alive[weight.name]), dtype=np.float32)
            ties[weight.name] = chance if first is None else np.float32(0.5) * (chance + _ranks(first[weight.name]))
        return ties


def _ranks(keys: Keys) -> Keys:
    """Positions in ascending order, scaled to 0 to 1."""
    ranks = np.empty(len(keys), dtype=np.float32)
    ranks[np.argsort(keys, kind="stable")] = np.linspace(0, 1, len(keys), endpoint=False, dtype=np.float32)
    return ranks
