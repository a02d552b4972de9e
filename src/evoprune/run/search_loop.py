"""Which loop drives a search, by configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from evoprune.errors import ConfigError
from evoprune.genome import BitGenome, Segment
from evoprune.run.assemble import build_search
from evoprune.run.asynchronous import run_asynchronously
from evoprune.run.config import Config
from evoprune.run.loop import SearchEnd, run_search
from evoprune.run.presets import is_mask_run
from evoprune.search.base import AsynchronousSearch
from evoprune.seeding import SeedTree

SearchLoop = Callable[..., SearchEnd]


def search_loop(config: Config) -> SearchLoop:
    """`run_search`, or what takes the same arguments and doesn't wait for whole generations."""
    if config.search.asynchronous:
        return partial(run_asynchronously, pop_size=config.ga.pop_size)
    return run_search


def check_loop(config: Config) -> None:
    """See that the search can be driven as configured.

    Raises:
        ConfigError: It is to be asynchronous and can't be, or has nothing to gain.
    """
    if not config.search.asynchronous:
        return
    if is_mask_run(config) and config.masks.mode == "independent":
        raise ConfigError(
            "search.asynchronous has nothing to do with masks.mode independent, whose layers don't wait for each other",
            "leave it out, or use mode whole or layers",
        )
    if config.search.preset == "reference":
        raise ConfigError(
            "search.asynchronous does not go with search.preset reference, whose generations are single children",
            "leave the preset out, and set ga.num_generations for generations of ga.pop_size",
        )
    if not isinstance(build_search(config, _OneUnit(), SeedTree(0)), AsynchronousSearch):
        raise ConfigError(
            f"search.asynchronous: {config.search.algorithm} learns from whole generations",
            "set search.algorithm to steady-state, to random, or to an AsynchronousSearch of your own",
        )


class _OneUnit:
    """The least that a search can be built for."""

    length = 1
    segments = (Segment("unit", 0, 1),)

    def repair(self, genome: BitGenome) -> BitGenome:
        return genome
