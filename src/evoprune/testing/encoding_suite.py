"""Conformance suite for `Encoding`: what every way from genomes to plans has to hold, as tests that an extension inherits."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.encoding import Encoding
from evoprune.channels.surgery import prune
from evoprune.channels.verify import verify
from evoprune.genome import BitGenome
from evoprune.rng import isolated_rng
from evoprune.space.pruning_space import PruningSpace
from evoprune.testing.tiny import SIDE, TinyCNN


class EncodingSuite(ABC):
    """Inherit in a module that pytest collects, and build the encoding: every test below then runs on it.

    Example:
        class TestWidths(EncodingSuite):
            def encoding(self, space):
                return Widths(space)

    Attributes:
        genomes: Random genomes in each test.
    """

    genomes: int = 12

    @abstractmethod
    def encoding(self, space: PruningSpace) -> Encoding:
        """The encoding under test, for a space with the groups `conv1` and `conv2`, eight units each."""

    def test_segments_cover_the_genome_without_gaps(self) -> None:
        """In genome order, the first from 0 on, each with a name and at least one position."""
        encoding = self._encoding()
        segments = encoding.segments
        assert segments[0].start == 0, "the first segment starts elsewhere"
        assert segments[-1].start + segments[-1].size == encoding.length, "the last segment ends elsewhere"
        assert all(one.start + one.size == other.start for one, other in pairwise(segments)), "there is a gap"
        assert all(one.size > 0 and one.name for one in segments), "a segment is empty or has no name"

    def test_repair_is_pure_and_changes_nothing_twice(self) -> None:
        """The same genome is repaired alike at every call, and what was repaired stays."""
        encoding = self._encoding()
        for genome in self._random(encoding):
            repaired = encoding.repair(genome)
            assert encoding.repair(genome) == repaired, "the same genome is repaired in two ways"
            assert encoding.repair(repaired) == repaired, "a repaired genome is not left alone"
            assert repaired.length == encoding.length, "repair changes the length"

    def test_repaired_genomes_are_plans_that_verify(self) -> None:
        """Surgery takes each plan, and the smaller network computes what the masked one does."""
        model, encoding = network(), self._encoding()
        inputs = torch.ones(2, 3, SIDE, SIDE)
        for genome in self._random(encoding):
            plan = encoding.decode(encoding.repair(genome))
            assert prune(model, plan)(inputs).shape == (2, 4), "the pruned network gives other outputs"
            assert verify(model, plan, inputs).agrees, "the pruned network computes something else"

    def test_bits_make_a_difference(self) -> None:
        """Different genomes name different plans, by and large."""
        encoding = self._encoding()
        plans = {encoding.decode(encoding.repair(genome)).to_json() for genome in self._random(encoding)}
        assert len(plans) > self.genomes // 2, "most genomes name the same plan"

    def test_encoding_means_the_same_elsewhere(self) -> None:
        """One that was pickled, and one that was built again, decode to the same plans."""
        first, built_again = self._encoding(), self._encoding()
        travelled: Encoding = pickle.loads(pickle.dumps(first))
        for genome in self._random(first):
            plans = {one.decode(one.repair(genome)).to_json() for one in (first, built_again, travelled)}
            assert len(plans) == 1, "the same genome names different plans"

    def _encoding(self) -> Encoding:
        return self.encoding(analyze(network(), torch.zeros(1, 3, SIDE, SIDE)))

    def _random(self, encoding: Encoding) -> Iterator[BitGenome]:
        """Genomes of every density, the empty and the full one among them."""
        generator = np.random.default_rng(7)
        for density in np.linspace(0, 1, self.genomes):
            yield BitGenome.from_bits(generator.random(encoding.length) < density)


def network() -> nn.Module:
    """A `TinyCNN` whose weights are always the same, in eval mode."""
    with isolated_rng(5):
        return TinyCNN().eval()
