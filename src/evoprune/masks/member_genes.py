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
_DISTILL_TURNS: Final = 0.1
"""Chance that a mutation turns distillation on or off."""


@dataclass(frozen=True)
class MemberGenes:
    """One member's choices, each in steps.

    Attributes:
        scales: [weight tensors] factors on the importance of the tensors' weights, 1/16 to 15.
        exponent: Exponent of the Fisher diagonal F in the importance w^2 F^exponent, 0 to 1.
        rate: Factor on the learning rate, 1/4 to 4.
        distills: Whether it learns from the dense network besides the targets.
    """

    scales: tuple[float, ...]
    exponent: float
    rate: float
    distills: bool


@dataclass(frozen=True)
class MemberSpace:
    """The genomes of members: a field of 6 bits for each number, and a bit for distillation.

    Attributes:
        names: Names of the weight tensors.
        may_distill: Whether distillation is a choice; never done otherwise.
    """

    names: tuple[str, ...]
    may_distill: bool

    @property
    def length(self) -> int:
        """Bits in a genome."""
        return _BITS * (len(self.names) + 2) + 1

    @property
    def segments(self) -> Sequence[Segment]:
        """A field for each tensor, then exponent, rate and distillation."""
        fields = [Segment(name, _BITS * number, _BITS) for number, name in enumerate((*self.names, "exponent", "rate"))]
        return (*fields, Segment("distillation", self.length - 1, 1))

    def repair(self, genome: BitGenome) -> BitGenome:
        """Every genome is valid, but for distillation where that is no choice."""
        levels, distills = _read(genome)
        return genome if self.may_distill or not distills else _write(levels, distills=False)

    def encode(self, genes: MemberGenes) -> BitGenome:
        """The nearest genome."""
        scales = _MIDDLE + _STEPS_PER_OCTAVE * np.log2(genes.scales)
        rest = (_LEVELS * genes.exponent, _MIDDLE + _RATE_STEPS_PER_OCTAVE * np.log2(genes.rate))
        return self.repair(_write(np.concatenate([scales, rest]), distills=genes.distills))

    def decode(self, genome: BitGenome) -> MemberGenes:
        """The choices of a valid genome."""
        levels, distills = _read(genome)
        return MemberGenes(
            scales=tuple(float(one) for one in 2.0 ** ((levels[:-2] - _MIDDLE) / _STEPS_PER_OCTAVE)),
            exponent=float(levels[-2]) / _LEVELS,
            rate=float(2.0 ** ((levels[-1] - _MIDDLE) / _RATE_STEPS_PER_OCTAVE)),
            distills=distills,
        )

    def first(self) -> list[BitGenome]:
        """Members to begin with: w^2 F^(1/2) alone, then w^2 F^(1/4) at twice the rate, then that with distillation."""
        plain = MemberGenes((1.0,) * len(self.names), exponent=0.5, rate=1.0, distills=False)
        faster = replace(plain, exponent=0.25, rate=2.0)
        return list(dict.fromkeys(self.encode(one) for one in (plain, faster, replace(faster, distills=True))))

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
        return (
            _write(np.where(swapped, others, mine), distills=here),
            _write(np.where(swapped, mine, others), distills=there),
        )

    def mutate(self, genome: BitGenome, generator: np.random.Generator) -> BitGenome:
        levels, distills = _read(genome)
        turned = distills != (generator.random() < _DISTILL_TURNS)
        moved = levels + generator.normal(0, _SPREAD, size=len(levels))
        return self.space.repair(_write(moved, distills=bool(turned)))


def _read(genome: BitGenome) -> tuple[NDArray[np.int64], bool]:
    """Levels [fields], and whether it distills."""
    bits = genome.bits
    weights = 1 << np.arange(_BITS - 1, -1, -1, dtype=np.int64)
    return (bits[:-1].reshape(-1, _BITS) * weights).sum(axis=1), bool(bits[-1])


def _write(levels: NDArray[np.generic], *, distills: bool) -> BitGenome:
    whole = np.clip(np.rint(levels.astype(np.float64)), 0, _LEVELS - 1).astype(np.int64)
    shifts = np.arange(_BITS - 1, -1, -1, dtype=np.int64)
    bits: Bits = (whole[:, None] >> shifts & 1).astype(np.bool_).ravel()
    return BitGenome.from_bits(np.append(bits, distills))
