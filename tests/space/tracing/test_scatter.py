"""Rows that are added up and read by index."""

import pytest
import torch
from torch import nn

import evoprune as ep
from tests.channels.nets import assert_exact, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")

SOURCES = torch.tensor([0, 1, 2, 3, 3, 4, 0])
TARGETS = torch.tensor([1, 0, 3, 2, 4, 3, 2])


def scatter_add(values, rows):
    index = TARGETS.view(-1, 1).expand_as(values)
    return values.new_zeros(rows, values.shape[1]).scatter_add_(0, index, values)


def index_add(values, rows):
    return torch.zeros(rows, values.shape[1], dtype=values.dtype).index_add(0, TARGETS, values)


def largest(values, rows):
    index = TARGETS.view(-1, 1).expand_as(values)
    return values.new_zeros(rows, values.shape[1]).scatter_reduce_(0, index, values, "amax", include_self=False)


class Convolution(nn.Module):
    """Messages along edges, added up at their ends."""

    def __init__(self, reads, makes, add):
        super().__init__()
        self.linear, self.own, self.add = nn.Linear(reads, makes), nn.Linear(reads, makes), add

    def forward(self, nodes):
        messages = self.linear(nodes)[SOURCES]
        return self.own(nodes) + self.add(messages, len(nodes))


@pytest.mark.parametrize("add", [scatter_add, index_add, largest], ids=lambda add: add.__name__)
def test_graph_convolutions_are_pruned_exactly(add):
    layers = [Convolution(4, 8, add), nn.ReLU(), Convolution(8, 6, add), nn.ReLU(), Convolution(6, 3, add)]
    model, nodes = randomise(nn.Sequential(*layers)).double(), torch.randn(5, 4, dtype=torch.float64)
    space = ep.analyze(model, nodes)
    assert [group.size for group in space.groups] == [8, 6]
    assert_exact(model, nodes, space)


def gather_rows(y):
    index = torch.tensor([3, 0, 2]).view(-1, 1).expand(3, y.shape[1])
    return y.gather(0, index)


def gather_channels(y):
    return y.gather(1, torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7]]).expand(len(y), 8))


def scatter_channels(y):
    return torch.zeros_like(y).scatter_add_(1, torch.arange(8).expand_as(y), y)


class Around(nn.Module):
    def __init__(self, operation):
        super().__init__()
        self.stem, self.head, self.operation = nn.Linear(4, 8), nn.Linear(8, 3), operation

    def forward(self, x):
        return self.head(self.operation(self.stem(x).relu()))


@pytest.mark.parametrize(
    ("operation", "units"),
    [(gather_rows, 8), (gather_channels, 0), (scatter_channels, 0)],
    ids=lambda one: str(one)[:20],
)
def test_rows_are_gathered_and_channels_stay(operation, units):
    model, x = randomise(Around(operation)).double(), torch.randn(5, 4, dtype=torch.float64)
    space = ep.analyze(model, x)
    assert space.size == units
    if units:
        assert_exact(model, x, space)


class Experts(nn.Module):
    """A matrix for each group of rows."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(4, 16), nn.Linear(16, 3)
        self.up, self.down = nn.Parameter(torch.randn(2, 24, 16) * 0.2), nn.Parameter(torch.randn(2, 16, 24) * 0.2)

    def forward(self, x):
        ends = torch.tensor([3, 5], dtype=torch.int32)
        hidden = torch._grouped_mm(self.stem(x), self.up.transpose(1, 2), offs=ends).relu()
        return self.head(torch._grouped_mm(hidden, self.down.transpose(1, 2), offs=ends))


def test_experts_of_grouped_products_have_widths():
    model, x = Experts(), torch.randn(5, 4)
    try:
        model(x)
    except RuntimeError as error:
        pytest.skip(f"this torch has no grouped product on this processor: {error}")
    space = ep.analyze(model, x)  # the kernel wants rows of multiples of 16 bytes
    assert sorted(group.size for group in space.groups) == [2, 2, 3]
    for seed, keep in enumerate((0.3, 0.5, 0.7)):
        assert ep.verify(model, space.random_plan(keep=keep, seed=seed), x).agrees


class Masked(nn.Module):
    """wav2vec 2.0's: some steps are replaced by a learnt vector."""

    def __init__(self, put):
        super().__init__()
        self.stem, self.head, self.put = nn.Linear(5, 8), nn.Linear(8, 3), put
        self.filler = nn.Parameter(torch.randn(8))

    def forward(self, x):
        return self.head(self.put(self.stem(x), self.filler).tanh())


def by_mask(y, filler):
    mask = torch.tensor([[True, False, True, False], [False, False, True, True]])
    y = y.clone()
    y[mask] = filler
    return y


def by_numbers(y, filler):
    return y.index_put((torch.tensor([0, 1]), torch.tensor([2, 3])), torch.stack([filler, filler * 2]), accumulate=True)


def rows_from_another(y, filler):
    y = y.clone()
    y[torch.tensor([1])] = y[:1] + filler
    return y


def into_zeros(y, filler):
    found = y.new_zeros(y.shape)
    found[torch.tensor([[True, False, True, False]] * 2)] = filler
    return found + y


def channels(y, filler):
    y = y.clone()
    y[:, :, torch.tensor([0, 3])] = filler[:2]
    return y


@pytest.mark.parametrize(
    ("put", "units"),
    [(by_mask, 8), (by_numbers, 8), (rows_from_another, 8), (into_zeros, 8), (channels, 0)],
    ids=lambda one: str(one)[:20],
)
def test_rows_are_written_by_index(put, units):
    model, x = randomise(Masked(put)).double(), torch.randn(2, 4, 5, dtype=torch.float64)
    space = ep.analyze(model, x)
    assert space.size == units
    if units:
        assert_exact(model, x, space)
