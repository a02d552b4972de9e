from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.errors import ConfigError
from evoprune.genome import BitGenome
from evoprune.masks.encodings.keep_ratios import LARGEST, KeepRatios, uniform_bits
from evoprune.masks.encodings.ratio_fields import RatioFields
from tests.masks.encodings.spaces import build_space, faults, spaces, weight

WEIGHTS = [weight((7, 9), name="a"), weight((4, 5, 3, 3), name="b"), weight((6, 5, 2), 1, "c")]


def random_genome(encoding, seed):
    return BitGenome.from_bits(np.random.default_rng(seed).random(encoding.length) < 0.5)


def scaled_by_a_common_factor(space, ratios, order):
    """The reference: every tensor keeps its floor(factor * ratio * units) best units, with the factor that meets the goal."""
    units = [len(space.alive[one.name]) for one in space.weights]
    events = []
    for number, (ratio, count) in enumerate(zip(ratios, units, strict=True)):
        living = int(space.alive[space.weights[number].name].sum())
        events += [(Fraction(position) / (Fraction(ratio) * count), number) for position in range(1, living + 1)]
    counts = np.bincount([number for _, number in sorted(events)[: space.kept]], minlength=len(units))
    chosen = {}
    for one, count in zip(space.weights, counts, strict=True):
        scores = np.where(space.alive[one.name], order[one.name], -np.inf)
        bits = np.zeros(len(scores), dtype=bool)
        bits[np.argsort(-scores, kind="stable")[:count]] = True
        chosen[one.name] = bits
    return chosen


@pytest.mark.slow
@given(spaces(orders=(1, 3)), st.integers(0, 9999))
def test_every_genome_is_valid_and_decodes_to_the_goal(space, seed):
    encoding = KeepRatios(space)
    genome = random_genome(encoding, seed)
    assert encoding.repair(genome) is genome
    assert faults(space, encoding.decode(genome)) == []
    assert encoding.decode(genome) == KeepRatios(space).decode(genome)


@pytest.mark.slow
@given(st.integers(0, 9999), st.floats(0, 1), st.sampled_from([1.0, 0.6]))
def test_ratios_are_scaled_by_a_common_factor_to_the_goal(seed, kept, alive):
    space = build_space(WEIGHTS, kept=kept, alive=alive, orders=1, seed=seed)
    encoding, generator = KeepRatios(space), np.random.default_rng(seed)
    fields = RatioFields(3, 1)
    bits = fields.write(2.0 ** -generator.uniform(0, 3, 3), np.zeros(3, dtype=np.int64))
    chosen = encoding.bits_of(BitGenome.from_bits(bits))
    alone = space.choose(space.orders["order 0"])
    shares = np.array([max(1, int(alone[one.name].sum())) / len(alone[one.name]) for one in space.weights])
    # Multiplied as the encoding does it: a tie must not hang on the last bit.
    ratios = fields.read(bits)[0] * LARGEST * shares
    expected = scaled_by_a_common_factor(space, ratios, space.orders["order 0"])
    assert all(np.array_equal(chosen[name], expected[name]) for name in expected)


@pytest.mark.slow
@given(spaces(orders=(1, 1)), st.integers(0, 9999), st.data())
def test_tensor_never_keeps_fewer_when_its_ratio_grows(space, seed, data):
    fields, generator = RatioFields(len(space.weights), 1), np.random.default_rng(seed)
    encoding, orders = KeepRatios(space), np.zeros(len(space.weights), dtype=np.int64)
    ratios = 2.0 ** -generator.uniform(0, 8, len(space.weights))
    grown = data.draw(st.integers(0, len(ratios) - 1))
    name = space.weights[grown].name
    before = encoding.bits_of(BitGenome.from_bits(fields.write(ratios, orders)))[name]
    ratios[grown] = min(1.0, ratios[grown] * 2 ** generator.uniform(0, 3))
    after = encoding.bits_of(BitGenome.from_bits(fields.write(ratios, orders)))[name]
    assert not np.any(before & ~after)


@given(st.integers(0, 9999), st.floats(0.05, 0.6))
def test_decoding_an_encoded_choice_is_close_to_it(seed, kept):
    space = build_space([weight((40, 50), name="a"), weight((30, 40), name="b")], kept=kept, orders=2, seed=seed)
    encoding = KeepRatios(space)
    generator = np.random.default_rng(seed)
    fields = RatioFields(2, 2)
    # One factor over the other is at most 2 ** 1.5, so that no rescaling to the goal leaves the range.
    chosen = encoding.bits_of(
        BitGenome.from_bits(fields.write(2.0 ** -generator.uniform(0.75, 2.25, 2), np.array([1, 1])))
    )
    again = encoding.bits_of(encoding.encode(chosen, 1))
    for name, bits in chosen.items():
        # Both ratios are rounded by at most half a step of 3.4 %; then there is the rounding to whole units.
        assert abs(int(again[name].sum()) - int(bits.sum())) <= 0.034 * bits.sum() + 2


def test_encode_writes_the_order_and_uniform_bits_keep_equal_shares():
    space = build_space([weight((40, 50), name="a"), weight((30, 40), name="b")], kept=0.25, orders=2)
    uniform = uniform_bits(space, space.orders["order 1"])
    assert [bits.mean() for bits in uniform.values()] == [0.25, 0.25]
    encoding = KeepRatios(space)
    again = encoding.bits_of(encoding.encode(uniform, 1))
    assert all(np.array_equal(again[name], uniform[name]) for name in uniform)
    assert not np.array_equal(encoding.bits_of(encoding.encode(uniform, 0))["a.weight"], uniform["a.weight"])


@pytest.mark.parametrize(
    ("kept", "orders", "missing"),
    [(None, 1, "sparsity goals"), (0.5, 0, "importance order"), (None, 0, "goals.* and an")],
)
def test_keep_ratios_needs_a_goal_and_an_order(kept, orders, missing):
    with pytest.raises(ConfigError, match=missing):
        KeepRatios(build_space(WEIGHTS, kept=kept, orders=orders))
