import numpy as np
import pytest
from torch import nn

from evoprune.config.schema import make_config
from evoprune.rng import isolated_rng
from evoprune.run.factories.masks import mask_target
from evoprune.run.mask_allocation import share_out
from evoprune.store.states import State
from evoprune.testing.tiny import TinyCNN

SIZES = {"conv1.weight": 216, "conv2.weight": 576, "fc.weight": 128}


def model_of():
    with isolated_rng(0):
        return TinyCNN()


def two_layers():
    with isolated_rng(0):
        return nn.Sequential(nn.Linear(8, 8), nn.Linear(6, 8))


def state_of(context, *, orders=True, gone=0.0):
    alive = context.everything_alive()
    generator = np.random.default_rng(0)
    alive = {name: bits & (generator.random(len(bits)) >= gone) for name, bits in alive.items()}
    scores = {name: generator.random(len(bits)).astype(np.float32) for name, bits in alive.items()}
    return State({}, alive, {"one": scores} if orders else {})


def context_of(model, **masks):
    return mask_target(make_config({"search": {"encoding": "weight-bits"}, "masks": masks})).of(model)


@pytest.mark.parametrize("orders", [True, False])
@pytest.mark.parametrize("goal", [0.1, 0.5, 0.9, 0.95, 0.978])
@pytest.mark.parametrize("live_outputs", ["all", "none"])
def test_shares_sum_to_the_goal_and_leave_every_output_a_weight(orders, goal, live_outputs):
    context = context_of(model_of(), live_outputs=live_outputs)
    shares = share_out(context, state_of(context, orders=orders), goal, tuple(SIZES))
    assert sum(shares.values()) == round((1 - goal) * sum(SIZES.values()))
    least = {"conv1.weight": 8, "conv2.weight": 8, "fc.weight": 4} if live_outputs == "all" else dict.fromkeys(SIZES, 1)
    assert all(least[name] <= share <= SIZES[name] for name, share in shares.items())


def test_shares_are_equal_without_a_rule():
    context = context_of(model_of())
    shares = share_out(context, state_of(context, orders=False), 0.5, tuple(SIZES))
    assert shares == {"conv1.weight": 108, "conv2.weight": 288, "fc.weight": 64}


def test_shares_are_what_the_first_order_keeps_of_each():
    context = context_of(model_of(), live_outputs="none")
    state = state_of(context)
    shares = share_out(context, state, 0.75, tuple(SIZES))
    scores = np.concatenate(list(state.orders["one"].values()))
    border = np.sort(scores)[-230]
    assert shares == {name: int((state.orders["one"][name] >= border).sum()) for name in SIZES}


@pytest.mark.parametrize("orders", [True, False])
def test_what_is_searched_last_bears_what_is_missing(orders):
    context = context_of(model_of())
    state = state_of(context, orders=orders)
    alive = {**state.alive, "conv1.weight": np.arange(216) < 50, "conv2.weight": np.arange(576) < 400}
    shares = share_out(context, State({}, alive, state.orders), 0.5, ("fc.weight",))
    assert shares == {"fc.weight": 10}
    beyond = {**alive, "conv2.weight": np.arange(576) < 500}
    assert share_out(context, State({}, beyond, state.orders), 0.5, ("fc.weight",)) == {"fc.weight": 4}


@pytest.mark.parametrize("structure", ["2:4", "1:4", "rows", "4x4"])
def test_no_share_is_more_than_the_structure_allows(structure):
    context = context_of(two_layers(), structure=structure, live_outputs="none")
    shares = share_out(context, state_of(context, orders=False), 0.1, ("0.weight", "1.weight"))
    most = {"2:4": 0.5, "1:4": 0.25, "rows": 1, "4x4": 1}[structure]
    assert shares["0.weight"] <= 64 * most
    assert shares["1.weight"] <= 48 * max(most, 4 / 6 if structure == "2:4" else 2 / 6 if structure == "1:4" else 1)


def test_shares_of_a_network_that_has_been_pruned_are_at_most_what_is_left():
    context = context_of(model_of())
    state = state_of(context, orders=False, gone=0.6)
    shares = share_out(context, state, 0.2, tuple(SIZES))
    assert shares == {name: int(bits.sum()) for name, bits in state.alive.items()}
