"""Tensors of one number that meet channels: their size follows an attribute or a shape, or the self-check finds out."""

import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.space.analysis import trace_space
from tests.channels.nets import assert_exact, image, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Adding(nn.Module):
    """A layer whose output meets a tensor that the code makes."""

    def __init__(self, make):
        super().__init__()
        self.hidden_size, self.make = 8, make

    def forward(self, x):
        return self.make(self, x)


def by_shape(_, x):
    return x + torch.ones(x.shape[0], x.shape[1], 1, 1, dtype=x.dtype)


def by_attribute(module, x):
    return x * torch.full((x.shape[0], module.hidden_size, 1, 1), 0.5, dtype=x.dtype)


def moved(module, x):
    return x + x.new_ones(module.hidden_size).view(1, -1, 1, 1).expand(x.shape).to(x.dtype)


def state(module, x):
    """Mamba's: a state of zeros, to which steps are added."""
    total = torch.zeros(x.shape[0], module.hidden_size, x.shape[3], dtype=x.dtype)
    for step in range(x.shape[2]):
        total = total * 0.5 + x[:, :, step]
    return total[..., None]


def filled(module, x):
    total = x.new_zeros(x.shape[0], module.hidden_size, *x.shape[2:])
    total.add_(x)
    total.copy_(total * 2)
    return total


def expanded(_, x):
    return x / x.norm(dim=0, keepdim=True).amax((2, 3), keepdim=True).clamp_min(1e-3).expand_as(x)


def beside(module, x):
    return torch.cat([x, x.new_zeros(x.shape[0], module.hidden_size, *x.shape[2:])], 2)


MADE = [by_shape, by_attribute, moved, state, filled, expanded, beside]


def network(make):
    layers = [nn.Conv2d(3, 8, 1), nn.ReLU(), Adding(make), nn.Conv2d(8, 4, 1)]
    return randomise(nn.Sequential(*layers)).double()


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_channels_meet_a_tensor_of_one_number(make):
    model, x = network(make), image().double()
    space = ep.analyze(model, x)
    assert [group.size for group in space.groups] == [8]
    assert_exact(model, x, space)


def in_part(module, x):
    """Written into a part of it: what the whole holds isn't one number any more."""
    total = x.new_zeros(x.shape[0], module.hidden_size, *x.shape[2:])
    total[:, :, :2] = x[:, :, :2]
    return total


def drawn(module, x):
    return x + torch.empty(module.hidden_size, dtype=x.dtype).copy_(torch.arange(8)).view(1, -1, 1, 1)


def changed_through_a_view(module, x):
    total = x.new_zeros(module.hidden_size)
    total[2:4].fill_(3.0)
    return x + total.view(1, -1, 1, 1)


def counted(_, x):
    return x + torch.arange(8, dtype=x.dtype).view(1, -1, 1, 1)


@pytest.mark.parametrize("make", [in_part, drawn, changed_through_a_view, counted], ids=lambda make: make.__name__)
def test_tensors_of_several_numbers_freeze(make):
    model, x = network(make), image().double()
    assert trace_space(model, x).groups == ()
    assert ep.analyze(model, x).groups == ()


def of_fixed_size(_, x):
    return x + torch.ones(1, 8, 1, 1, dtype=x.dtype)


def test_size_that_stands_in_the_code_fails_the_self_check():
    space = ep.analyze(network(of_fixed_size), image().double())
    assert space.groups == ()
    assert "failed the self-check" in {item.name: item.reason for item in space.frozen}["0"]


class Reader(nn.Module):
    """The usual way of giving an LSTM its first state."""

    def __init__(self):
        super().__init__()
        self.hidden_size = 8
        self.lstm, self.head = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        first = torch.zeros(1, x.shape[0], self.hidden_size, dtype=x.dtype)
        return self.head(self.lstm(x, (first, first.clone()))[0][:, -1])


def test_state_of_zeros_of_a_recurrent_layer():
    model, x = randomise(Reader()).double(), torch.randn(2, 6, 5, dtype=torch.float64)
    space = ep.analyze(model, x)
    assert [group.size for group in space.groups] == [8]
    assert_exact(model, x, space)
    assert ep.prune(model, space.random_plan(keep=0.5, seed=0)).hidden_size == 4


class Energy(nn.Module):
    """GAT's: a sum of products over the channels."""

    def __init__(self, activation):
        super().__init__()
        self.stem, self.weight, self.head = nn.Linear(5, 8), nn.Parameter(torch.randn(8)), nn.Linear(8, 3)
        self.activation = activation

    def forward(self, x):
        y = self.activation(self.stem(x))
        return self.head(y * (y * self.weight).sum(-1, keepdim=True) / y.pow(2).sum(-1, keepdim=True))


def test_sums_over_channels_are_exact_where_nothing_is_added():
    model, x = randomise(Energy(torch.tanh)).double(), torch.randn(4, 5, dtype=torch.float64)
    space = ep.analyze(model, x)
    assert [group.size for group in space.groups] == [8]
    assert_exact(model, x, space)


def test_sums_over_channels_of_what_does_not_vanish_freeze():
    model, x = randomise(Energy(torch.sigmoid)).double(), torch.randn(4, 5, dtype=torch.float64)
    assert ep.analyze(model, x).groups == ()
