from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from evoprune.search.base import Scored
from evoprune.search.ladder import ladder, ladder_front
from evoprune.search.pareto import non_dominated
from evoprune.testing.search_suite import SETTINGS, Groups
from tests.search.landscape import GROUPS, valid_genomes, worth

LANDSCAPE = replace(SETTINGS, sizes=(24, 16, 12, 8, 6, 4), mutation_rate=0.08)


def climb(search, answer, generations):
    """Ask and tell; the proposals and the scores of each generation."""
    course = []
    for _ in range(generations):
        proposals = search.ask()
        scored = [answer(one) for one in proposals]
        search.tell(scored)
        course.append((proposals, scored))
    return course


def on_landscape(proposal):
    return Scored(proposal.genome, worth(proposal.genome), (-worth(proposal.genome), float(proposal.genome.bits.sum())))


def test_generations_have_the_sizes_given_and_count_as_fidelities():
    course = climb(ladder(GROUPS, LANDSCAPE, objectives=2, seed=0), on_landscape, 6)
    assert [len(proposals) for proposals, _ in course] == [24, 16, 12, 8, 6, 4]
    assert [{one.fidelity for one in proposals} for proposals, _ in course] == [{n} for n in range(6)]


def test_best_half_goes_on_from_its_own_weights_and_children_from_a_parents():
    course = climb(ladder(GROUPS, LANDSCAPE, objectives=2, seed=1), on_landscape, 3)
    ranked = sorted(course[0][1], key=lambda one: -one.fitness)
    survivors, children = course[1][0][:8], course[1][0][8:]
    assert [one.genome for one in survivors] == [one.genome for one in ranked[:8]]
    assert all(one.start == (one.genome.digest, 0) and not one.parents for one in survivors)
    assert all(one.start[0] in one.parents and one.start[1] == 0 for one in children)


def test_children_begin_with_the_weights_of_the_fitter_parent():
    course = climb(ladder(GROUPS, LANDSCAPE, objectives=2, seed=2), on_landscape, 4)
    for (_, before), (proposals, _) in pairwise(course):
        fitness = {one.genome.digest: one.fitness for one in before}
        for child in (one for one in proposals if one.parents):
            assert fitness[child.start[0]] == max(fitness[parent] for parent in child.parents)


def test_nobody_inherits_when_that_is_turned_off():
    course = climb(ladder(GROUPS, replace(LANDSCAPE, inherit=False), objectives=2, seed=0), on_landscape, 3)
    assert {one.start for proposals, _ in course for one in proposals} == {None}


def test_given_genomes_are_in_the_first_generation():
    given = valid_genomes()[100:110]
    first = ladder(GROUPS, replace(LANDSCAPE, initial=given), objectives=2, seed=0).ask()
    assert [one.genome for one in first[:10]] == given
    assert len(first) == 24


@pytest.mark.parametrize("seed", range(5))
def test_ladder_finds_more_than_random_genomes_of_the_same_number(seed):
    course = climb(ladder(GROUPS, LANDSCAPE, objectives=2, seed=seed), on_landscape, 6)
    generator = np.random.default_rng(seed)
    everything = valid_genomes()
    drawn = [worth(everything[place]) for place in generator.choice(len(everything), sum(LANDSCAPE.sizes))]
    assert max(one.fitness for one in course[-1][1]) >= max(drawn)


def test_halving_keeps_the_best_though_early_rungs_are_noisy():
    """Scores whose error halves with each rung: the best of the first generation is nearly always there at the end."""
    kept = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        truth: dict[str, float] = {}

        def answer(proposal, truth=truth, generator=generator):
            value = truth.setdefault(
                proposal.genome.digest, float(generator.normal()) if not proposal.parents else -9.0
            )
            noisy = value + generator.normal() * 0.5 / 2**proposal.fidelity
            return Scored(proposal.genome, noisy, (-noisy, 0.0))

        course = climb(ladder(Groups(12, 12), LANDSCAPE, objectives=2, seed=seed), answer, 6)
        best = max((one.genome.digest for one in course[0][0]), key=lambda digest: truth[digest])
        last = [scored for _, scored in course if scored][-1]
        kept += max(last, key=lambda one: one.fitness).genome.digest == best
    assert kept >= 16


def test_front_keeps_the_ends_of_both_objectives():
    settings = replace(LANDSCAPE, sizes=(24,) * 6)
    course = climb(ladder_front(GROUPS, settings, objectives=2, seed=0), on_landscape, 6)
    ends = [min(one.costs[side] for one in course[-1][1]) for side in (0, 1)]
    first = [min(one.costs[side] for one in course[0][1]) for side in (0, 1)]
    assert ends[0] <= first[0]
    assert ends[1] <= first[1]


def test_best_of_the_given_genomes_is_scored_in_every_generation_when_it_is_the_control():
    worst = sorted(valid_genomes(), key=worth)[:6]
    settings = replace(LANDSCAPE, initial=worst, control=worst)
    course = climb(ladder(GROUPS, settings, objectives=2, seed=0), on_landscape, 6)
    assert all(worst[-1] in [one.genome for one in proposals] for proposals, _ in course)
    assert [len(proposals) for proposals, _ in course] == [24, 16, 12, 8, 6, 4]
    parents = {name for proposals, _ in course for one in proposals for name in one.parents}
    assert worst[-1].digest not in parents


def unlucky(proposal):
    """Ranks on every rung are those of the rung before, turned round."""
    value = worth(proposal.genome) * (-1) ** proposal.fidelity
    return Scored(proposal.genome, value, (-value, 0.0))


def test_rung_after_two_that_disagree_is_left_out_but_never_the_last():
    search = ladder(GROUPS, LANDSCAPE, objectives=2, seed=0)
    course, rungs = climb(search, unlucky, 5), []
    for proposals, _ in course:
        rungs += {one.fidelity for one in proposals}
        assert all(one.start is None or one.start[1] == rungs[-2] for one in proposals)
    assert rungs == [0, 1, 3, 4, 5]  # 1 and 3 agree, and of 4 there are too few to tell
    assert [len(proposals) for proposals, _ in course] == [24, 16, 2 * 8, 6, 4]
    assert search.ask() == []


def test_no_rung_is_left_out_where_ranks_last():
    search = ladder(GROUPS, LANDSCAPE, objectives=2, seed=0)
    climb(search, on_landscape, 6)
    assert search.ask() == []


def trade(proposal):
    """Costs on a smooth front for genomes whose groups keep alike, worse ones for others."""
    kept = proposal.genome.bits.reshape(3, -1).mean(axis=1) + 1 / 64
    return Scored(proposal.genome, 0.0, (float((1 / kept).sum()), float((kept * kept).sum())))


def climb_for_a_front(seed):
    settings = replace(LANDSCAPE, sizes=(32,) * 6)
    return climb(ladder_front(Groups(64, 64, 64), settings, objectives=2, seed=seed), trade, 6)


def front_of(scored):
    return [scored[place] for place in non_dominated(np.array([one.costs for one in scored]))]


def test_most_of_the_last_generation_of_a_front_is_on_it():
    assert np.mean([len(front_of(climb_for_a_front(seed)[-1][1])) for seed in range(5)]) > 20


def test_front_goes_on_before_anything_that_it_beats():
    for (_, before), (proposals, _) in pairwise(climb_for_a_front(0)):
        kept = {one.genome for one in proposals if not one.parents}
        front = [one.genome for one in front_of(before)]
        assert len(kept & set(front)) == min(len(kept), len(front))
