"""Predicted costs against counting the pruned model: they are equal, or there is no prediction."""

import pickle
import time
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from evoprune.errors import InvalidPlanError, UnsupportedModelError
from evoprune.objectives.compute import count
from tests.channels.nets import Concat, Residual, image
from tests.channels.zoo.catalogue import EACH, build
from tests.space.resnet18 import ResNet18


@cache
def analysed(name):
    model, inputs = build(name)
    return model, inputs, analyze(model, inputs)


def assert_equal_to_counting(model, inputs, space, bits):
    predicted, counted = space.cost(bits), count(prune(model, space.plan(bits)), inputs)
    assert (int(predicted.macs), int(predicted.params)) == (counted.macs, counted.params)


@pytest.mark.parametrize("name", EACH)
def test_cost_equals_counting_for_every_zoo_model(name):
    model, inputs, space = analysed(name)
    assert_equal_to_counting(model, inputs, space, np.ones(space.size, dtype=bool))
    for keep in (0.01, 0.5):
        assert_equal_to_counting(model, inputs, space, space.random_bits(keep, seed=1))


NETS = ["vgg", "resnet-projection", "mobilenet-v2", "densenet", "vit", "translator", "bilstm", "shufflenet-v1"]


@pytest.mark.slow
@settings(max_examples=40)
@given(name=st.sampled_from(NETS), data=st.data())
def test_cost_equals_counting_for_any_choice(name, data):
    model, inputs, space = analysed(name)
    bits = np.array(data.draw(st.lists(st.booleans(), min_size=space.size, max_size=space.size)))
    for group in space.groups:
        bits[group.start] |= not bits[group.start : group.stop].any()
    assert_equal_to_counting(model, inputs, space, bits)


def test_cost_rounds_as_counting_does_when_a_batch_shares_work(seeded_torch):
    class Shared(nn.Module):
        """A product of parameters alone, once per batch."""

        def __init__(self):
            super().__init__()
            self.one, self.two, self.fc = nn.Linear(3, 5), nn.Linear(5, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(x @ (self.two.weight @ self.one.weight))

    model, inputs = Shared(), torch.randn(7, 3)
    space = analyze(model, inputs)
    assert_equal_to_counting(model, inputs, space, space.random_bits(0.5, seed=0))


def test_cost_of_a_population_has_one_value_per_plan(seeded_torch):
    model = Concat()
    space = analyze(model, image())
    population = np.stack([space.random_bits(keep, seed) for keep in (0.3, 0.7) for seed in range(3)])
    costs = space.cost(population)
    assert costs.macs.shape == costs.params.shape == (6,)
    assert [int(space.cost(bits).macs) for bits in population] == costs.macs.tolist()
    assert space.cost(population.reshape(2, 3, -1)).macs.shape == (2, 3)
    assert space.cost(population.astype(int)).params.tolist() == costs.params.tolist()


def test_cost_takes_a_tenth_of_a_millisecond_per_plan_of_resnet18(seeded_torch):
    model, inputs = ResNet18(), torch.randn(1, 3, 32, 32)
    space = analyze(model, inputs, self_check=False)
    population = np.random.default_rng(0).random((100, space.size)) < 0.5
    assert_equal_to_counting(model, inputs, space, population[0])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        space.cost(population)
        times.append(time.perf_counter() - start)
    assert min(times) / len(population) < 1e-4
    assert len(pickle.dumps(space)) < 100_000


def test_cost_still_holds_when_groups_are_left_out_and_after_pickling(seeded_torch):
    model = Residual()
    space = analyze(model, image())
    fewer = pickle.loads(pickle.dumps(space.without([space.groups[0].name], "for the test")))
    assert fewer.size == space.size - space.groups[0].size
    assert_equal_to_counting(model, image(), fewer, fewer.random_bits(0.5, seed=0))


def test_cost_is_that_of_the_model_when_nothing_can_be_pruned(seeded_torch):
    model = nn.Linear(3, 4)
    space = analyze(model, torch.randn(2, 3))
    counted = count(model, torch.randn(2, 3))
    assert space.size == 0
    assert int(space.cost(np.zeros(0, dtype=bool)).macs) == counted.macs
    assert space.cost(np.zeros((5, 0), dtype=bool)).params.tolist() == [counted.params] * 5


class Scores(nn.Module):
    """Attention scores by einsum, which torch turns into a plain product once a single position is summed over."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.out = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(torch.einsum("bid,bjd->bij", self.query(x), self.key(x)))


def test_cost_refuses_an_einsum_with_one_position_left_to_sum_over(seeded_torch):
    model, inputs = Scores(), torch.randn(2, 4, 6)
    space = analyze(model, inputs)
    assert space.size == 5
    for kept in (2, 5):
        assert_equal_to_counting(model, inputs, space, np.arange(5) < kept)
    with pytest.raises(UnsupportedModelError, match="no contraction any more") as caught:
        space.cost(np.arange(5) < 1)
    assert "evoprune.count" in caught.value.hint


def test_cost_refuses_what_an_einsum_of_three_tensors_does_with_other_sizes(seeded_torch):
    class Three(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three, self.out = (
                nn.Linear(4, 6),
                nn.Linear(4, 6),
                nn.Linear(6, 3),
                nn.Linear(3, 2),
            )

        def forward(self, x):
            return self.out(torch.einsum("bd,bd,od->bo", self.one(x), self.two(x), self.three.weight))

    model, inputs = Three(), torch.randn(2, 4)
    space = analyze(model, inputs)
    assert_equal_to_counting(model, inputs, space, np.ones(space.size, dtype=bool))
    guarded = [group for group in space.groups if group.name in space.workload.guards]
    assert guarded
    bits = np.ones(space.size, dtype=bool)
    bits[guarded[0].start] = False
    with pytest.raises(UnsupportedModelError, match="einsum of 3 tensors"):
        space.cost(bits)


@pytest.mark.parametrize("chain", ["multi_dot", "chain_matmul"])
@pytest.mark.filterwarnings("ignore:torch.chain_matmul is deprecated")
def test_cost_refuses_a_chain_of_products_whose_order_depends_on_sizes(seeded_torch, chain):
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three = nn.Linear(9, 8), nn.Linear(8, 20, bias=False), nn.Linear(20, 2, bias=False)

        def forward(self, x):
            x = self.one(x)
            if chain == "multi_dot":
                return torch.linalg.multi_dot((x, self.two.weight.t(), self.three.weight.t()))
            return torch.chain_matmul(x, self.two.weight.t(), self.three.weight.t())

    model, inputs = Chain(), torch.randn(6, 9)
    space = analyze(model, inputs)
    assert space.size
    assert_equal_to_counting(model, inputs, space, np.ones(space.size, dtype=bool))
    with pytest.raises(UnsupportedModelError, match="a chain of products"):
        space.cost(space.random_bits(0.3, seed=0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda bits: bits[:-1], "bits are needed"),
        (lambda bits: bits * 2, "0 or 1"),
        (lambda bits: bits * 0, "would keep none"),
    ],
)
def test_cost_refuses_what_is_no_choice(seeded_torch, change, message):
    space = analyze(Residual(), image())
    with pytest.raises(InvalidPlanError, match=message):
        space.cost(change(np.ones((3, space.size), dtype=int)[0]))
