"""Mutation at a fixed budget: as many bits come as go."""

from __future__ import annotations

import numpy as np

from evoprune.genome import BitGenome


def swap_bits(genome: BitGenome, rate: float, generator: np.random.Generator) -> BitGenome:
    """Clear some ones and set as many zeros, so that the number of ones stays.

    The number of exchanges is drawn log-uniformly between 1 and `rate` of the ones: most children differ in a few bits, some in
    many, and no step size has to be set or adapted.

    Args:
        genome: Any genome; one without a zero or without a one comes back as it is.
        rate: Largest share of the ones that go, 0 to 1; 0 changes nothing.
        generator: Source of randomness.

    Source:
        Doerr et al. 2017, Fast genetic algorithms, arXiv:1703.03334: step sizes of a heavy tail.
    """
    bits = genome.bits
    ones, zeros = np.flatnonzero(bits), np.flatnonzero(~bits)
    most = min(round(rate * len(ones)), len(zeros)) if len(ones) else 0
    if rate == 0 or min(len(ones), len(zeros)) == 0:
        return genome
    count = int(max(1, most) ** generator.random())
    for side in (ones, zeros):
        bits[generator.choice(side, size=count, replace=False, shuffle=False)] ^= True
    return BitGenome.from_bits(bits)
