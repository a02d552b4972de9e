from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.masks.encodings.ratio_fields import OCTAVES, RATIO_BITS, RatioFields

HALF_STEP = 2 ** (OCTAVES / (2**RATIO_BITS - 1) / 2)


def levels(fields):
    """Every value of a single field, by rising ratio, with its bits."""
    table = [np.unpackbits(np.array([number], np.uint8)).astype(bool)[-RATIO_BITS:] for number in range(2**RATIO_BITS)]
    return sorted(((fields.read(bits)[0][0], bits) for bits in table), key=lambda one: one[0])


def test_neighbouring_ratios_differ_in_one_bit_and_by_a_constant_factor():
    values = levels(RatioFields(1, 1))
    assert all((one[1] ^ other[1]).sum() == 1 for one, other in pairwise(values))
    ratios = np.array([ratio for ratio, _ in values])
    assert np.allclose(ratios[1:] / ratios[:-1], 1.0336, atol=1e-4)
    assert ratios[0] == 2**-3
    assert ratios[-1] == 1


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 9999))
def test_read_gives_back_what_was_written_to_half_a_step(count, orders, seed):
    generator, fields = np.random.default_rng(seed), RatioFields(count, orders)
    ratios, chosen = 2.0 ** -generator.uniform(0, OCTAVES, count), generator.integers(0, orders, count)
    bits = fields.write(ratios, chosen)
    read, order = fields.read(bits)
    assert bits.shape == (count * fields.width,)
    assert np.all(np.maximum(read / ratios, ratios / read) <= HALF_STEP * (1 + 1e-9))
    assert order.tolist() == chosen.tolist()
    assert np.array_equal(fields.write(read, order), bits)


@pytest.mark.parametrize(("orders", "width"), [(1, 6), (2, 7), (3, 8), (4, 8), (5, 9)])
def test_every_field_names_an_order(orders, width):
    fields = RatioFields(2, orders)
    assert fields.width == width
    for seed in range(50):
        bits = np.random.default_rng(seed).random(2 * width) < 0.5
        assert set(fields.read(bits)[1].tolist()) <= set(range(orders))


@pytest.mark.parametrize(("ratio", "nearest"), [(0.0, 2**-3), (0.01, 2**-3), (7.0, 1.0)])
def test_ratio_out_of_range_is_written_as_the_nearest_in_it(ratio, nearest):
    fields = RatioFields(1, 1)
    assert fields.read(fields.write(np.array([ratio]), np.array([0])))[0][0] == nearest
