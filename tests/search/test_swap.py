import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.genome import BitGenome
from evoprune.search.swap import swap_bits


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.floats(0, 1), st.integers(0, 1000))
def test_swap_bits_keeps_the_number_of_ones(bits, rate, seed):
    genome = BitGenome.from_bits(np.array(bits))
    child = swap_bits(genome, rate, np.random.default_rng(seed))
    assert child.bits.sum() == genome.bits.sum()
    assert (child == genome) == (rate == 0 or all(bits) or not any(bits))


def test_swap_bits_exchanges_one_to_the_share_given_log_uniformly():
    genome, generator = BitGenome.from_bits(np.arange(2000) < 1000), np.random.default_rng(0)
    moved = np.array([(swap_bits(genome, 0.1, generator).bits ^ genome.bits).sum() // 2 for _ in range(2000)])
    assert (moved.min(), moved.max()) == (1, 99)
    # Of a log-uniform number between 1 and 100: the median is 10.
    assert np.median(moved) == pytest.approx(10, abs=2)
