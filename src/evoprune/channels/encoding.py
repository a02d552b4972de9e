"""The seam between genomes and plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from evoprune.channels.orders import Orders
from evoprune.genome import BitGenome, Segment
from evoprune.plan import PruningPlan
from evoprune.space.budget import Budget
from evoprune.space.pruning_space import PruningSpace


class Encoding(Protocol):
    """How a genome names a plan.

    Implementations are immutable and picklable; the same genome gives the same plan on every machine. An encoding whose genomes
    mean more than bits is `Varied` besides: it brings the operators of `evoprune.search.variation`.
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

    def widths(self, genome: BitGenome) -> Mapping[str, int]:
        """Units that each group keeps, by its name, of a repaired genome."""


class EncodingFactory(Protocol):
    """What a name under `search.encoding` stands for."""

    def __call__(
        self,
        space: PruningSpace,
        *,
        layer_types: tuple[str, ...] | None,
        round_to: int,
        budget: Budget | None,
        orders: Orders | None,
    ) -> Encoding:
        """An encoding of choices in a space.

        Args:
            space: Pruning space of the model.
            layer_types: Kinds of layer to prune; None: all.
            round_to: Kept widths are multiples of this.
            budget: Limits that repaired genomes keep; None where there are none, and in workers, whose genomes are repaired.
            orders: Order of the units by several criteria; None before the network is trained.

        Raises:
            UsageError: No choice keeps the budget.
        """
