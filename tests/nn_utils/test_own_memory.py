"""Ties by memory come apart in copies, and are refused; parameters that are one, or lie side by side, are not."""

import copy

import pytest
import torch
from torch import nn

from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.own_memory import require_own_memory

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Tied(nn.Module):
    def __init__(self, tie):
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 6)
        tie(self)


def assigned_data(model):
    model.b.weight.data = model.a.weight.data.t()


def parameter_of_a_view(model):
    model.b.weight = nn.Parameter(model.a.weight.t())


def a_buffer(model):
    model.register_buffer("shift", model.a.bias.data)


def a_slice(model):
    model.b.bias = nn.Parameter(model.a.weight[:, 0])


def the_same(model):
    model.b.weight = model.a.weight


def one_flat_storage(model):
    flat = torch.randn(48)
    model.a.weight.data, model.b.weight.data = flat[:24].view(4, 6), flat[24:].view(6, 4)


def columns_of_one_matrix(model):
    both = torch.randn(6, 10)
    model.a.weight.data, model.b.weight.data = both[:, :6][:4], both[:, 6:]


def none_learns(model):
    assigned_data(model)
    model.requires_grad_(False)


@pytest.mark.parametrize("tie", [assigned_data, parameter_of_a_view, a_buffer, a_slice])
def test_require_own_memory_refuses_weights_that_copies_tear_apart(tie):
    model = Tied(tie)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for one in (model, copied):
            one.a.weight.add_(1.0), one.a.bias.add_(1.0)
    torn = [name for name, value in model.state_dict().items() if not torch.equal(value, copied.state_dict()[name])]
    assert torn  # the fault itself: the same step leads elsewhere
    with pytest.raises(UnsupportedModelError, match="share memory") as raised:
        require_own_memory(model)
    assert torn[0] in raised.value.message


@pytest.mark.parametrize("tie", [the_same, one_flat_storage, columns_of_one_matrix, none_learns])
def test_require_own_memory_accepts_what_copies_keep(tie):
    require_own_memory(Tied(tie))
