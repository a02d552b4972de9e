"""What the example inputs leave out still fits after a cut."""

import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from evoprune.channels.verify import verify
from tests.channels.nets import image, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Branches(nn.Module):
    """A layer of 8 channels, one of two branches by the sign of the input, and a layer that reads 7."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.branches = nn.ModuleList([self.branch(), self.branch()])
        self.neck, self.head = nn.Conv2d(7, 6, 1), nn.Conv2d(6, 2, 1)

    @staticmethod
    def branch():
        return nn.Sequential(nn.Conv2d(8, 5, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 7, 1))

    def forward(self, x):
        branch = self.branches[int(x.mean() > 0)]
        return self.head(self.neck(branch(self.stem(x)).relu()))


class Auxiliary(nn.Module):
    """A second classifier that only training runs."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 2, 1)
        self.aux = nn.Sequential(nn.Conv2d(8, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(384, 2))

    def forward(self, x):
        y = self.one(x).relu()
        out = self.head(self.two(y))
        return (out, self.aux(y)) if self.training else out


def test_the_branch_not_taken_fits_after_the_cut():
    model = randomise(Branches())
    space = analyze(model, image().abs())
    assert [group.name for group in space.groups] == ["branches.1.0", "neck"]
    reasons = {item.name: item.reason for item in space.frozen}
    assert "as wide as branches.0.0, which is not run" in reasons["stem"]
    assert "as wide as branches.0.3" in reasons["branches.1.3"]
    small = prune(model, space.random_plan(0.5, 0))
    assert small(-image().abs()).shape == model(-image().abs()).shape


def test_a_classifier_for_training_alone_fits_after_the_cut():
    model = randomise(Auxiliary())
    space = analyze(model, image())
    assert [group.name for group in space.groups] == ["two"]
    small = prune(model, space.random_plan(0.5, 0)).train()
    assert [tuple(out.shape) for out in small(image())] == [(2, 2, 8, 8), (2, 2)]


@pytest.mark.parametrize(
    ("spare", "stays"),
    [
        (nn.BatchNorm1d(8, affine=False), "0"),
        (nn.LSTM(8, 5), "0"),
        (nn.GRU(4, 3, bidirectional=True), "2"),
        (nn.ConvTranspose1d(4, 6, 3), "2"),
        (nn.Embedding(8, 6), "2"),
        (nn.MultiheadAttention(8, 2), "0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_an_idle_layer_reads_and_makes_stays(spare, stays):
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    model[1].register_module("spare", spare)
    space = analyze(model, torch.randn(3, 5))
    assert {group.name for group in space.groups} == {"0", "2"} - {stays}


def test_layers_without_any_part_in_the_run_cost_nothing_when_their_width_is_nowhere_else():
    model = randomise(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1)))
    model[1].register_module("spare", nn.Linear(11, 13))
    space = analyze(model, image())
    assert [group.name for group in space.groups] == ["0"]
    assert "1.spare" in {item.name for item in space.frozen}


def test_a_parameter_used_without_its_module_is_no_idle_layer():
    class Direct(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(5, 8), nn.Linear(8, 3)
            self.attention = nn.MultiheadAttention(8, 2, kdim=8, batch_first=True)

        def forward(self, x):
            y = nn.functional.linear(x, self.one.weight, self.one.bias)
            return self.two(self.attention(y, y, y)[0])

    space = analyze(randomise(Direct()), torch.randn(2, 3, 5))
    assert not [item for item in space.frozen if "not run" in item.reason]
    verify(randomise(Direct()), space.random_plan(0.5, 0), torch.randn(2, 3, 5))
