"""A mistake in a rule costs what the operation touches, never the analysis."""

import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.space.tracing import recorder
from evoprune.space.tracing.rules import modules, registry
from tests.channels.nets import image, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return self.head(self.second(self.first(x).flip(1)).relu())


def broken(*_):
    raise IndexError("list index out of range")


def half_done(call):
    call.put_all({1: call.dims(call.operands[0])[1]})
    broken()


@pytest.mark.parametrize("rule", [broken, half_done])
def test_failing_rule_freezes_what_enters_with_the_error_as_reason(rule, monkeypatch):
    monkeypatch.setitem(registry._RULES, torch.ops.aten.flip, rule)
    model = randomise(Net())
    space = ep.analyze(model, image())
    assert [group.name for group in space.groups] == ["second"]
    reason = {item.name: item.reason for item in space.frozen}["first"]
    assert reason.startswith("is left alone, for a rule failed (IndexError: list index out of range), by aten.flip in")
    assert ep.verify(model, space.random_plan(keep=0.5, seed=0), image()).agrees


def test_failing_rule_of_a_module_does_so_too(monkeypatch):
    monkeypatch.setattr(modules, "recurrent", broken)
    model = nn.Sequential(nn.Linear(5, 7), nn.LSTM(7, 4), Last(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    space = ep.analyze(model, torch.randn(3, 2, 5))
    assert [group.name for group in space.groups] == ["3"]
    assert "a rule failed (IndexError" in {item.name: item.reason for item in space.frozen}["0"]


class Last(nn.Module):
    def forward(self, found):
        return found[0]


def test_failing_cost_is_counted_instead_of_predicted(monkeypatch):
    monkeypatch.setitem(recorder._PLACES, "convolution", broken)
    space = ep.analyze(randomise(Net()), image())
    assert [group.name for group in space.groups] == ["first", "second"]
    with pytest.raises(ep.api.UsageError, match="can't be told"):
        space.cost(space.random_bits(0.5, 0))
