"""Searches for fronts against the front that brute force finds."""

from dataclasses import replace

import numpy as np
import pytest

from evoprune.search.ladder import ladder_front
from evoprune.search.pareto import non_dominated
from evoprune.search.pymoo_adapter import nsga2, nsga3
from tests.search.landscape import GROUPS, SETTINGS, scored, valid_genomes

GENERATIONS = 20
"""Of 32 candidates: a fifth of all that there are, so that chance finds the front in one of 4,000 tries."""


@pytest.fixture(scope="module")
def truth():
    """Costs of the front, as points."""
    return front_of([scored(genome) for genome in valid_genomes()])


def front_of(found):
    costs = np.array([one.costs for one in found])
    return {tuple(costs[row]) for row in non_dominated(costs)}


def climbed(search, generations):
    """All that a search asks for in so many generations."""
    found = []
    for _ in range(generations):
        batch = [scored(proposal.genome) for proposal in search.ask()]
        search.tell(batch)
        found += batch
    return found


@pytest.mark.parametrize("build", [nsga2, nsga3, ladder_front])
def test_front_of_a_search_is_the_one_that_brute_force_finds(build, truth):
    settings = replace(SETTINGS, pop_size=32, sizes=(32,) * GENERATIONS if build is ladder_front else ())
    found = climbed(build(GROUPS, settings, objectives=2, seed=0), GENERATIONS)
    assert front_of(found) == truth
