"""The seam between genomes and plans."""

from __future__ import annotations

from typing import Protocol

from evoprune.genome import BitGenome, Segment
from evoprune.plan import PruningPlan


class Encoding(Protocol):
    """How a genome names a plan.

    Implementations are immutable and picklable; the same genome gives the same plan on every machine.
    """

    @property
    def length(self) -> int:
        """Bits in a genome."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What the bits belong to, in genome order, without gaps."""

    def repair(self, genome: BitGenome) -> BitGenome:
        """The nearest genome that satisfies all constraints: the same at every call, the genome itself if it does already."""

    def decode(self, genome: BitGenome) -> PruningPlan:
        """The plan of a repaired genome."""
