"""Variation on packed genomes: sampling, uniform crossover, bit-flip mutation. Pure functions of a generator."""

from __future__ import annotations

import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Representation


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
        bits[segment.start : segment.start + segment.size] = generator.random(segment.size) < share
    return representation.repair(BitGenome.from_bits(bits))


def uniform_crossover(one: BitGenome, other: BitGenome, generator: np.random.Generator) -> tuple[BitGenome, BitGenome]:
    """Two complementary children; every bit comes from either parent with equal chance (Syswerda 1989)."""
    mask = generator.integers(0, 256, size=one.packed.shape, dtype=np.uint8)
    exchanged = (one.packed ^ other.packed) & mask
    return BitGenome(one.packed ^ exchanged, one.length), BitGenome(other.packed ^ exchanged, one.length)


def flip_bits(genome: BitGenome, rate: float, generator: np.random.Generator) -> BitGenome:
    """Flip every bit with probability `rate`, at a cost that grows with the flips and not with the genome."""
    count = generator.binomial(genome.length, rate)
    if count == 0:
        return genome
    positions = generator.choice(genome.length, size=count, replace=False, shuffle=False)
    packed = genome.packed.copy()
    np.bitwise_xor.at(packed, positions // 8, (128 >> (positions % 8)).astype(np.uint8))
    return BitGenome(packed, genome.length)
