import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.genome import BitGenome, Segment
from evoprune.search.swap import swap_bits, swap_within


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


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=20), min_size=1, max_size=5),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_swap_within_keeps_the_ones_of_every_segment(groups, rate, seed):
    stops = np.cumsum([len(one) for one in groups])
    segments = [Segment(str(stop), int(stop) - len(one), len(one)) for stop, one in zip(stops, groups, strict=True)]
    genome = BitGenome.from_bits(np.concatenate(groups))
    child = swap_within(genome, segments, rate, np.random.default_rng(seed))
    assert [child.bits[one.start : one.start + one.size].sum() for one in segments] == [sum(one) for one in groups]
    assert (child == genome) == (rate == 0 or all(all(one) or not any(one) for one in groups))


def test_swap_within_spreads_exchanges_over_segments_by_their_room():
    segments = [Segment("wide", 0, 300), Segment("narrow", 300, 100)]
    genome, generator = BitGenome.from_bits(np.arange(400) % 2 == 0), np.random.default_rng(0)
    moved = np.array([swap_within(genome, segments, 1.0, generator).bits ^ genome.bits for _ in range(400)])
    assert moved[:, :300].sum() / moved[:, 300:].sum() == pytest.approx(3, rel=0.1)
