import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.errors import InvalidPlanError, UnsupportedModelError, UsageError
from evoprune.space.analysis import trace_space

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.fc1 = nn.Linear(8 * 4, 12)
        self.fc2 = nn.Linear(12, 5)

    def forward(self, x):
        x = functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 2)
        x = functional.max_pool2d(self.bn2(self.conv2(x)).relu(), 2)
        return self.fc2(self.fc1(x.flatten(1)).relu())


INPUTS = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def plain():
    return Plain()


def test_trace_space_finds_groups_in_order_of_computation(plain):
    space = trace_space(plain, INPUTS)
    assert [(group.name, group.size, group.layer_type, group.start) for group in space.groups] == [
        ("conv1", 6, "conv", 0),
        ("conv2", 8, "conv", 6),
        ("fc1", 12, "linear", 14),
    ]
    assert [(item.name, item.reason) for item in space.frozen] == [("fc2", "reaches the model's output")]


def test_kept_lists_producers_norms_and_flattened_consumers(plain):
    space = trace_space(plain, INPUTS)
    bits = np.ones(space.size, dtype=bool)
    bits[6 + 3] = False
    kept = space.kept(space.plan(bits))
    assert kept.keys() == {
        "conv2.weight", "conv2.bias", "bn2.weight", "bn2.bias", "bn2.running_mean", "bn2.running_var", "fc1.weight",
    }  # fmt: skip
    assert sorted(set(range(32)) - set(kept["fc1.weight"][1].tolist())) == [12, 13, 14, 15]


def test_plan_refuses_wrong_bits(plain):
    space = trace_space(plain, INPUTS)
    with pytest.raises(InvalidPlanError, match="26 bits"):
        space.plan(np.ones(3, dtype=bool))
    empty = np.ones(space.size, dtype=bool)
    empty[:6] = False
    with pytest.raises(InvalidPlanError, match="conv1"):
        space.plan(empty)
    with pytest.raises(UsageError, match="keep"):
        space.random_plan(0.0, seed=0)


def test_space_pickles_and_names_itself_alike(plain):
    space = trace_space(plain, INPUTS)
    again = pickle.loads(pickle.dumps(trace_space(Plain().double(), INPUTS.double())))
    assert again.fingerprint == space.fingerprint
    assert again.digest == space.digest
    assert again.random_plan(0.5, 3) == space.random_plan(0.5, 3)


def test_trace_space_leaves_the_model_and_generators_alone(plain):
    plain.train()
    plain.bn1.eval()
    plain.conv1.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    state = torch.get_rng_state()
    trace_space(plain, INPUTS)
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert plain.training
    assert not plain.bn1.training
    assert not plain.conv1.weight.requires_grad
    assert all(parameter.grad is None for parameter in plain.parameters())


def test_trace_space_leaves_no_method_behind_even_after_a_failure():
    model = nn.Sequential(nn.Linear(4, 8), nn.RMSNorm(8), nn.TransformerEncoderLayer(8, 2, 8), nn.LSTM(8, 3))
    before = [set(vars(module)) for module in model.modules()]
    trace_space(model, torch.randn(2, 4))
    assert [set(vars(module)) for module in model.modules()] == before
    with pytest.raises(UnsupportedModelError):
        trace_space(model, torch.randn(2, 5))
    assert [set(vars(module)) for module in model.modules()] == before
    assert not torch.nn.modules.module._global_forward_hooks


def test_layers_without_a_shape_are_a_user_error():
    with pytest.raises(UnsupportedModelError, match="run the model once"):
        trace_space(nn.Sequential(nn.LazyLinear(3)), torch.randn(2, 4))


def test_exclude_freezes_by_pattern(plain):
    space = trace_space(plain, INPUTS, exclude=["conv?"])
    assert [group.name for group in space.groups] == ["fc1"]
    assert "excluded" in space.frozen[0].reason


def test_inputs_that_do_not_fit_are_a_user_error(plain):
    with pytest.raises(UnsupportedModelError, match="example inputs"):
        trace_space(plain, torch.randn(1, 3, 8, 8))
