"""Variation on packed genomes: sampling, uniform crossover, bit-flip mutation. Pure functions of a generator."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.genome import BitGenome
from evoprune.search.base import Representation
from evoprune.search.swap import swap_bits

CHUNK: Final = 1 << 20
"""Random numbers drawn at once."""


def sample(
    representation: Representation, keep_range: tuple[float, float], generator: np.random.Generator
) -> BitGenome:
    """A random genome whose groups each keep their own share of units.

    Shares are drawn per group, uniformly from `keep_range`, then units uniformly within the group: a single share of one half
    for all bits would start every individual at the same width.

    Args:
        representation: Length, groups and repair of the genomes.
        keep_range: Lowest and highest share kept, within 0 to 1.
        generator: Source of randomness.
    """
    bits = np.zeros(representation.length, dtype=np.bool_)
    for segment in representation.segments:
        share = generator.uniform(*keep_range)
        # A piece at a time: the same numbers, without eight bytes for each bit at once.
        for piece in np.split(bits[segment.start : segment.start + segment.size], range(CHUNK, segment.size, CHUNK)):
            piece[:] = generator.random(len(piece)) < share
    return representation.repair(BitGenome.from_bits(bits))


def uniform_crossover(one: BitGenome, other: BitGenome, generator: np.random.Generator) -> tuple[BitGenome, BitGenome]:
    """Two complementary children; every bit comes from either parent with equal chance (Syswerda 1989)."""
    mask = generator.integers(0, 256, size=one.packed.shape, dtype=np.uint8)
    exchanged = (one.packed ^ other.packed) & mask
    return BitGenome(one.packed ^ exchanged, one.length), BitGenome(other.packed ^ exchanged, one.length)


def single_point_crossover(
    one: BitGenome, other: BitGenome, generator: np.random.Generator
) -> tuple[BitGenome, BitGenome]:
    """Two complementary children that exchange everything behind one random position (Holland 1975)."""
    point = int(generator.integers(1, one.length)) if one.length > 1 else 0
    exchanged = one.packed ^ other.packed
    exchanged[: point // 8] = 0
    if point % 8:
        exchanged[point // 8] &= np.uint8(0xFF >> (point % 8))
    return BitGenome(one.packed ^ exchanged, one.length), BitGenome(other.packed ^ exchanged, one.length)


def flip_bits(genome: BitGenome, rate: float, generator: np.random.Generator) -> BitGenome:
    """Flip every bit with probability `rate`, at a cost that grows with the flips and not with the genome."""
    chosen = _random_bits(genome, rate, generator)
    return genome if chosen is None else BitGenome(genome.packed ^ chosen, genome.length)


def prune_bits(genome: BitGenome, rate: float, generator: np.random.Generator) -> BitGenome:
    """Clear every bit with probability `rate`; what is cleared stays so."""
    chosen = _random_bits(genome, rate, generator)
    return genome if chosen is None else BitGenome(genome.packed & ~chosen, genome.length)


def _random_bits(genome: BitGenome, rate: float, generator: np.random.Generator) -> NDArray[np.uint8] | None:
    """Packed bits of which each is 1 with probability `rate`; None when all are 0."""
    count = generator.binomial(genome.length, rate)
    if count == 0:
        return None
    positions = generator.choice(genome.length, size=count, replace=False, shuffle=False)
    chosen = np.zeros_like(genome.packed)
    np.bitwise_or.at(chosen, positions // 8, (128 >> (positions % 8)).astype(np.uint8))
    return chosen


CROSSOVERS: Final = {"uniform": uniform_crossover, "single-point": single_point_crossover}
MUTATIONS: Final = {"flip": flip_bits, "prune": prune_bits, "swap": swap_bits}
