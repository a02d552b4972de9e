"""Mutation at a fixed budget: as many bits come as go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoprune.genome import BitGenome, Segment


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


def swap_within(
    genome: BitGenome, segments: Sequence[Segment], rate: float, generator: np.random.Generator
) -> BitGenome:
    """Exchange ones for zeros of the same segment, so that the number of ones of each stays.

    The number of exchanges is drawn as by `swap_bits`; segments take part in it by the exchanges that they have room for.

    Args:
        genome: Any genome; one without a zero beside a one comes back as it is.
        segments: Runs of positions that cover the genome.
        rate: Largest share of the ones that go, 0 to 1; 0 changes nothing.
        generator: Source of randomness.
    """
    bits = genome.bits
    parts = [bits[one.start : one.start + one.size] for one in segments]
    ones = [int(part.sum()) for part in parts]
    room = np.array([min(kept, len(part) - kept) for kept, part in zip(ones, parts, strict=True)])
    if rate == 0 or room.sum() == 0:
        return genome
    most = min(round(rate * sum(ones)), int(room.sum()))
    count = int(max(1, most) ** generator.random())
    for part, number in zip(parts, generator.multivariate_hypergeometric(room, count), strict=True):
        for side in (np.flatnonzero(part), np.flatnonzero(~part)):
            part[generator.choice(side, size=number, replace=False, shuffle=False)] ^= True
    return BitGenome.from_bits(bits)
