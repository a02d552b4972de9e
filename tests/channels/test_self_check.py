"""The self-check must notice when the analysis is wrong, whatever the mistake."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.channels.analyze import analyze
from evoprune.channels.generic import generic_copy
from evoprune.channels.self_check import SelfCheck
from evoprune.channels.trial_cuts import Trial
from evoprune.space.analysis import trace_space
from evoprune.space.tracing.rules import registry
from evoprune.space.tracing.rules.movement import same_shape
from tests.channels.nets import Residual, image, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Net(nn.Module):
    """A first layer that a wrong rule spoils, and a second that it doesn't."""

    def __init__(self, operation):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 2, 1)
        self.operation = operation

    def forward(self, x):
        return self.head(self.second(self.operation(self.first(x).sigmoid())).relu())


WRONG = {
    "channel_shuffle": lambda y: functional.channel_shuffle(y, 2),
    "flip": lambda y: y.flip(1),
    "roll": lambda y: y.roll(3, 1),
    "_softmax": lambda y: y.softmax(1),
    "cumsum": lambda y: y.cumsum(1),
    "sort": lambda y: y.sort(1)[0],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_costs_a_group_and_never_a_wrong_cut(name, monkeypatch):
    def wrong(call):
        call.put_all(call.dims(call.operands[0]))

    model = randomise(Net(WRONG[name]))
    monkeypatch.setitem(registry._RULES, getattr(torch.ops.aten, name), wrong)
    assert [group.name for group in trace_space(model, image()).groups] == ["first", "second"]
    space = analyze(model, image())
    assert [group.name for group in space.groups] == ["second"]
    assert "self-check" in {item.name: item.reason for item in space.frozen}["first"]


def test_same_shape_is_not_the_rule_of_a_reduction():
    assert registry.find(torch.ops.aten.mean.dim) is not same_shape


@pytest.mark.parametrize("forgotten", ["conv1.weight", "head.weight", "bn2.weight", "stem.bias"])
def test_a_forgotten_member_is_noticed(forgotten):
    model = randomise(Residual())
    space = trace_space(model, image())
    groups = tuple(
        replace(group, members=tuple(member for member in group.members if member.tensor != forgotten))
        for group in space.groups
    )
    broken = replace(space, groups=groups)
    assert SelfCheck(generic_copy(model), image()).problem(broken, list(broken.groups))
    assert not SelfCheck(generic_copy(model), image()).problem(space, list(space.groups))


def test_swapped_consumers_are_noticed():
    model = randomise(Residual())
    space = trace_space(model, image())
    groups = tuple(
        replace(
            group,
            members=tuple(
                replace(m, unit=m.unit[::-1].copy()) if m.tensor == "head.weight" else m for m in group.members
            ),
        )
        for group in space.groups
    )
    broken = replace(space, groups=groups)
    assert "differs" in SelfCheck(generic_copy(model), image()).problem(broken, list(broken.groups))


def test_zero_initialised_branches_hide_nothing():
    model = Residual()
    for parameter in (model.bn2.weight, model.bn2.bias):
        nn.init.zeros_(parameter)
    copied = generic_copy(model)
    assert (copied.bn2.weight != 0).all()
    assert (copied.bn1.running_var > 0).all()
    assert torch.equal(copied.conv1.weight, model.conv1.weight)
    assert not torch.any(model.bn2.weight)


def test_cuts_differ_and_repeat():
    space = trace_space(Residual(), image())
    groups = list(space.groups)
    assert Trial(0).plan(space, groups) == Trial(0).plan(space, groups)
    assert len({Trial(number).plan(space, groups).to_json() for number in range(5)}) == 5
    assert Trial(0).plan(space, groups[:1]).kept.keys() == {member.tensor for member in groups[0].members}


class Squeezed(nn.Module):
    """At a width of 1 it drops the dimension of the channels, and the layer after is given fewer dimensions."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)).squeeze())


def test_network_that_loses_a_dimension_at_some_width_is_refused():
    space = analyze(randomise(Squeezed()), image())
    assert space.groups == ()
    assert "the model's code relies on the full size" in {item.name: item.reason for item in space.frozen}["conv"]
