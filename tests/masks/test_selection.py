import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.masks import selection
from evoprune.masks.selection import FORCED, NEVER, highest, top_indices

keys = st.lists(st.sampled_from([NEVER, -1.0, 0.0, 0.5, 2.0, FORCED]), min_size=1, max_size=30)


@given(keys, st.integers(-1, 31))
def test_highest_is_the_start_of_a_stable_sort(values, budget):
    array = np.array(values, dtype=np.float32)
    order = sorted((position for position in range(len(array)) if array[position] > NEVER), key=lambda at: -array[at])
    expected = sorted(order[: max(0, budget)])
    assert np.flatnonzero(highest(array, None, budget)).tolist() == expected == top_indices(array, budget).tolist()
    assert np.array_equal(array, np.array(values, dtype=np.float32))


@given(keys, st.integers(0, 60), st.integers(0, 99))
def test_highest_fills_the_budget_until_a_unit_does_not_fit(values, budget, seed):
    array, sizes = np.array(values, dtype=np.float32), np.random.default_rng(seed).integers(1, 5, len(values))
    expected, left = [], budget
    for position in sorted(range(len(array)), key=lambda at: -array[at]):
        left -= sizes[position]
        if left < 0 or array[position] == NEVER:
            break
        expected.append(position)
    assert np.flatnonzero(highest(array, sizes, budget)).tolist() == sorted(expected)


@pytest.mark.parametrize("count", [1, 77, 260])
def test_top_indices_goes_piece_by_piece_through_long_arrays(monkeypatch, count):
    monkeypatch.setattr(selection, "CHUNK", 16)
    array = np.random.default_rng(0).integers(0, 50, 300).astype(np.float32)
    array[::7] = NEVER
    order = np.argsort(-array, kind="stable")
    assert top_indices(array, count).tolist() == sorted(order[: min(count, 257)].tolist())
