"""Random networks: whatever the analysis calls prunable is pruned right, at ratios and seeds that it hasn't tried."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evoprune.pruning.checked import analyze
from evoprune.pruning.verify import verify
from evoprune.rng import isolated_rng
from tests.pruning.nets import randomise
from tests.pruning.random_nets import SIZE, random_net

pytestmark = pytest.mark.filterwarnings("ignore:input's size at dim=1 does not match num_features")


def check(seed, length):
    """-> number of cuts that were compared."""
    with isolated_rng(seed):
        model, inputs = randomise(random_net(seed, length), seed), torch.randn(2, 3, SIZE, SIZE)
    space = analyze(model, inputs)
    cuts = [(keep, number) for keep in (0.25, 0.6) for number in range(2)] if space.groups else []
    for keep, number in cuts:
        assert verify(model, space.random_plan(keep, number), inputs).relative <= 1e-9
    return len(cuts)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(3, 12))
def test_random_nets_are_pruned_right(seed, length):
    check(seed, length)


@pytest.mark.slow
def test_thousands_of_random_nets_are_pruned_right():
    cuts = [check(seed, 4 + seed % 13) for seed in range(20_000, 22_500)]
    assert sum(count > 0 for count in cuts) > 1500
