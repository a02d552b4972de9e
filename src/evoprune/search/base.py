"""The seam between a search algorithm and everything else: ask for genomes, tell their costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from evoprune.genome import BitGenome, Segment


class Representation(Protocol):
    """The face of an encoding that a search sees: how long a genome is and which genomes are valid."""

    @property
    def length(self) -> int:
        """Bits in a genome."""

    @property
    def segments(self) -> Sequence[Segment]:
        """The groups that the bits belong to, in order, covering the genome."""

    def repair(self, genome: BitGenome) -> BitGenome:
        """The valid genome that stands for `genome`: a pure function, and the identity on valid genomes."""


@dataclass(frozen=True)
class Proposal:
    """What a search asks for: a genome, how much work its score may cost, and what it was bred from.

    Attributes:
        genome: Valid and new at this fidelity.
        fidelity: The rung to score it at, counted from 0, the cheapest.
        parents: Digests of the genomes that it was bred from; none for one that was drawn at random or given.
        start: Digest and fidelity of the genome whose trained weights it begins with; None for the dense network's.
    """

    genome: BitGenome
    fidelity: int = 0
    parents: tuple[str, ...] = ()
    start: tuple[str, int] | None = None


@dataclass(frozen=True)
class Scored:
    """A genome with what the search needs to know of its evaluation.

    Attributes:
        genome: The genome, as it was asked.
        fitness: The one number that single-objective searches breed by, higher is better; finite, 0 for a candidate that FAILED.
        costs: One number per objective for the others, lower is better; finite, zeros for a candidate that FAILED.
        violation: 0 when feasible; a failed candidate has more than any infeasible one.
    """

    genome: BitGenome
    fitness: float
    costs: tuple[float, ...]
    violation: float = 0.0


@dataclass(frozen=True)
class SearchSettings:
    """What evolutionary searches can be told; a search ignores what it has no use for.

    Attributes:
        pop_size: Individuals per generation, at least 2.
        mutation_rate: Probability that a bit flips; of `swap` the largest share of ones that are exchanged.
        crossover_rate: Probability that two parents are crossed, otherwise copied.
        tournament_size: Individuals compared for each parent, at most `pop_size`.
        elitism: Best parents that outlive their generation, below `pop_size` for searches that read it.
        initial_keep: Lowest and highest share kept per group in the first generation.
        crossover: `uniform` or `single-point`.
        mutation: `flip`; `prune`, which only ever turns a 1 into a 0; or `swap`, which keeps the number of ones.
        initial: Genomes of the first generation, best first; the rest of it is drawn at random.
        sizes: Candidates of each generation, for searches whose generations differ; `pop_size` in all when empty.
        inherit: Whether candidates begin with trained weights, for searches that say where from.
        control: Genomes of which the best is scored in every generation, though it may be no parent any more.
    """

    pop_size: int
    mutation_rate: float
    crossover_rate: float
    tournament_size: int
    elitism: int
    initial_keep: tuple[float, float]
    crossover: str = "uniform"
    mutation: str = "flip"
    initial: Sequence[BitGenome] = ()
    sizes: tuple[int, ...] = ()
    inherit: bool = True
    control: Sequence[BitGenome] = ()


class Search(Protocol):
    """Proposes genomes and learns from their costs.

    The caller alternates `ask` and `tell`, and tells every genome of a batch, in the order asked. A search is a function of its
    seed and of what it was told: run twice with the same answers, it asks for the same genomes. This is what resume rests on.
    It never asks for a genome twice at one fidelity.
    """

    def ask(self) -> Sequence[Proposal]:
        """The next batch, valid and new; empty when there is nothing left to try."""

    def tell(self, scored: Sequence[Scored]) -> None:
        """Costs of the batch asked last."""

    @property
    def population(self) -> Sequence[BitGenome]:
        """The genomes that the next batch is bred from; empty before the first `tell`."""


@runtime_checkable
class AsynchronousSearch(Search, Protocol):
    """A search that needn't wait for a whole batch: it may be asked again while candidates are still at work.

    It is a function of its seed and of the order of all calls, those that gave nothing included: whoever repeats the calls gets
    the same genomes.
    """

    def ask_one(self) -> Proposal | None:
        """One more, valid and new; None when it finds none, which may change with the next that it is told."""

    def tell_one(self, scored: Scored) -> None:
        """Costs of any genome that was asked for and not told yet.

        Raises:
            ValueError: It is none of those.
        """


class SearchFactory(Protocol):
    """What a name under `search.algorithm` stands for."""

    def __call__(
        self, representation: Representation, settings: SearchSettings, *, objectives: int, seed: int
    ) -> Search:
        """A search that has asked nothing yet; `objectives` is the length of the costs it will be told."""
