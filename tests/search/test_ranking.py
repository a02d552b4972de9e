import numpy as np
import pytest
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from evoprune.genome import BitGenome
from evoprune.search.base import Scored
from evoprune.search.ranking import by_fitness, by_front, crowding_distance, front_numbers, scaled


def costs_of(seed, rows, objectives):
    return np.random.default_rng(seed).random((rows, objectives))


def genome(number):
    return BitGenome(np.array([number], dtype=np.uint8), 8)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_front_numbers_agree_with_pymoo(objectives):
    costs = costs_of(objectives, 60, objectives)
    fronts = NonDominatedSorting().do(costs)
    expected = np.empty(60, dtype=int)
    for number, members in enumerate(fronts):
        expected[members] = number
    assert front_numbers(costs).tolist() == expected.tolist()


def test_equal_rows_are_in_one_front():
    assert front_numbers(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 3.0]])).tolist() == [0, 0, 1]


def test_crowding_distance_agrees_with_pymoo():
    front = np.sort(costs_of(3, 20, 1), axis=0)
    costs = np.hstack([front, front[::-1]])
    assert crowding_distance(costs) == pytest.approx(calc_crowding_distance(costs) * 2)


def test_violations_come_last_and_the_earlier_of_equals_first():
    scored = [
        Scored(genome(0), 1.0, (0.0,), violation=2.0),
        Scored(genome(1), 0.5, (0.5,)),
        Scored(genome(2), 0.5, (0.5,)),
        Scored(genome(3), 0.0, (0.0,), violation=1.0),
    ]
    assert [one.genome.packed[0] for one in by_fitness(scored)] == [1, 2, 3, 0]
    assert [one.genome.packed[0] for one in by_front(scored)] == [1, 2, 3, 0]


def test_costs_above_zero_are_scaled_by_their_logarithm_and_others_as_they_are():
    costs = np.array([[1.0, -0.9, 5.0], [10.0, -0.5, 5.0], [100.0, 0.1, 5.0]])
    assert scaled(costs) == pytest.approx(np.array([[0, 0, 0], [0.5, 0.4, 0], [1, 1, 0]]))


def test_front_is_thinned_where_relative_differences_are_small():
    """Of five on a front, the one that differs from its neighbours by a tenth goes last, though others are closer in numbers."""
    front = [(1.0, 100.0), (2.0, 50.0), (4.0, 25.0), (90.0, 1.2), (100.0, 1.1), (110.0, 1.0)]
    ranked = by_front([Scored(genome(number), 0.0, costs) for number, costs in enumerate(front)])
    assert ranked[-1].costs == (100.0, 1.1)
