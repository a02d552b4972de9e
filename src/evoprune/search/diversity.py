"""How different the individuals of a population are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoprune.genome import BitGenome

BLOCK = 1 << 16


def mean_hamming_distance(population: Sequence[BitGenome]) -> float:
    """Mean share of differing bits over all pairs: 0 when all are alike, 0.5 for random ones.

    Args:
        population: Two or more genomes of one length. Bits are unpacked a block at a time, so that large genomes stay packed.
    """
    count, length = len(population), population[0].length
    packed = [genome.packed for genome in population]
    differing = 0
    for start in range(0, len(packed[0]), BLOCK):
        bits = np.unpackbits(np.stack([one[start : start + BLOCK] for one in packed]), axis=1)
        ones = bits.sum(axis=0, dtype=np.int64)
        differing += int(np.sum(ones * (count - ones)))
    return differing / (length * count * (count - 1) / 2)
