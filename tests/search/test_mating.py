from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from evoprune.genome import BitGenome
from evoprune.search.base import Scored
from evoprune.search.mating import Neighbours, Tournaments
from evoprune.search.variation import BitVariation
from evoprune.testing.search_suite import SETTINGS, Groups

REPRESENTATION = Groups(16, 16)


def parent(number, costs):
    bits = np.zeros(32, dtype=np.bool_)
    bits[: 4 * (number + 1)] = True
    return Scored(BitGenome.from_bits(bits), 0.0, costs)


# Both costs are evenly spaced on a log scale, but for one gap that is three times as wide; the order is another.
CHAIN = [parent(number, (float(2**place), float(2**-place))) for number, place in enumerate((0, 1, 2, 5, 6))]
PARENTS = [CHAIN[place] for place in (3, 0, 4, 2, 1)]


def bred(mating, parents, count, seed=0):
    generator = np.random.default_rng(seed)
    return [next(iter(mating.children(parents, generator))) for _ in range(count)]


class Halfway(BitVariation):
    """Knows what lies between two genomes: what they have in common, and some of the rest."""

    def between(self, one, other, generator):
        return self.cross(one, other, generator)[0]


@pytest.fixture
def neighbours():
    return Neighbours(Halfway(REPRESENTATION, SETTINGS), SETTINGS)


def test_parents_are_neighbours_along_the_front_or_one_of_them_alone(neighbours):
    allowed = {frozenset(pair) for pair in pairwise(CHAIN)}
    allowed |= {frozenset([one]) for one in CHAIN}
    assert {frozenset(child.couple) for child in bred(neighbours, PARENTS, 200)} <= allowed


def test_children_fall_into_gaps_the_more_the_wider(neighbours):
    crossed = [child.couple for child in bred(neighbours, PARENTS, 2000) if len(child.parents) == 2]
    places = Counter(min(map(CHAIN.index, couple)) for couple in crossed)
    shares = [places[place] / places.total() for place in range(4)]
    assert shares == pytest.approx([1 / 6, 1 / 6, 3 / 6, 1 / 6], abs=0.04)


def test_parents_that_another_beats_have_no_children(neighbours):
    beaten = parent(7, (2.0, 100.0))
    assert all(beaten not in child.couple for child in bred(neighbours, [beaten, *PARENTS], 300))


def test_crossed_children_lie_between_their_parents_and_begin_with_the_weights_of_the_more_alike(neighbours):
    for child in bred(neighbours, PARENTS, 200):
        other = next((one for one in child.couple if one is not child.start), child.start)
        differing = [int((child.genome.bits != one.genome.bits).sum()) for one in (child.start, other)]
        assert differing[0] <= differing[1]
        if other is not child.start:
            one, two = (parent.genome.bits for parent in child.couple)
            assert bool((child.genome.bits[one == two] == one[one == two]).all())


def test_children_are_crossed_and_mutated_where_nothing_is_known_to_lie_between():
    mating = Neighbours(BitVariation(REPRESENTATION, replace(SETTINGS, mutation_rate=0.5)), SETTINGS)
    beyond = [
        (child.genome.bits != one.genome.bits) & (child.genome.bits != other.genome.bits)
        for child in bred(mating, PARENTS, 20)
        for one, other in [child.couple]
        if len(child.parents) == 2
    ]
    assert all(bits.any() for bits in beyond)


def test_one_parent_alone_has_children_and_equals_all_have(neighbours):
    children = bred(neighbours, PARENTS[:1], 20)
    assert {child.parents for child in children} == {(PARENTS[0].genome.digest,)}
    assert any(child.genome != PARENTS[0].genome for child in children)
    alike = [parent(number, (1.0, 1.0)) for number in range(3)]
    assert {one for child in bred(neighbours, alike, 60) for one in child.couple} == set(alike)


def test_tournaments_favour_the_fitter_whose_weights_children_begin_with():
    mating = Tournaments(BitVariation(REPRESENTATION, SETTINGS), SETTINGS)
    children = bred(mating, PARENTS, 300)
    starts = Counter(PARENTS.index(child.start) for child in children)
    assert starts[0] > starts[4]
    assert all(PARENTS.index(child.start) == min(map(PARENTS.index, child.couple)) for child in children)
