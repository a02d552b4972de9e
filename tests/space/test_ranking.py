"""Choosing units by score."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from evoprune.errors import UsageError
from evoprune.objectives.compute import count
from evoprune.space.ranking import choose
from tests.channels.zoo.catalogue import build
from tests.space.resnet18 import ResNet18


def pick(space, score, *, keep=None, macs=None, scope="global"):
    return choose(space.groups, score, space.cost, keep=keep, macs=macs, scope=scope)


@pytest.fixture(scope="module")
def tiny():
    from evoprune.rng import isolated_rng

    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
        return model, analyze(model, torch.randn(1, 6))


@pytest.fixture(scope="module")
def resnet():
    model = ResNet18(width=16).eval()
    return model, analyze(model, torch.zeros(1, 3, 16, 16), self_check=False)


@pytest.fixture(scope="module", autouse=True)
def quiet_generator():
    from evoprune.rng import isolated_rng

    with isolated_rng(0):
        yield


def test_global_scope_keeps_the_highest_scores_of_all_groups(tiny):
    score = np.arange(9)[::-1]  # the first group's units are all better than the second's
    bits = pick(tiny[1], score, keep=0.5)
    assert bits.tolist() == [True, True, True, False, False, True, False, False, False]


def test_every_group_keeps_its_best_unit_however_low_it_scores(tiny):
    score = np.array([9, 8, 7, 6, 5, 0.1, 0.3, 0.2, 0])
    bits = pick(tiny[1], score, keep=0.01)
    assert np.flatnonzero(bits).tolist() == [0, 6]


def test_uniform_scope_keeps_the_same_fraction_of_every_group(tiny):
    score = np.array([1, 5, 3, 4, 2, 90, 10, 80, 70])
    bits = pick(tiny[1], score, keep=0.5, scope="uniform")
    assert np.flatnonzero(bits).tolist() == [1, 3, 5, 7]


def test_keep_of_one_keeps_all(tiny):
    for scope in ("global", "uniform"):
        assert pick(tiny[1], np.zeros(9), keep=1.0, scope=scope).all()


def test_equal_scores_are_broken_the_same_way_every_time(tiny):
    chosen = [pick(tiny[1], np.zeros(9), keep=0.6).tolist() for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert sum(chosen[0]) == round(0.6 * 9)


@pytest.mark.parametrize("scope", ["global", "uniform"])
@pytest.mark.parametrize("macs", [0.15, 0.3, 0.5, 0.75, 0.95])
def test_budget_is_hit_within_a_hundredth_from_below(resnet, scope, macs):
    model, space = resnet
    dense = count(model, torch.zeros(1, 3, 16, 16)).macs
    for seed in range(3):
        score = np.random.default_rng(seed).random(space.size) * np.repeat(
            np.linspace(1, 3, len(space.groups)), [group.size for group in space.groups]
        )
        plan = space.plan_by_importance(score, macs=macs, scope=scope)
        found = count(prune(model, plan), torch.zeros(1, 3, 16, 16)).macs
        assert 0.99 * macs * dense <= found <= macs * dense


@pytest.mark.parametrize("macs", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("name", ["resnet-pad", "mobilenet-v2", "resnet-bottleneck", "vit"])
def test_budget_is_hit_even_where_single_units_cost_much(name, macs):
    model, inputs = build(name)
    space = analyze(model, inputs, self_check=False)
    score = np.random.default_rng(0).random(space.size)
    found = count(prune(model, space.plan_by_importance(score, macs=macs)), inputs).macs
    assert 0.99 <= found / (macs * count(model, inputs).macs) <= 1


def test_budget_above_one_is_a_number_of_macs(resnet):
    model, space = resnet
    dense = count(model, torch.zeros(1, 3, 16, 16)).macs
    score = np.random.default_rng(0).random(space.size)
    assert space.plan_by_importance(score, macs=dense // 2) == space.plan_by_importance(
        score, macs=(dense // 2) / dense
    )


def test_budget_leaves_no_group_more_than_a_unit_from_uniform(resnet):
    _, space = resnet
    bits = pick(space, np.random.default_rng(1).random(space.size), macs=0.4, scope="uniform")
    kept = [int(bits[group.start : group.stop].sum()) for group in space.groups]
    sizes = [group.size for group in space.groups]
    ratio = float(np.median(np.array(kept) / sizes))
    assert all(abs(count - ratio * size) <= 2 for count, size in zip(kept, sizes, strict=True))


def test_budget_comes_close_to_what_units_allow_in_a_tiny_net(tiny):
    """Against all choices of how many units each group keeps."""
    _, space = tiny
    dense = int(space.cost(np.ones(9, dtype=bool)).macs)
    score = np.array([5, 4, 3, 2, 1, 4.5, 3.5, 2.5, 1.5])
    for macs in (0.3, 0.5, 0.7, 0.9):
        found = int(space.cost(pick(space, score, macs=macs)).macs)
        possible = [6 * one + one * two + two * 3 for one, two in product(range(1, 6), range(1, 5))]
        best = max(value for value in possible if value <= macs * dense)
        assert found <= macs * dense
        assert found >= min(0.99 * macs * dense, 0.9 * best)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either keep= or macs="),
        ({"keep": 0.5, "macs": 0.5}, "either keep= or macs="),
        ({"keep": 0}, "keep=0 is not a fraction"),
        ({"keep": 1.5}, "keep=1.5 is not a fraction"),
        ({"macs": -1}, "is not above 0"),
        ({"macs": float("nan")}, "is not above 0"),
        ({"macs": 0.001}, "can't be reached"),
        ({"keep": 0.5, "scope": "local"}, "global, uniform"),
    ],
)
def test_wrong_targets_are_explained(tiny, given, message):
    with pytest.raises(UsageError, match=message):
        tiny[1].plan_by_importance(np.arange(9), **given)


@pytest.mark.parametrize(("score", "message"), [(np.zeros(8), "each of 9 units"), (np.full(9, np.nan), "not a number")])
def test_wrong_scores_are_explained(tiny, score, message):
    with pytest.raises(UsageError, match=message):
        tiny[1].plan_by_importance(score, keep=0.5)
