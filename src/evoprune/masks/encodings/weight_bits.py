"""Encoding `weight-bits`: one bit per weight, or per unit of a structure, that is not pruned yet."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import UsageError
from evoprune.genome import BitGenome, Bits, Segment
from evoprune.mask_plan import MaskPlan
from evoprune.masks.selection import CHUNK, NEVER, Keys
from evoprune.masks.space import MaskSpace, UnitBits
from evoprune.seeding import SeedTree

_STEPS = 65535
"""Ranks are kept as 16-bit numbers: they only ever break ties, together with chance."""


class WeightBits:
    """One bit per unit that is alive, 1 keeps.

    Args:
        space: Mask space, which also says how much stays.

    Raises:
        UsageError: Nothing is alive.
    """

    def __init__(self, space: MaskSpace) -> None:
        self._space = space
        counts = [int(np.count_nonzero(space.alive[weight.name])) for weight in space.weights]
        starts = np.cumsum([0, *counts])
        self.segments: tuple[Segment, ...] = tuple(
            Segment(weight.name, int(start), count)
            for weight, start, count in zip(space.weights, starts, counts, strict=False)
            if count
        )
        self._counts = counts
        self._length = int(starts[-1])
        if not self._length:
            raise UsageError("there are no weights left to prune", "choose layers that still have weights")

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
        if space.fits(bits):
            return genome
        generator = SeedTree(0).child("repair", genome.digest).generator()
        if space.kept is not None:
            return self.encode(space.choose_flat(self._preferences(bits, generator)))
        mended = {}
        for weight in space.weights:
            keys = np.full(len(space.alive[weight.name]), NEVER, dtype=np.float32)
            self._draw_ties(weight.name, space.alive[weight.name], keys, generator)
            mended[weight.name] = space.mended(weight, bits[weight.name], keys)
        return self.encode(mended)

    def decode(self, genome: BitGenome) -> MaskPlan:
        """The masks of a repaired genome."""
        return self._space.plan(self.bits_of(genome))

    def encode(self, bits: UnitBits, order: int = 0) -> BitGenome:
        """The genome that keeps these units, all of them alive; `order` says nothing here."""
        del order
        parts = []
        for weight, count in zip(self._space.weights, self._counts, strict=True):
            alive, on = self._space.alive[weight.name], bits[weight.name]
            parts.append(on if count == len(alive) else np.compress(alive, on))
        return BitGenome.from_bits(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def bits_of(self, genome: BitGenome) -> dict[str, Bits]:
        """[units] bool per weight."""
        flat, start, units = genome.bits, 0, {}
        for weight, count in zip(self._space.weights, self._counts, strict=True):
            alive, on = self._space.alive[weight.name], flat[start : start + count]
            if count < len(alive):
                spread = np.zeros(len(alive), dtype=np.bool_)
                spread[np.flatnonzero(alive)] = on  # several times as fast as by the mask itself
                on = spread
            units[weight.name] = on
            start += count
        return units

    def _preferences(self, bits: UnitBits, generator: np.random.Generator) -> Keys:
        """[all units] keys: a tie-break from 0 to below 1, and 1 more for what is set, which so stays before all else."""
        space = self._space
        keys = np.full(sum(len(space.alive[weight.name]) for weight in space.weights), NEVER, dtype=np.float32)
        parts = space.parts(keys)
        for weight, part in parts:
            self._draw_ties(weight.name, bits[weight.name], part, generator)
        left = {weight.name: space.structured(weight, bits[weight.name], part) for weight, part in parts}
        total = sum(space.weights_in(weight, left[weight.name]) for weight in space.weights)
        # Where units only have to go, those that are not set need no tie-break: of a sparse genome, nearly all of them.
        only_fewer = space.kept is not None and total >= space.kept and space.well_formed(left)
        for weight, part in parts:
            on = bits[weight.name]
            if only_fewer:
                part[np.flatnonzero(on & ~left[weight.name])] = NEVER
            else:
                self._draw_ties(weight.name, space.alive[weight.name] & ~on, part, generator)
            np.add(part, on, out=part)
        return keys

    def _draw_ties(self, name: str, among: Bits, keys: Keys, generator: np.random.Generator) -> None:
        """Write numbers from 0 to below 1 into `keys`, [units], where `among` is set."""
        ranks = self._ranks.get(name)
        # A piece at a time, because positions take eight bytes each; they are several times as fast as a mask of random bits.
        for begin in range(0, len(keys), CHUNK):
            piece = slice(begin, begin + CHUNK)
            where = np.flatnonzero(among[piece])
            ties: Keys = generator.random(len(where), dtype=np.float32)
            if ranks is not None:
                ties += ranks[piece][where] * np.float32(1 / _STEPS)
                ties *= np.float32(0.5)
            keys[piece][where] = ties

    @cached_property
    def _ranks(self) -> dict[str, NDArray[np.uint16]]:
        """[units] positions in the first importance order, ascending, from 0 to `_STEPS`; empty without any order."""
        first = next(iter(self._space.orders.values()), {})
        return {weight.name: _ranks(first[weight.name]) for weight in self._space.weights if first}


def _ranks(keys: Keys) -> NDArray[np.uint16]:
    ranks = np.empty(len(keys), dtype=np.uint16)
    order = np.argsort(keys, kind="stable")
    for begin in range(0, len(keys), CHUNK):
        piece = order[begin : begin + CHUNK]
        ranks[piece] = np.arange(begin, begin + len(piece)) * _STEPS // len(keys)
    return ranks
