import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from pymoo.core.population import Population

from evoprune.search.base import Scored
from evoprune.search.pareto import hypervolume
from evoprune.search.pymoo_adapter import fittest_of_tournament, genetic, nsga2, nsga3, reference_directions
from evoprune.search.random_search import RandomSearch
from evoprune.testing.search_suite import FAILED_VIOLATION, SETTINGS, Groups, noisy, play

GROUPS = Groups(16, 16)


def told(search, answer):
    """Genomes of one more generation with what was told of them."""
    scored = [answer(proposal.genome) for proposal in search.ask()]
    search.tell(scored)
    return scored


def best_first(scored):
    return [one.genome for one in sorted(scored, key=lambda one: (one.violation, -one.fitness))]


@pytest.mark.parametrize("elitism", [0, 1, 3, 11])
def test_genetic_keeps_exactly_the_best_parents_when_generations_change(elitism):
    search = genetic(GROUPS, replace(SETTINGS, elitism=elitism), objectives=1, seed=0)
    parents = told(search, noisy)
    for _ in range(4):
        before = best_first(parents)
        children = {one.genome: one for one in told(search, noisy)}
        outlived = [genome for genome in search.population if genome not in children]
        assert outlived == before[:elitism]
        assert len(search.population) == SETTINGS.pop_size
        parents = [noisy(genome) for genome in search.population]


def test_genetic_prefers_any_feasible_candidate_to_infeasible_and_failed_ones():
    violations = {0: 0.0, 1: 0.3, 2: FAILED_VIOLATION}

    def answer(genome):
        kind = int(genome.digest[-1], 16) % 3
        # A candidate that could not be trained is told fitness 0, which here looks better than what the others have.
        return replace(noisy(genome), fitness=-1.0 if kind == 0 else 0.0, violation=violations[kind])

    search = genetic(GROUPS, replace(SETTINGS, elitism=3), objectives=1, seed=1)
    first = told(search, answer)
    feasible = [one.genome for one in first if one.violation == 0]
    assert 3 <= len(feasible) < len(first)
    told(search, answer)
    outlived = {one.genome for one in first} & set(search.population)
    assert len(outlived) == 3
    assert outlived <= set(feasible)


def test_genetic_fills_up_with_parents_when_few_children_are_unique():
    groups = Groups(4)
    settings = replace(SETTINGS, pop_size=6, elitism=1)
    search = genetic(groups, settings, objectives=1, seed=0)
    asked = play(search, noisy, 20)
    assert sum(map(len, asked)) <= 15
    assert any(len(batch) < 6 for batch in asked[1:])
    assert len(search.population) == 6


def test_genetic_children_are_clones_with_flips_when_parents_are_never_crossed():
    settings = replace(SETTINGS, crossover_rate=0.0, mutation_rate=1 / GROUPS.length)
    search = genetic(GROUPS, settings, objectives=1, seed=2)
    told(search, noisy)
    parents = np.array([genome.bits for genome in search.population])
    distances = [np.min(np.sum(parents != child.genome.bits, axis=1)) for child in search.ask()]
    # One flip is expected and clones are dropped; eight or more of 32 would be one in a million.
    assert min(distances) >= 1
    assert max(distances) < 8


def test_genetic_children_hold_only_bits_of_their_parents_when_nothing_mutates():
    settings = replace(SETTINGS, pop_size=2, elitism=1, tournament_size=1, mutation_rate=0.0)
    search = genetic(GROUPS, settings, objectives=1, seed=3)
    told(search, noisy)
    one, other = (genome.bits for genome in search.population)
    children = np.array([proposal.genome.bits for proposal in search.ask()])
    assert len(children) == 2
    assert np.all(children[:, one == other] == one[one == other])


@pytest.mark.parametrize("factory", [genetic, nsga2])
def test_tell_refuses_other_genomes_than_those_asked(factory):
    search = factory(GROUPS, SETTINGS, objectives=2, seed=0)
    scored = [noisy(proposal.genome) for proposal in search.ask()]
    with pytest.raises(ValueError, match="in order"):
        search.tell(scored[::-1])
    with pytest.raises(ValueError, match="in order"):
        search.tell(scored[:-1])


def test_fittest_of_tournament_goes_by_violation_then_cost_then_draw():
    pop = Population.new(F=np.array([[0.0], [1.0], [2.0], [1.0]]), G=np.array([[0.5], [0.0], [0.0], [0.0]]))
    tournaments = np.array([[0, 2], [2, 1], [3, 1], [1, 3], [0, 0]])
    assert fittest_of_tournament(pop, tournaments).ravel().tolist() == [2, 1, 3, 1, 0]


def test_tournament_size_raises_the_pressure():
    def mean_worth_of_children(size):
        settings = replace(SETTINGS, pop_size=40, tournament_size=size, mutation_rate=0.0)
        search = genetic(Groups(40), settings, objectives=1, seed=5)
        told(search, count)
        return np.mean([proposal.genome.bits.sum() for proposal in search.ask()])

    def count(genome):
        return Scored(genome, float(genome.bits.sum()), (0.0,))

    assert mean_worth_of_children(1) + 3 < mean_worth_of_children(2) + 1 < mean_worth_of_children(8)


def test_nsga2_population_holds_the_best_of_either_objective():
    search = nsga2(GROUPS, SETTINGS, objectives=2, seed=0)
    asked = [noisy(genome) for batch in play(search, noisy, 5) for genome in batch]
    ends = {min(asked, key=lambda one: one.costs[objective]).genome for objective in (0, 1)}
    assert ends <= set(search.population)


def test_genetic_handles_a_million_bits_quickly_and_in_little_memory():
    groups, settings = Groups(*[100_000] * 10), replace(SETTINGS, pop_size=40, mutation_rate=1e-4)
    search = genetic(groups, settings, objectives=1, seed=0)
    tracemalloc.start()
    started = time.process_time()
    asked = play(search, noisy, 3)
    elapsed, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(asked) == 3
    # As booleans, one population alone would take 40 MB, and pymoo's own operators a hundred times that.
    assert peak < 40e6
    assert elapsed < 5


@pytest.mark.parametrize(("objectives", "most"), [(2, 12), (3, 20), (4, 24), (5, 100)])
def test_reference_directions_are_as_many_as_fit(objectives, most):
    directions = reference_directions(objectives, most)
    assert len(directions) <= max(most, objectives)
    assert directions.sum(axis=1) == pytest.approx(1)


def test_nsga3_covers_more_of_four_objectives_than_random_search():
    def answer(genome):
        quarters = genome.bits.reshape(4, -1).mean(axis=1)
        lost = 1 - genome.bits @ np.linspace(0, 1, 32) / 16  # what is dear comes last, and can't all go
        return Scored(genome, 0.0, (*map(float, quarters[:3]), float(lost)))

    def covered(factory, seed):
        search = factory(Groups(8, 8, 8, 8), replace(SETTINGS, mutation_rate=0.05), objectives=4, seed=seed)
        costs = [answer(genome).costs for batch in play(search, answer, 12) for genome in batch]
        return hypervolume(np.array(costs), np.ones(4))

    gained = [covered(nsga3, seed) > covered(RandomSearch, seed) for seed in range(5)]
    assert sum(gained) >= 4
