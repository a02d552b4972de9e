"""The seam between genomes and the weights that stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from evoprune.genome import BitGenome, Bits, Segment
from evoprune.mask_plan import MaskPlan
from evoprune.masks.space import UnitBits


class MaskEncoding(Protocol):
    """How a genome names the units of a `MaskSpace` that stay.

    Implementations are made from a space alone, immutable and picklable; the same genome gives the same masks on every machine.
    """

    @property
    def length(self) -> int:
        """Bits in a genome."""

    @property
    def segments(self) -> Sequence[Segment]:
        """What the bits belong to, in genome order, without gaps."""

    def repair(self, genome: BitGenome) -> BitGenome:
        """The nearest genome that meets the goal: the same at every call, the genome itself if it does already."""

    def decode(self, genome: BitGenome) -> MaskPlan:
        """The masks of a repaired genome."""

    def bits_of(self, genome: BitGenome) -> dict[str, Bits]:
        """The same as units: [units] bool by weight name."""

    def encode(self, bits: UnitBits, order: int = 0) -> BitGenome:
        """The genome that comes nearest to keeping these units; `order` is the importance order that chose them."""
