import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.errors import ConfigError
from evoprune.genome import BitGenome
from evoprune.masks.encodings.keep_ratios import KeepRatios
from evoprune.masks.encodings.ratio_fields import RatioFields
from evoprune.masks.encodings.threshold_exceptions import ThresholdExceptions
from tests.masks.encodings.spaces import build_space, faults, spaces, weight

WEIGHTS = [weight((20, 30), name="a"), weight((10, 8, 3, 3), name="b"), weight((12, 15, 2), 1, "c")]


def with_exceptions(encoding, genome, positions):
    bits = genome.bits
    bits[positions] = True
    return BitGenome.from_bits(bits)


def flat(bits):
    return np.concatenate(list(bits.values()))


@pytest.mark.slow
@given(spaces(orders=(1, 3)), st.integers(0, 9999))
def test_every_genome_is_valid_and_decodes_to_the_goal(space, seed):
    encoding, generator = ThresholdExceptions(space), np.random.default_rng(seed)
    genome = BitGenome.from_bits(generator.random(encoding.length) < generator.random())
    assert encoding.repair(genome) is genome
    assert faults(space, encoding.decode(genome)) == []
    assert encoding.decode(genome) == ThresholdExceptions(space).decode(genome)


@given(spaces(orders=(1, 3)), st.integers(0, 9999))
def test_genome_without_exceptions_says_what_its_ratios_say(space, seed):
    ratios, encoding = KeepRatios(space), ThresholdExceptions(space)
    fields = np.random.default_rng(seed).random(ratios.length) < 0.5
    padded = np.concatenate([fields, np.zeros(encoding.length - ratios.length, dtype=bool)])
    assert encoding.decode(BitGenome.from_bits(padded)) == ratios.decode(BitGenome.from_bits(fields))
    assert [(one.start, one.size) for one in encoding.segments[: len(space.weights)]] == [
        (one.start, one.size) for one in ratios.segments
    ]
    assert sum(one.size for one in encoding.segments) == encoding.length


def test_exception_bits_stand_for_the_units_near_the_goal():
    space = build_space(WEIGHTS, kept=0.2, orders=1)
    encoding, ratios = ThresholdExceptions(space), KeepRatios(space)
    # A quarter of what stays on either side of the threshold.
    assert encoding.length - ratios.length == pytest.approx(0.5 * space.kept, abs=2)
    assert sum(part.size for part in encoding.segments[3:]) == encoding.length - ratios.length


@given(st.integers(0, 9999), st.floats(0.1, 0.6), st.integers(1, 12))
def test_exceptions_turn_their_own_units_round_and_no_other_but_to_meet_the_goal(seed, kept, count):
    space = build_space(WEIGHTS, kept=kept, orders=1, seed=seed)
    encoding, generator = ThresholdExceptions(space), np.random.default_rng(seed)
    # Ratios as far from each other as they may be: a unit's due value says little about how near the goal it is.
    fields = RatioFields(3, 1).write(2.0 ** -generator.uniform(0, 3, 3), np.zeros(3, dtype=np.int64))
    plain = BitGenome.from_bits(np.concatenate([fields, np.zeros(encoding.length - len(fields), dtype=bool)]))
    before = flat(encoding.bits_of(plain))
    start = encoding.segments[3].start
    turned = start + generator.choice(encoding.length - start, size=count, replace=False)
    units = np.concatenate(
        [positions + offset for positions, offset in zip(encoding._near.values(), (0, 600, 1320), strict=True)]
    )[turned - start]
    after = flat(encoding.bits_of(with_exceptions(encoding, plain, turned)))
    assert np.all(after[units] == ~before[units])
    others = (before ^ after).sum() - count
    came, went = int((~before[units]).sum()), int(before[units].sum())
    assert others == abs(came - went)


@pytest.mark.parametrize(
    ("goal", "kept"),
    [
        # Of 3,000 units the last 750 give way to the next 750.
        (0.3, [*range(2250), *range(3000, 3750)]),
        # Only 500 units can take the places of the last 2,375 of 9,500: the first of these come back.
        (0.95, [*range(9000), *range(9500, 10000)]),
    ],
)
def test_order_of_the_ratios_decides_among_the_units_that_are_turned(goal, kept):
    space = build_space([weight((100, 100))], kept=goal, orders=1)
    encoding = ThresholdExceptions(space)
    fields = RatioFields(1, 1).write(np.array([1.0]), np.array([0]))
    everything = np.concatenate([fields, np.ones(encoding.length - len(fields), dtype=bool)])
    rank = np.argsort(np.argsort(-space.orders["order 0"]["w.weight"], kind="stable"))
    assert sorted(rank[encoding.bits_of(BitGenome.from_bits(everything))["w.weight"]].tolist()) == kept


def test_threshold_exceptions_need_a_goal_and_an_order():
    with pytest.raises(ConfigError, match="threshold-exceptions needs sparsity goals"):
        ThresholdExceptions(build_space(WEIGHTS, orders=1))
