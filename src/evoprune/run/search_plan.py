"""How genomes are searched for: by which algorithm, how long, and in which loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evoprune.errors import ConfigError
from evoprune.genome import BitGenome, Segment
from evoprune.plugins import resolve
from evoprune.run.async_loop import run_asynchronously
from evoprune.run.loop import SearchDrive, SearchEnd, run_search
from evoprune.run.rungs import LadderShape, Rung
from evoprune.search.base import AsynchronousSearch, Representation, Search, SearchFactory, SearchSettings
from evoprune.seeding import SeedTree


@dataclass(frozen=True)
class SearchPlan:
    """Builds searches of one run, and drives them.

    Attributes:
        algorithm: Name of the search.
        settings: Settings of the search, but for the first genomes.
        objectives: Number of costs that it is told.
        generations: Number of generations.
        asynchronous: Whether it is driven without waiting for whole generations.
        max_candidates: Most evaluations of the run; None: any number.
        ladder: Shape of the generations, where these are rungs; None for other searches.
    """

    algorithm: str
    settings: SearchSettings
    objectives: int
    generations: int
    asynchronous: bool
    max_candidates: int | None
    ladder: LadderShape | None = None

    def on(self, rungs: Sequence[Rung]) -> SearchPlan:
        """The plan with these rungs as generations."""
        settings = replace(self.settings, sizes=tuple(rung.candidates for rung in rungs))
        return replace(self, settings=settings, generations=len(rungs))

    def build(
        self,
        encoding: Representation,
        seeds: SeedTree,
        initial: Sequence[BitGenome] = (),
        control: Sequence[BitGenome] = (),
    ) -> Search:
        """A search ready for its first `ask`.

        Args:
            encoding: Says which genomes are valid.
            seeds: Root of the run's seeds.
            initial: Genomes of its first generation, the most important first.
            control: Genomes of which the best is scored in every generation, where the search can do that.
        """
        factory: SearchFactory = resolve("searches", self.algorithm)
        # numpy's and pymoo's seeds have 32 bits.
        seed = seeds.child("search").seed % 2**32
        settings = replace(self.settings, initial=initial, control=control)
        return factory(encoding, settings, objectives=self.objectives, seed=seed)

    def run(self, drive: SearchDrive) -> SearchEnd:
        """Drive a search to its end."""
        if self.asynchronous:
            return run_asynchronously(drive, pop_size=self.settings.pop_size)
        return run_search(drive)

    def check(self, *, alone: bool, reference: bool) -> None:
        """See that the search can be driven as planned.

        Args:
            alone: Whether searches are jobs of their own, which don't wait for each other.
            reference: Whether generations are single children.

        Raises:
            ConfigError: It is to be asynchronous and can't be, or has nothing to gain.
        """
        if not self.asynchronous:
            return
        if alone:
            raise ConfigError(
                "search.asynchronous has nothing to do with masks.mode independent, whose layers don't wait for each other",
                "leave it out, or use mode whole or layers",
            )
        if reference:
            raise ConfigError(
                "search.asynchronous does not go with search.preset reference, whose generations are single children",
                "leave the preset out, and set ga.num_generations for generations of ga.pop_size",
            )
        if not isinstance(self.build(_OneUnit(), SeedTree(0)), AsynchronousSearch):
            raise ConfigError(
                f"search.asynchronous: {self.algorithm} learns from whole generations",
                "set search.algorithm to steady-state, to random, or to an AsynchronousSearch of your own",
            )


class _OneUnit:
    """The least that a search can be built for."""

    length = 1
    segments = (Segment("unit", 0, 1),)

    def repair(self, genome: BitGenome) -> BitGenome:
        return genome
