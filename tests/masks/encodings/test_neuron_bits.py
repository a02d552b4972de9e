from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.errors import ConfigError
from evoprune.genome import BitGenome
from evoprune.masks.encodings.neuron_bits import NeuronBits
from evoprune.masks.neurons import NONE, Neurons
from tests.masks.encodings.spaces import build_space, faults, spaces, weight

WEIGHTS = [weight((5, 3, 2, 2), name="a"), weight((4, 10), name="b")]
# Five channels of two places each feed four outputs, which are nobody's neurons.
NEURONS = Neurons(
    [("a", 5)],
    {"a.weight": np.arange(5, dtype=np.int32), "b.weight": np.full(4, NONE, dtype=np.int32)},
    {"a.weight": np.full(3, NONE, dtype=np.int32), "b.weight": np.arange(10, dtype=np.int32) // 2},
)


def with_neurons(space, seed=0):
    """Neurons drawn at random, some outputs and inputs being those of none."""
    generator = np.random.default_rng(seed)
    sides = [{}, {}]
    for one in space.weights:
        for side, count in zip(sides, (*one.rows_shape, 1)[:2], strict=True):
            side[one.name] = generator.integers(NONE, 6, count).astype(np.int32)
    return replace(space, neurons=Neurons([("one", 4), ("two", 2)], *sides))


def random_genome(encoding, seed):
    return BitGenome.from_bits(np.random.default_rng(seed).random(encoding.length) < 0.6)


@given(spaces(structures=["unstructured"]), st.integers(0, 9999))
def test_every_genome_decodes_to_the_goal_and_repair_is_stable(space, seed):
    encoding = NeuronBits(with_neurons(space, seed))
    repaired = encoding.repair(random_genome(encoding, seed))
    assert encoding.repair(repaired) is repaired
    assert faults(space, encoding.decode(repaired)) == []


def test_weights_between_neurons_that_are_on_come_before_all_others():
    encoding = NeuronBits(replace(build_space(WEIGHTS, kept=0.5), neurons=NEURONS))
    chosen = encoding.bits_of(BitGenome.from_bits(np.array([True, False, False, True, False])))
    channels, columns = chosen["a.weight"].reshape(5, 12), chosen["b.weight"].reshape(4, 5, 2)
    assert channels[[0, 3]].all()
    assert columns[:, [0, 3]].all()


def test_among_wanted_weights_those_of_the_first_order_stay():
    space = replace(build_space(WEIGHTS, kept=0.5, orders=2), neurons=NEURONS)
    encoding = NeuronBits(space)
    chosen = encoding.bits_of(BitGenome.from_bits(np.ones(encoding.length, dtype=bool)))
    expected = space.choose(space.orders["order 0"])
    assert {name: one.tolist() for name, one in chosen.items()} == {
        name: one.tolist() for name, one in expected.items()
    }


def test_encode_wants_the_neurons_that_read_something_and_are_read():
    encoding = NeuronBits(replace(build_space(WEIGHTS, kept=0.5), neurons=NEURONS))
    bits = {one.name: np.zeros(one.size, dtype=bool) for one in WEIGHTS}
    bits["a.weight"].reshape(5, 12)[[1, 2], 0] = True
    bits["b.weight"].reshape(4, 10)[0, [3, 8]] = True
    assert np.flatnonzero(encoding.encode(bits).bits).tolist() == [1]


def test_what_the_encoding_can_not_do_is_refused_with_what_to_set():
    for space in (build_space(WEIGHTS), build_space(WEIGHTS, "rows", kept=0.5)):
        with pytest.raises(ConfigError, match=r"neuron-bits needs sparsity goals"):
            NeuronBits(replace(space, neurons=NEURONS))
    with pytest.raises(ConfigError, match="no neuron in this network"):
        NeuronBits(build_space(WEIGHTS, kept=0.5))
