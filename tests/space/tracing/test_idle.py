"""What the example inputs leave out still fits after a cut."""

import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.reference import mask
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


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
def test_a_classifier_for_training_alone_is_pruned_with_the_rest(keep):
    model, x = randomise(Auxiliary()).double(), image().double()
    space = analyze(model, x)
    assert [group.name for group in space.groups] == ["one", "two", "aux.0"]
    plan = space.random_plan(keep, 0)
    small, masked = prune(model, plan).train(), mask(model, plan).train()
    for found, expected in zip(small(x), masked(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert small.aux[0].in_channels == small.one.out_channels < 8


class Normed(Auxiliary):
    """Its classifier for training averages over samples, which a single one doesn't allow."""

    def __init__(self):
        super().__init__()
        self.aux = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)
        )


def test_a_classifier_that_a_single_sample_cannot_train_fits_after_the_cut():
    model = randomise(Normed())
    space = analyze(model, image(batch=1))
    assert [group.name for group in space.groups] == ["two"]
    assert "as wide as aux.2" in {item.name: item.reason for item in space.frozen}["one"]
    small = prune(model, space.random_plan(0.5, 0)).train()
    assert [tuple(out.shape) for out in small(image())] == [(2, 2, 8, 8), (2, 2)]
    assert [group.name for group in analyze(model, image()).groups] == ["one", "two", "aux.2"]


class Stages(nn.Module):
    """Of three stages two run; the last would read what the second makes."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([self.stage(3), self.stage(8), self.stage(8)])

    @staticmethod
    def stage(reads):
        return nn.Sequential(nn.Conv2d(reads, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1))

    def forward(self, x, depth=2):
        for stage in self.stages[:depth]:
            x = stage(x)
        return x


class Encoded(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.one, self.head = Stages(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.head(self.one(self.encoder(x)).relu())


def test_only_what_the_code_around_an_idle_part_has_in_hand_stays():
    model = randomise(Encoded())
    space = analyze(model, image())
    assert [group.name for group in space.groups] == ["encoder.stages.0.0", "encoder.stages.1.0", "one"]
    reasons = {item.name: item.reason for item in space.frozen}
    assert "as wide as encoder.stages.2.0" in reasons["encoder.stages.1.3"]
    encoder = prune(model, space.random_plan(0.5, 0)).encoder
    assert encoder(image(), depth=3).shape == (2, 8, 8, 8)


class Spare(nn.Module):
    """Layers in a row, and one that doesn't run."""

    def __init__(self, spare):
        super().__init__()
        layers = [nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)]
        for number, layer in enumerate(layers):
            self.add_module(str(number), layer)
        self.spare = spare

    def forward(self, x):
        for number in range(5):
            x = self.get_submodule(str(number))(x)
        return x


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
    space = analyze(Spare(spare), torch.randn(3, 5))
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
