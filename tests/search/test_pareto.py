import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.indicators.hv import Hypervolume
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from evoprune.search.pareto import hypervolume, hypervolume_2d, non_dominated

# Few values, so that ties and equal rows are frequent.
points = st.tuples(st.integers(0, 14), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 5).map(float))
)
planar = st.integers(0, 14).flatmap(lambda n: arrays(np.float64, (n, 2), elements=st.integers(0, 5).map(float)))


def dominates(one, other):
    return np.all(one <= other) and np.any(one < other)


@given(points)
def test_non_dominated_is_what_no_other_row_dominates(costs):
    front = non_dominated(costs)
    wanted = {tuple(row) for row in costs if not any(dominates(other, row) for other in costs)}
    assert {tuple(costs[row]) for row in front} == wanted
    assert len(front) == len(wanted)


@given(points)
def test_non_dominated_is_sorted_and_names_the_first_of_equal_rows(costs):
    front = non_dominated(costs)
    assert np.all(np.diff(costs[front, 0]) >= 0)
    assert all(not np.any(np.all(costs[:row] == costs[row], axis=1)) for row in front)


def test_non_dominated_agrees_with_pymoo_when_rows_are_many():
    costs = np.random.default_rng(0).random((400, 3))
    assert set(non_dominated(costs)) == set(NonDominatedSorting().do(costs, only_non_dominated_front=True))


@given(planar)
def test_hypervolume_is_the_number_of_unit_squares_that_a_point_covers(costs):
    corners = np.stack(np.meshgrid(np.arange(4), np.arange(3), indexing="ij"), axis=-1).reshape(-1, 2)
    covered = sum(any(np.all(point <= corner) for point in costs) for corner in corners)
    assert hypervolume_2d(costs, (4, 3)) == pytest.approx(covered)


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_agrees_with_pymoo(seed):
    costs = np.random.default_rng(seed).random((60, 2))
    reference = (0.9, 1.1)
    assert hypervolume_2d(costs, reference) == pytest.approx(Hypervolume(ref_point=np.array(reference)).do(costs))


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_hypervolume_of_any_number_of_objectives_agrees_with_pymoo(objectives):
    costs = np.random.default_rng(objectives).random((30, objectives))
    reference = np.full(objectives, 0.8)
    assert hypervolume(costs, reference) == pytest.approx(Hypervolume(ref_point=reference).do(costs))
