import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Scored, SearchSettings
from evoprune.search.population import PopulationSearch
from evoprune.testing.search_suite import Groups

SETTINGS = SearchSettings(
    pop_size=4,
    mutation_rate=0.1,
    crossover_rate=0.0,
    tournament_size=1,
    elitism=1,
    initial_keep=(0.2, 0.8),
    initial=(BitGenome.from_bits(np.arange(30) < 10),),
)


def told(search, proposals):
    search.tell([Scored(one.genome, float(one.genome.bits.sum()), ()) for one in proposals])


def test_the_better_half_goes_on_and_leaves_mutants_of_its_best():
    search = PopulationSearch(Groups(30), SETTINGS, seed=0)
    first = search.ask()
    told(search, first)
    second, ranked = search.ask(), sorted(first, key=lambda one: -one.genome.bits.sum())
    best, next_best = (one.genome.digest for one in ranked[:2])
    assert [one.parents for one in second] == [(best,), (next_best,), (best,), (next_best,)]
    assert [one.genome.digest for one in second[:2]] == [best, next_best]


def test_rounds_climb_and_are_the_same_for_the_same_seed():
    runs = []
    for _ in range(2):
        search, course = PopulationSearch(Groups(30), SETTINGS, seed=1), []
        for number in range(40):
            proposals = search.ask()
            assert {one.fidelity for one in proposals} == {number}
            course.append(max(int(one.genome.bits.sum()) for one in proposals))
            told(search, proposals)
        runs.append(course)
    assert runs[0] == runs[1] == sorted(runs[0])
    assert runs[0][-1] >= runs[0][0] + 4


def test_a_failed_member_goes_last():
    search = PopulationSearch(Groups(30), SETTINGS, seed=0)
    proposals = search.ask()
    search.tell([Scored(one.genome, 0.0, (), 1e9 if number else 0.0) for number, one in enumerate(proposals)])
    assert search.ask()[0].parents == (proposals[0].genome.digest,)
