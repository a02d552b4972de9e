"""What members of an inheriting population differ in: how they rank weights, and how they learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.genome import BitGenome, Bits, Segment
from evoprune.search.base import SearchSettings
from evoprune.search.variation import Pair, Variation

_BITS: Final = 6
_LEVELS: Final = 2**_BITS
_MIDDLE: Final = _LEVELS // 2
_STEPS_PER_OCTAVE: Final = 8
_RATE_STEPS_PER_OCTAVE: Final = 16
_SPREAD: Final = 3.0
"""Standard deviation of a mutated gene, in levels."""
_SWITCHES: Final = 2
_TURNS: Final = 0.1
"""Chance that a mutation turns a switch on or off."""


@dataclass(frozen=True)
class MemberGenes:
    """One member's choices, each in steps.

    Attributes:
        scales: [weight tensors] factors on the importance of the tensors' weights, 1/16 to 15.
        exponent: Exponent of the Fisher diagonal F in the importance w^2 F^exponent, 0 to 1.
        rate: Factor on the learning rate, 1/4 to 4.
        distills: Whether it learns from the dense network besides the targets.
        regrows: Whether it lets pruned weights come back.
    """

    scales: tuple[float, ...]
    exponent: float
    rate: float
    distills: bool
    regrows: bool = False


@dataclass(frozen=True)
class MemberSpace:
    """The genomes of members: a field of 6 bits for each number, and a bit each for distillation and regrowth.

    Attributes:
        names: Names of the weight tensors.
        may_distill: Whether distillation is a choice; never done otherwise.
        may_regrow: Whether regrowth is one.
    """

    names: tuple[str, ...]
    may_distill: bool
    may_regrow: bool = False

    @property
    def length(self) -> int:
        """Bits in a genome."""
        return _BITS * (len(self.names) + 2) + _SWITCHES

    @property
    def segments(self) -> Sequence[Segment]:
        """A field for each tensor, then exponent, rate, distillation and regrowth."""
        fields = [Segment(name, _BITS * number, _BITS) for number, name in enumerate((*self.names, "exponent", "rate"))]
        return (*fields, Segment("distillation", self.length - 2, 1), Segment("regrowth", self.length - 1, 1))

    def repair(self, genome: BitGenome) -> BitGenome:
        """Every genome is valid, but for switches that are no choice."""
        levels, switches = _read(genome)
        return _write(levels, switches & (self.may_distill, self.may_regrow))

    def encode(self, genes: MemberGenes) -> BitGenome:
        """The nearest genome."""
        scales = _MIDDLE + _STEPS_PER_OCTAVE * np.log2(genes.scales)
        rest = (_LEVELS * genes.exponent, _MIDDLE + _RATE_STEPS_PER_OCTAVE * np.log2(genes.rate))
        switches = np.array([genes.distills, genes.regrows])
        return self.repair(_write(np.concatenate([scales, rest]), switches))

    def decode(self, genome: BitGenome) -> MemberGenes:
        """The choices of a valid genome."""
        levels, (distills, regrows) = _read(genome)
        return MemberGenes(
            scales=tuple(float(one) for one in 2.0 ** ((levels[:-2] - _MIDDLE) / _STEPS_PER_OCTAVE)),
            exponent=float(levels[-2]) / _LEVELS,
            rate=float(2.0 ** ((levels[-1] - _MIDDLE) / _RATE_STEPS_PER_OCTAVE)),
            distills=bool(distills),
            regrows=bool(regrows),
        )

    def first(self) -> list[BitGenome]:
        """Members to begin with: w^2 F^(1/2) alone, w^2 F^(1/4) at twice the rate, that with distillation, then with regrowth."""
        plain = MemberGenes((1.0,) * len(self.names), exponent=0.5, rate=1.0, distills=False)
        faster = replace(plain, exponent=0.25, rate=2.0)
        taught = replace(faster, distills=True)
        return list(dict.fromkeys(map(self.encode, (plain, faster, taught, replace(taught, regrows=True)))))

    def variation(self, settings: SearchSettings) -> Variation:
        """Members are drawn around the first ones, and mutate in every number a little."""
        del settings
        return _MemberVariation(self)


@dataclass(frozen=True)
class _MemberVariation:
    space: MemberSpace

    def sample(self, generator: np.random.Generator) -> BitGenome:
        first = self.space.first()
        return self.mutate(first[int(generator.integers(len(first)))], generator)

    def cross(self, one: BitGenome, other: BitGenome, generator: np.random.Generator) -> Pair:
        """Whole fields change places."""
        (mine, here), (others, there) = _read(one), _read(other)
        swapped = generator.random(len(mine)) < 0.5
        return _write(np.where(swapped, others, mine), here), _write(np.where(swapped, mine, others), there)

    def mutate(self, genome: BitGenome, generator: np.random.Generator) -> BitGenome:
        levels, switches = _read(genome)
        turned = switches != (generator.random(_SWITCHES) < _TURNS)
        moved = levels + generator.normal(0, _SPREAD, size=len(levels))
        return self.space.repair(_write(moved, turned))


def _read(genome: BitGenome) -> tuple[NDArray[np.int64], Bits]:
    """Levels [fields], and switches [2]: whether it distills and regrows."""
    bits = genome.bits
    weights = 1 << np.arange(_BITS - 1, -1, -1, dtype=np.int64)
    return (bits[:-_SWITCHES].reshape(-1, _BITS) * weights).sum(axis=1), bits[-_SWITCHES:]


def _write(levels: NDArray[np.generic], switches: Bits) -> BitGenome:
    whole = np.clip(np.rint(levels.astype(np.float64)), 0, _LEVELS - 1).astype(np.int64)
    shifts = np.arange(_BITS - 1, -1, -1, dtype=np.int64)
    bits: Bits = (whole[:, None] >> shifts & 1).astype(np.bool_).ravel()
    return BitGenome.from_bits(np.append(bits, switches))
