"""Places at which code cuts a dimension, kept in attributes of the module: they follow what is pruned."""

import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.space.analysis import trace_space
from tests.channels.nets import assert_exact, image, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Mixer(nn.Module):
    """InceptionNeXt's: a list of unequal sizes, a convolution for each part."""

    def __init__(self):
        super().__init__()
        self.sizes = [7, 2, 3]
        self.parts = nn.ModuleList(nn.Conv2d(size, size, 3, padding=1, groups=size) for size in self.sizes[1:])

    def forward(self, x):
        whole, *rest = torch.split(x, self.sizes, dim=1)
        return torch.cat([whole, *(conv(part) for conv, part in zip(self.parts, rest, strict=True))], 1)


class Shortcut(nn.Module):
    """ReXNet's: the first channels have a shortcut."""

    def __init__(self, wide=13):
        super().__init__()
        self.in_channels, self.kernel_size = 8, 8
        self.conv = nn.Conv2d(8, wide, 1)

    def forward(self, x):
        y = self.conv(x)
        return torch.cat([y[:, : self.in_channels] + x, y[:, self.in_channels :]], 1)


class DualPath(nn.Module):
    """DPN's: two tensors are cut by the same attribute, and only one of them gives the sizes."""

    def __init__(self):
        super().__init__()
        self.num_1x1_c = 5
        self.one, self.two = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 9, 1)

    def forward(self, x):
        a, b = self.one(x), self.two(x)
        return torch.cat([a[:, : self.num_1x1_c] * 2, b[:, : self.num_1x1_c].tanh(), b[:, self.num_1x1_c :]], 1)


class Named(nn.Module):
    """Sizes of the parts in attributes of their own, the last computed."""

    def __init__(self):
        super().__init__()
        self.left_dim, self.right_dim = 3, 5

    def forward(self, x):
        left, right = x.split([self.left_dim, self.right_dim], 1)
        return torch.cat([left.relu(), right.tanh(), left], 1)


class Halves(nn.Module):
    """Equal parts, by an attribute."""

    def __init__(self):
        super().__init__()
        self.half_width = 4

    def forward(self, x):
        return x[:, : self.half_width] * x[:, self.half_width :]


class Numbers(nn.Module):
    """Sizes in the code."""

    def forward(self, x):
        return torch.cat([x[:, :3].relu(), x[:, 3:]], 1)


def network(middle, wide, made):
    layers = [nn.Conv2d(3, wide, 1), nn.ReLU(), middle, nn.Conv2d(made, 4, 1)]
    return randomise(nn.Sequential(*layers)).double()


CASES = {
    "a list": (lambda: network(Mixer(), 12, 12), 12),
    "a slice": (lambda: network(Shortcut(), 8, 13), 13),
    "a slice in halves": (lambda: network(Shortcut(16), 8, 16), 8),
    "two tensors": (lambda: network(DualPath(), 8, 14), 8 + 5 + 4),
    "named sizes": (lambda: network(Named(), 8, 11), 8),
    "equal parts": (lambda: network(Halves(), 8, 4), 4),
}


@pytest.mark.parametrize("name", CASES)
def test_parts_of_sizes_in_attributes_are_pruned_exactly(name):
    build, units = CASES[name]
    model, inputs = build(), image().double()
    space = ep.analyze(model, inputs)
    assert space.size == units
    assert not any("self-check" in item.reason for item in space.frozen)
    assert_exact(model, inputs, space)


def test_attributes_hold_how_much_stays_of_each_part():
    model = network(Mixer(), 12, 12)
    space = ep.analyze(model, image().double())
    plan = space.random_plan(keep=0.5, seed=2)
    kept = plan.kept["0.weight"][0]
    sizes = tuple(int(((kept >= start) & (kept < stop)).sum()) for start, stop in ((0, 7), (7, 9), (9, 12)))
    assert plan.attributes["2"]["sizes"] == sizes
    assert ep.prune(model, plan)[2].sizes == list(sizes)
    assert model[2].sizes == [7, 2, 3]
    assert ep.PruningPlan.from_json(plan.to_json()) == plan


def test_attributes_stay_where_no_part_is_cut():
    space = trace_space(network(Mixer(), 12, 12), image().double())
    bits = space.random_bits(0.5, 0)
    bits[:] = True
    assert space.plan(bits).attributes == {}


def test_sizes_that_stand_in_the_code_freeze_what_they_cut():
    model = network(Numbers(), 8, 8)
    space = ep.analyze(model, image().double())
    assert space.groups == ()
    assert {item.name: item.reason for item in space.frozen}["0"].startswith("is sliced at fixed positions")


class Misnamed(nn.Module):
    """The attribute equals the number in the code by chance."""

    def __init__(self):
        super().__init__()
        self.width = 3

    def forward(self, x):
        return torch.cat([x[:, :3].relu(), x[:, 3:] * self.width], 1)


def test_attribute_that_only_happens_to_be_equal_fails_the_self_check():
    space = ep.analyze(network(Misnamed(), 8, 8), image().double())
    assert space.groups == ()
    assert any("failed the self-check" in item.reason for item in space.frozen)


class Twice(nn.Module):
    """One attribute for the parts of two tensors that otherwise have nothing to do with each other."""

    def __init__(self):
        super().__init__()
        self.first_chs = 3
        self.other = nn.Conv2d(3, 7, 1)

    def forward(self, x):
        image, features = x
        other = self.other(image)
        return torch.cat([features[:, : self.first_chs], other[:, : self.first_chs].sigmoid()], 1)


class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.twice, self.head = nn.Conv2d(3, 8, 1), Twice(), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return self.head(self.twice((x, self.stem(x))))


def test_parts_that_one_attribute_measures_are_cut_alike():
    model, inputs = randomise(Around()).double(), image().double()
    space = ep.analyze(model, inputs)
    assert [(group.name, group.size) for group in space.groups] == [("stem", 3)]
    assert_exact(model, inputs, space)
