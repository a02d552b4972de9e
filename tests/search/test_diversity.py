import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evoprune.genome import BitGenome
from evoprune.search import diversity
from evoprune.search.diversity import mean_hamming_distance


@given(st.tuples(st.integers(2, 8), st.integers(1, 40)).flatmap(lambda shape: arrays(np.bool_, shape)))
def test_mean_hamming_distance_is_the_mean_over_all_pairs(bits):
    pairs = [np.mean(one != other) for number, one in enumerate(bits) for other in bits[:number]]
    genomes = [BitGenome.from_bits(row) for row in bits]
    assert mean_hamming_distance(genomes) == pytest.approx(np.mean(pairs))
    assert mean_hamming_distance(genomes[:1] * 3) == 0


def test_mean_hamming_distance_is_the_same_when_taken_in_blocks(monkeypatch):
    genomes = [BitGenome.from_bits(row) for row in np.random.default_rng(0).random((5, 1000)) < 0.3]
    whole = mean_hamming_distance(genomes)
    monkeypatch.setattr(diversity, "BLOCK", 7)
    assert mean_hamming_distance(genomes) == whole
