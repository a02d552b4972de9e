"""Random networks: whatever the analysis calls prunable is pruned right, at ratios and seeds that it hasn't tried."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evoprune.channels.analyze import analyze
from evoprune.channels.verify import verify
from evoprune.rng import isolated_rng
from tests.channels.nets import randomise
from tests.channels.random_nets import SIZE, random_net
from tests.channels.random_tokens import TOKENS, random_tokens

pytestmark = pytest.mark.filterwarnings("ignore:input's size at dim=1 does not match num_features")
SEEDS = st.integers(0, 2**32 - 1)


def check(build, shape, seed, length):
    """-> number of cuts that were compared."""
    with isolated_rng(seed):
        model, inputs = randomise(build(seed, length), seed), torch.randn(shape)
    space = analyze(model, inputs)
    cuts = [(keep, number) for keep in (0.25, 0.6) for number in range(2)] if space.groups else []
    for keep, number in cuts:
        assert verify(model, space.random_plan(keep, number), inputs).relative <= 1e-9
    return len(cuts)


def check_convnet(seed, length):
    return check(random_net, (2, 3, SIZE, SIZE), seed, length)


def check_tokens(seed, length):
    return check(random_tokens, (2, TOKENS, 5), seed, length)


@settings(max_examples=10)
@given(seed=SEEDS, length=st.integers(3, 12))
def test_random_convnets_are_pruned_right(seed, length):
    check_convnet(seed, length)


@settings(max_examples=4)
@given(seed=SEEDS, length=st.integers(2, 6))
def test_random_token_nets_are_pruned_right(seed, length):
    check_tokens(seed, length)


@pytest.mark.slow
def test_thousands_of_random_convnets_are_pruned_right():
    cuts = [check_convnet(seed, 4 + seed % 13) for seed in range(20_000, 22_000)]
    assert sum(count > 0 for count in cuts) > 1200


@pytest.mark.slow
def test_hundreds_of_random_token_nets_are_pruned_right():
    cuts = [check_tokens(seed, 2 + seed % 5) for seed in range(300, 500)]
    assert sum(count > 0 for count in cuts) > 150
