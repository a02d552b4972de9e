import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.genome import BitGenome

bits = st.lists(st.booleans(), min_size=1, max_size=70).map(lambda values: np.array(values, dtype=np.bool_))


@given(bits)
def test_genome_gives_back_its_bits(values):
    genome = BitGenome.from_bits(values)
    assert np.array_equal(genome.bits, values)
    assert (genome.length, genome.packed.size) == (len(values), -(-len(values) // 8))


@given(bits, st.data())
def test_genomes_are_equal_exactly_if_their_bits_are(values, data):
    other = values.copy()
    other[data.draw(st.integers(0, len(values) - 1))] ^= True
    genome, same, different = map(BitGenome.from_bits, (values, values.copy(), other))
    assert (genome == same, hash(genome) == hash(same), genome.digest == same.digest) == (True, True, True)
    assert genome != different
    assert len({genome, same, different}) == 2


def test_genomes_of_other_lengths_differ_when_their_bytes_are_alike():
    packed = np.array([0b10100000], dtype=np.uint8)
    assert BitGenome(packed, 3) != BitGenome(packed, 4)
    assert BitGenome(packed, 3) != "BitGenome"


def test_genome_clears_the_padding():
    full = np.full(2, 255, dtype=np.uint8)
    assert BitGenome(full, 11) == BitGenome.from_bits(np.ones(11, dtype=np.bool_))
    assert BitGenome(full, 11).packed.tolist() == [255, 0b11100000]


def test_genome_digest_is_pinned_because_journals_and_seeds_rest_on_it():
    genome = BitGenome.from_bits(np.arange(20) % 3 == 0)
    assert genome.digest == "fc6bb319392a2ff7ed59e6f76a5979a4"
    assert repr(genome) == f"BitGenome({genome.digest[:8]}, 20 bits)"


@pytest.mark.parametrize("remade", [lambda one: one, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_genome_can_not_be_written_to(remade):
    packed = np.array([1, 2], dtype=np.uint8)
    original = BitGenome(packed, 16)
    genome = remade(original)
    packed[0] = 99
    genome.bits[:] = True
    assert genome == original
    assert genome.packed.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        genome.packed[0] = 7


@pytest.mark.parametrize(
    ("packed", "length"),
    [
        (np.zeros(1, np.uint8), 0),
        (np.zeros(1, np.uint8), 9),
        (np.zeros(2, np.uint8), 8),
        (np.zeros(1, np.int64), 8),
        (np.zeros((1, 1), np.uint8), 8),
    ],
)
def test_genome_refuses_bytes_that_do_not_hold_its_length(packed, length):
    with pytest.raises(ValueError, match=f"can't hold {length} bits"):
        BitGenome(packed, length)


def test_genome_of_ten_million_bits_takes_an_eighth_of_the_bytes():
    genome = BitGenome.from_bits(np.ones(10_000_000, dtype=np.bool_))
    assert genome.packed.nbytes == 1_250_000
    assert len(genome.digest) == 32
