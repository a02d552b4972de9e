"""The seam between a search algorithm and everything else: ask for genomes, tell their costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evoprune.genome import BitGenome


class Representation(Protocol):
    """The face of an encoding that a search sees: how long a genome is and which genomes are valid."""

    @property
    def length(self) -> int:
        """Bits in a genome."""

    @property
    def segments(self) -> Sequence[tuple[str, int, int]]:
        """`(name, start, size)` of the groups that the bits belong to, in order, covering the genome."""

    def repair(self, genome: BitGenome) -> BitGenome:
        """The valid genome that stands for `genome`: a pure function, and the identity on valid genomes."""


@dataclass(frozen=True)
class Scored:
    """A genome with what the search needs to know of its evaluation.

    Attributes:
        genome: As it was asked.
        costs: One finite number per objective, lower is better; zeros for a candidate that FAILED.
        violation: 0 when feasible; a failed candidate has more than any infeasible one.
    """

    genome: BitGenome
    costs: tuple[float, ...]
    violation: float = 0.0


class Search(Protocol):
    """Proposes genomes and learns from their costs.

    The caller alternates `ask` and `tell`, and tells every genome of a batch, in the order asked. A search is a function of its
    seed and of what it was told: run twice with the same answers, it asks for the same genomes. This is what resume rests on.
    It never asks for a genome twice.
    """

    def ask(self) -> Sequence[BitGenome]:
        """The next batch, valid and new; empty when there is nothing left to try."""

    def tell(self, scored: Sequence[Scored]) -> None:
        """Costs of the batch asked last."""

    @property
    def population(self) -> Sequence[BitGenome]:
        """The genomes that the next batch is bred from; empty before the first `tell`."""
