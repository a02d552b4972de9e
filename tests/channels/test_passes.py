"""However much fails, an analysis takes few forward passes, and what is left has passed the whole proof."""

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from evoprune.channels.analyze import analyze
from evoprune.channels.passes import ALLOWED, PER_FROZEN
from evoprune.channels.verify import verify
from evoprune.events import AnalysisProgress
from evoprune.space.analysis import trace_space
from tests.channels.nets import randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Block(nn.Module):
    """A residual block that does something to its inner channels; subclasses say what."""

    def __init__(self, width=12, inner=16):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, inner, 3, padding=1), nn.Conv2d(inner, width, 1)

    def forward(self, x):
        return x + self.conv2(self.inside(self.conv1(x).relu()))

    def inside(self, y):
        return y


class Literal(Block):
    def inside(self, y):
        return y * 2 if y.shape[1] == 16 else y


class Reshaped(Block):
    def inside(self, y):
        return y.reshape(len(y), 16, -1).reshape(y.shape)


class Added(Block):
    """Both ends are to blame, each alone."""

    def inside(self, y):
        return y + torch.ones(16, 1, 1, dtype=y.dtype)


class OnlyTogether(Block):
    """Fails only when what comes in is cut along with what is inside."""

    def forward(self, x):
        y = self.conv1(x).relu()
        return x + self.conv2(y) * (1 if x.shape[1] == 12 or y.shape[1] == 16 else 2)


class InTraining(Block):
    def inside(self, y):
        return y * torch.ones(16, 1, 1, dtype=y.dtype) if self.training else y


class Single(Block):
    """Fails only where a single channel is left."""

    def inside(self, y):
        return y if y.shape[1] > 1 else y * 2


class Parity(Block):
    def inside(self, y):
        return y if y.shape[1] % 2 == 0 else y.roll(1, 1)


class Net(nn.Module):
    def __init__(self, kinds):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 12, 1), nn.Linear(12, 5)
        self.blocks = nn.ModuleList(kind() for kind in kinds)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.relu().mean((2, 3)))


class Flat(nn.Module):
    """No modules but layers: everything happens in the network's own forward."""

    def __init__(self, layers=6, failing=(1, 3)):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(16 if number else 3, 16, 1) for number in range(layers))
        self.head, self.failing = nn.Linear(16, 5), failing

    def forward(self, x):
        for number, conv in enumerate(self.convs):
            x = conv(x).relu()
            if number in self.failing:
                x = x.reshape(len(x), 16, *x.shape[2:])
        return self.head(x.mean((2, 3)))


def measured(model, x):
    """The space, the forward passes that it took, and the groups that were frozen by the self-check."""
    before = trace_space(model, x)
    passes = []
    handle = register_module_forward_pre_hook(
        lambda module, _: passes.append(1) if type(module) is type(model) else None
    )
    try:
        space = analyze(model, x)
    finally:
        handle.remove()
    failed = {item.name for item in space.frozen if "failed the self-check" in item.reason}
    frozen = [group.name for group in before.groups if failed.intersection(group.layers)]
    return space, len(passes), frozen


NETS = {
    "nothing": [Block] * 4,
    "one literal": [Block, Literal, Block, Block],
    "literals": [Literal] * 5,
    "reshaped": [Reshaped] * 5,
    "added": [Added, Block, Added, Block],
    "together": [OnlyTogether] * 3,
    "training": [InTraining, Block, InTraining],
    "single": [Single, Block, Block],
    "parity": [Parity, Parity, Block],
    "all kinds": [Literal, Reshaped, Added, OnlyTogether, InTraining, Single, Parity, Block],
}


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_passes_are_few_however_much_fails_and_what_is_left_is_right(name, samples):
    model, x = randomise(Net(NETS[name])), torch.randn(samples, 3, 6, 6)
    space, passes, frozen = measured(model, x)
    assert passes <= ALLOWED + PER_FROZEN * len(frozen)
    for seed in range(3):
        if space.groups:
            assert verify(model, space.random_plan(0.4, seed), x).agrees


@pytest.mark.parametrize("failing", [(), (1,), (0, 2, 4)])
def test_passes_are_few_where_layers_stand_alone(failing):
    model, x = randomise(Flat(failing=failing)), torch.randn(2, 3, 6, 6)
    space, passes, frozen = measured(model, x)
    assert passes <= ALLOWED + PER_FROZEN * len(frozen)
    assert {f"convs.{number}" for number in failing}.issubset(frozen)
    if space.groups:
        assert verify(model, space.random_plan(0.4, 0), x).agrees


@pytest.mark.parametrize("kind", [Literal, Reshaped])
def test_blame_stays_with_the_module_that_fails(kind):
    model, x = randomise(Net([Block, kind, Block, kind])), torch.randn(2, 3, 6, 6)
    space, _, frozen = measured(model, x)
    assert frozen == ["blocks.1.conv1", "blocks.3.conv1"]
    assert [group.name for group in space.groups] == ["stem", "blocks.0.conv1", "blocks.2.conv1"]
    reasons = {item.name: item.reason for item in space.frozen}
    assert "in blocks.1" in reasons["blocks.1.conv1"]


def test_of_groups_that_only_fail_together_the_smallest_stays():
    model, x = randomise(Net([OnlyTogether, Block])), torch.randn(2, 3, 6, 6)
    space, _, frozen = measured(model, x)
    assert frozen == ["blocks.0.conv1"]
    assert space.group("stem").size == 12


def test_progress_is_told_when_it_takes_long(monkeypatch):
    model, x = randomise(Net([Literal, Block])), torch.randn(1, 3, 6, 6)
    told = []
    analyze(model, x, listen=told.append)
    assert told == []
    monkeypatch.setattr("evoprune.channels.analyze._QUIET_S", -1.0)
    analyze(model, x, listen=told.append)
    assert all(isinstance(event, AnalysisProgress) for event in told)
    assert [event.passes for event in told] == sorted({event.passes for event in told})
    assert (told[0].frozen, told[-1].frozen) == (0, 1)
