import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.genome import BitGenome
from evoprune.search import operators
from evoprune.search.operators import flip_bits, prune_bits, sample, single_point_crossover, uniform_crossover
from evoprune.testing.search_suite import Groups


def genome_of(text):
    return BitGenome.from_bits(np.array([character == "1" for character in text]))


pairs = st.integers(1, 40).flatmap(
    lambda length: st.tuples(*[st.text("01", min_size=length, max_size=length).map(genome_of)] * 2)
)


@given(pairs, st.integers(0, 1000))
def test_uniform_crossover_gives_complementary_children_of_their_parents_bits(parents, seed):
    one, other = parents
    first, second = uniform_crossover(one, other, np.random.default_rng(seed))
    from_one = first.bits == one.bits
    assert np.array_equal(first.bits, np.where(from_one, one.bits, other.bits))
    assert np.array_equal(second.bits, np.where(from_one, other.bits, one.bits))


def test_uniform_crossover_takes_each_bit_from_either_parent_with_equal_chance():
    generator = np.random.default_rng(0)
    zeros, ones = genome_of("0" * 37), genome_of("1" * 37)
    share = np.mean([uniform_crossover(zeros, ones, generator)[0].bits for _ in range(4000)], axis=0)
    # Four thousand fair coins: five standard deviations are 0.04.
    assert np.abs(share - 0.5).max() < 0.04


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 1.0])
def test_flip_bits_flips_each_bit_at_the_rate(rate):
    generator, genome, rounds = np.random.default_rng(1), genome_of("0110100110010110111"), 4000
    flipped = np.mean([flip_bits(genome, rate, generator).bits != genome.bits for _ in range(rounds)], axis=0)
    spread = 5 * np.sqrt(rate * (1 - rate) / rounds)
    assert np.abs(flipped - rate).max() <= spread


def test_flip_bits_flips_bits_independently_of_each_other():
    generator, genome, rounds = np.random.default_rng(2), genome_of("0" * 20), 4000
    counts = np.array([flip_bits(genome, 0.25, generator).bits.sum() for _ in range(rounds)])
    # Of a binomial number: mean n p, variance n p (1 - p).
    assert counts.mean() == pytest.approx(5, abs=0.16)
    assert counts.var() == pytest.approx(3.75, rel=0.12)


def test_sample_draws_each_group_its_own_share_from_the_range():
    groups, generator = Groups(400, 600), np.random.default_rng(3)
    bits = np.array([sample(groups, (0.2, 0.6), generator).bits for _ in range(300)])
    left, right = bits[:, :400].mean(axis=1), bits[:, 400:].mean(axis=1)
    # A share of 400 units that is drawn with 0.2 misses it by at most 0.1, five standard deviations.
    assert 0.1 < min(left.min(), right.min()) < 0.25
    assert 0.55 < max(left.max(), right.max()) < 0.7
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.2


def test_sample_keeps_every_unit_equally_often():
    groups, generator = Groups(8, 24), np.random.default_rng(4)
    share = np.mean([sample(groups, (0.4, 0.6), generator).bits for _ in range(4000)], axis=0)
    assert np.abs(share - 0.5).max() < 0.05


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 100))
def test_sample_is_repaired_when_the_range_leaves_nothing(sizes, seed):
    groups = Groups(*sizes)
    genome = sample(groups, (0.0, 0.0), np.random.default_rng(seed))
    assert groups.repair(genome) == genome
    assert genome.bits.sum() == len(sizes)


def test_sample_draws_the_same_genome_whatever_is_drawn_at_once(monkeypatch):
    whole = sample(Groups(40, 25), (0.3, 0.7), np.random.default_rng(5))
    monkeypatch.setattr(operators, "CHUNK", 7)
    assert sample(Groups(40, 25), (0.3, 0.7), np.random.default_rng(5)) == whole


def test_single_point_crossover_exchanges_everything_behind_one_position():
    one, other = BitGenome.from_bits(np.ones(37, dtype=bool)), BitGenome.from_bits(np.zeros(37, dtype=bool))
    points = set()
    for seed in range(200):
        left, right = single_point_crossover(one, other, np.random.default_rng(seed))
        point = int(right.bits.argmax())
        assert right.bits[point:].all()
        assert not right.bits[:point].any()
        assert np.array_equal(left.bits, ~right.bits)
        points.add(point)
    assert points == set(range(1, 37))


def test_prune_bits_never_sets_a_bit_and_clears_at_the_rate_given():
    genome = BitGenome.from_bits(np.random.default_rng(0).random(100_003) < 0.5)
    pruned = prune_bits(genome, 0.1, np.random.default_rng(1))
    assert not np.any(pruned.bits & ~genome.bits)
    assert pruned.bits.sum() == pytest.approx(0.9 * genome.bits.sum(), rel=0.01)
