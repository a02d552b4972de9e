import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from evoprune.errors import UsageError
from evoprune.rng import isolated_rng
from evoprune.space.analysis import trace_space
from evoprune.space.budget import Budget
from evoprune.space.counted_cost import CountedCost
from evoprune.space.projection import Projection
from evoprune.space.widths import Widths

with isolated_rng(0):
    MODEL = nn.Sequential(
        *(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 20, 3), nn.ReLU()),
        *(nn.Conv2d(20, 7, 3), nn.ReLU(), nn.Flatten(), nn.Linear(28, 5)),
    )
SPACE = trace_space(MODEL, torch.zeros(1, 3, 8, 8))
MACS, PARAMS = CountedCost(SPACE, "macs"), CountedCost(SPACE, "params")
DENSE = {
    "macs": float(MACS(np.ones((1, SPACE.size), bool))[0]),
    "params": float(PARAMS(np.ones((1, SPACE.size), bool))[0]),
}
RANKS = np.concatenate([np.random.default_rng(group.start).permutation(group.size) for group in SPACE.groups]).astype(
    np.int32
)


def projection(round_to=1, **shares):
    limits = {name: share * DENSE[name] for name, share in shares.items()}
    costs = {"macs": MACS, "params": PARAMS}
    return Projection(SPACE.size, np.arange(SPACE.size), Widths(SPACE.groups, round_to), Budget(costs, limits))


def costs(one, widths):
    bits = one.bits(widths[None], RANKS)
    return {"macs": float(MACS(bits)[0]), "params": float(PARAMS(bits)[0])}


WISHES = st.lists(st.floats(0.5, 40), min_size=3, max_size=3).map(np.array)


@given(wished=WISHES, macs=st.floats(0.02, 1), params=st.floats(0.05, 1), round_to=st.sampled_from([1, 2, 4]))
def test_projection_never_overshoots_and_leaves_no_room_for_a_step(wished, macs, params, round_to):
    one = projection(round_to, macs=macs, params=params)
    if not one.reachable(RANKS):
        return
    widths = one.project(wished, RANKS, fill=True)
    assert all(costs(one, widths)[name] <= share * DENSE[name] for name, share in (("macs", macs), ("params", params)))
    for group, wider in enumerate(one.widths.above(widths)):
        if wider > widths[group]:
            more = widths.copy()
            more[group] = wider
            spent = costs(one, more)
            assert spent["macs"] > macs * DENSE["macs"] or spent["params"] > params * DENSE["params"]


@given(wished=WISHES, macs=st.floats(0.05, 1), fill=st.booleans())
def test_projection_changes_nothing_twice(wished, macs, fill):
    one = projection(2, macs=macs)
    widths = one.project(wished, RANKS, fill=fill)
    assert one.project(widths.astype(float), RANKS, fill=fill).tolist() == widths.tolist()
    assert all(
        width in (size, *range(step, size + 1, step))
        for width, size, step in zip(widths, one.widths.sizes, one.widths.steps, strict=True)
    )


def test_proportions_stay_where_the_steps_allow():
    widths = projection(1, macs=0.3).project(np.array([12.0, 20.0, 7.0]), RANKS, fill=True)
    shares = widths / np.array([12, 20, 7])
    assert shares.max() - shares.min() < 0.3


def test_widths_within_the_budget_are_only_rounded_without_filling():
    one = projection(4, macs=0.9)
    assert (
        one.project(np.array([5.0, 9.0, 3.0]), RANKS, fill=False).tolist()
        == one.widths.nearest(np.array([5.0, 9.0, 3.0])).tolist()
    )


def test_unreachable_budget_names_the_nearest_reachable_value():
    one = projection(1, macs=0.0001)
    least = costs(one, one.widths.least)["macs"]
    with pytest.raises(UsageError, match=f"{least:,.0f} at least"):
        one.check(RANKS)


def test_numbers_and_widths_are_inverse_of_each_other():
    widths = Widths(SPACE.groups, 3)
    for number in range(int(widths.choices.max())):
        numbers = np.minimum(number, widths.choices - 1)
        assert widths.numbers(widths.of(numbers)).tolist() == numbers.tolist()


def test_finer_widths_end_with_single_units():
    assert [one.round_to for one in Widths(SPACE.groups, 8).finer()] == [4, 2, 1]
