import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.masks.guards import ensure_units_alive
from evoprune.masks.n_of_m import NOfM
from evoprune.masks.structures import COLUMNS, ROWS, Blocks, Unstructured


@given(
    st.integers(0, 9999),
    st.sampled_from([(8, 8), (7, 5), (6, 9, 3, 3)]),
    st.sampled_from([Unstructured(), COLUMNS, Blocks(4, 4), Blocks(2, 1), NOfM(2, 4)]),
)
def test_units_come_back_until_every_output_lives(seed, shape, structure):
    generator = np.random.default_rng(seed)
    bits, scores = generator.random(structure.units(shape)) < 0.05, generator.random(structure.units(shape))
    alive = ensure_units_alive(structure, bits, shape, scores)
    mask = structure.expand(alive, shape)
    assert mask.reshape(shape[0], -1).any(axis=1).all()
    assert not (bits & ~alive).any()
    assert structure.repair(alive, shape, scores) is alive or not isinstance(structure, NOfM)
    assert ensure_units_alive(structure, alive, shape, scores) is alive


@pytest.mark.parametrize("bits", [[True, False, False], [False, False, False]])
def test_one_row_is_left_when_whole_rows_go(bits):
    alive = ensure_units_alive(ROWS, np.array(bits), (3, 2), np.array([1, 3, 2]))
    assert alive.tolist() == ([False, True, False] if not any(bits) else bits)


def test_unit_that_comes_back_is_the_best_of_its_output():
    alive = ensure_units_alive(Blocks(2, 2), np.zeros(4, bool), (4, 4), np.array([1.0, 2.0, 4.0, 3.0]))
    assert alive.tolist() == [False, True, True, False]
