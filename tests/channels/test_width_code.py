"""Code that takes another way at some widths, or reads other tensors in training: pruned right, or frozen with the reason."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.channels import self_check
from evoprune.channels.analyze import analyze
from evoprune.errors import SurgeryError
from evoprune.objectives.compute import count
from evoprune.pruning import mask, prune, verify
from evoprune.space.analysis import trace_space

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Net(nn.Module):
    """Two convolutions of different widths and a head; subclasses say what happens after the first."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 24, 3, padding=1), nn.Linear(24, 4)

    def forward(self, x):
        return self.head(self.b(self.between(self.a(x).relu(), x)).relu().mean((2, 3)))

    def between(self, y, x):
        return y


class EqualToInput(Net):
    def between(self, y, x):
        return y + x if y.size() == x.size() else y


class EqualToOther(Net):
    def forward(self, x):
        x = self.a(x).relu()
        y = self.b(x)
        if y.size() == x.size():
            y = y + x
        return self.head(y.relu().mean((2, 3)))


class EqualToOtherButOne(EqualToOther):
    def forward(self, x):
        x = self.a(x).relu()
        y = self.b(x)
        if y.shape[1] == x.shape[1] > 1:
            y = y + x
        return self.head(y.relu().mean((2, 3)))


class SqueezedGate(Net):
    def between(self, y, x):
        return y * y.mean((2, 3), keepdim=True).squeeze()[..., None, None].sigmoid()


class Literal(Net):
    def between(self, y, x):
        return y * 2 if y.shape[1] == 16 else y


class AtLeast(Net):
    def between(self, y, x):
        return y * 2 if y.shape[1] >= 2 else y


class ByAttribute(Net):
    def between(self, y, x):
        return y / self.a.out_channels


FROZEN = {
    EqualToInput: ["b"],
    EqualToOther: ["a"],
    EqualToOtherButOne: ["a"],
    SqueezedGate: ["b"],
    Literal: ["b"],
    AtLeast: ["b"],
    ByAttribute: ["b"],
}


@pytest.mark.parametrize("passes_are_cheap", [True, False])
@pytest.mark.parametrize("kind", FROZEN)
def test_analyze_freezes_with_a_reason_what_code_asks_the_width_of(kind, passes_are_cheap, monkeypatch):
    if not passes_are_cheap:
        monkeypatch.setattr(self_check, "_SMALL_PARAMETERS", 0)
    model = kind()
    assert [group.name for group in trace_space(model, torch.randn(2, 3, 6, 6)).groups] == ["a", "b"]
    space = analyze(model, torch.randn(2, 3, 6, 6))
    assert [group.name for group in space.groups] == FROZEN[kind]
    frozen = "b" if FROZEN[kind] == ["a"] else "a"
    assert "failed the self-check" in {item.name: item.reason for item in space.frozen}[frozen]


def test_verify_refuses_a_plan_that_switches_a_branch_on():
    model, x = EqualToOther(), torch.randn(2, 3, 6, 6)
    space = trace_space(model, x)
    bits = np.ones(space.size, dtype=np.bool_)
    for group in space.groups:
        bits[group.start + 12 : group.stop] = False
    with pytest.raises(SurgeryError, match="differs from the masked one"):
        verify(model, space.plan(bits), x)


class NoisyLinear(nn.Module):
    """Fortunato et al. 2018; the noise is a buffer, or drawn anew."""

    def __init__(self, inputs, outputs, *, drawn):
        super().__init__()
        self.mean, self.sigma = nn.Parameter(torch.randn(outputs, inputs)), nn.Parameter(torch.rand(outputs, inputs))
        self.register_buffer("epsilon", torch.randn(outputs, inputs))
        self.drawn = drawn

    def forward(self, x):
        noise = torch.randn_like(self.sigma) if self.drawn else self.epsilon
        return functional.linear(x, self.mean + self.sigma * noise if self.training else self.mean)


def noisy(*, drawn):
    return nn.Sequential(NoisyLinear(5, 16, drawn=drawn), nn.ReLU(), NoisyLinear(16, 3, drawn=drawn))


@pytest.mark.parametrize("drawn", [False, True])
def test_parameters_that_training_alone_reads_are_pruned_along(drawn):
    model, x = noisy(drawn=drawn), torch.randn(4, 5)
    space = analyze(model, x)
    assert [(group.name, group.size) for group in space.groups] == [("0", 16)]
    plan = space.random_plan(0.25, seed=0)
    small = prune(model, plan).train()
    assert small[0].sigma.shape == small[0].mean.shape == (4, 5)
    assert small[2].sigma.shape == (3, 4)
    small(x).sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())
    if not drawn:
        torch.testing.assert_close(small(x), mask(model, plan).train()(x))


class TrainingOnly(Net):
    """What training does to the first layer's output."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(16))

    def between(self, y, x):
        return self.train_step(y) if self.training else y


class ChannelNoise(TrainingOnly):
    def train_step(self, y):
        return y + torch.randn_like(y) * self.scale[:, None, None]


class DropPath(TrainingOnly):
    def train_step(self, y):
        kept = y.new_empty(len(y), 1, 1, 1).bernoulli_(0.8)
        return functional.dropout(y + y * self.scale.view(1, -1, 1, 1) * kept / 0.8, 0.3)


class Mixup(TrainingOnly):
    def train_step(self, y):
        return 0.7 * y + 0.3 * y[torch.randperm(len(y))] * self.scale[:, None, None]


class PlainTensor(TrainingOnly):
    def __init__(self):
        super().__init__()
        self.deviation = torch.rand(1, 16, 1, 1)

    def train_step(self, y):
        return y + torch.randn_like(y) * self.deviation


class LiteralInTraining(TrainingOnly):
    def train_step(self, y):
        return y * 2 if y.shape[1] == 16 else y


class FailsInTraining(TrainingOnly):
    def train_step(self, y):
        return y * torch.ones(16, 1, 1)


@pytest.mark.parametrize("kind", [ChannelNoise, DropPath, Mixup])
def test_scales_that_training_alone_reads_are_pruned_with_their_channels(kind):
    model, x = kind(), torch.randn(4, 3, 6, 6)
    space = analyze(model, x)
    assert [group.name for group in space.groups] == ["a", "b"]
    plan = space.random_plan(0.5, seed=0)
    small = prune(model, plan)
    assert torch.equal(small.scale, model.scale[torch.as_tensor(plan.kept["a.weight"][0])])
    small.train()(x).sum().backward()
    assert small.scale.grad.shape == (8,)
    assert verify(model, plan, x).agrees


@pytest.mark.parametrize("passes_are_cheap", [True, False])
@pytest.mark.parametrize("kind", [PlainTensor, LiteralInTraining, FailsInTraining])
def test_what_fits_in_evaluation_alone_is_frozen(kind, passes_are_cheap, monkeypatch):
    if not passes_are_cheap:
        monkeypatch.setattr(self_check, "_SMALL_PARAMETERS", 0)
    space = analyze(kind(), torch.randn(4, 3, 6, 6))
    assert [group.name for group in space.groups] == ["b"]


def test_verify_trains_the_pruned_network():
    model, x = PlainTensor(), torch.randn(4, 3, 6, 6)
    with pytest.raises(SurgeryError, match="in training"):
        verify(model, trace_space(model, x).random_plan(0.5, seed=0), x)


def test_inputs_too_few_to_train_on_are_no_reason_to_freeze():
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    assert [group.name for group in analyze(model, torch.randn(1, 5)).groups] == ["0"]


class Streaming(nn.Module):
    """A recurrent layer that goes on where the last call left off."""

    def __init__(self):
        super().__init__()
        self.embed, self.cell, self.head = nn.Linear(5, 12), nn.GRU(12, 10, batch_first=True), nn.Linear(10, 3)
        self.hidden = None

    def forward(self, x):
        y, self.hidden = self.cell(self.embed(x).relu(), self.hidden)
        return self.head(y)


class CoupledByState(nn.Module):
    """Adds the last call's activation to another layer's: only the second call shows that they must be as wide."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(5, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.last = {}

    def forward(self, x):
        y = self.a(x).relu()
        z = self.b(y).relu() + self.last.get("y", 0)
        self.last["y"] = y
        return self.head(z)


@pytest.mark.parametrize(
    ("kind", "shape", "left"), [(Streaming, (2, 4, 5), ["embed"]), (CoupledByState, (2, 5), [])], ids=["gru", "coupled"]
)
@pytest.mark.parametrize("warm", [False, True])
def test_layers_that_a_kept_state_depends_on_are_frozen(kind, shape, left, warm):
    model, x = kind(), torch.randn(shape)
    if warm:
        model(x)
    space = analyze(model, x)
    assert [group.name for group in space.groups] == left
    if left:
        plan = space.random_plan(0.5, seed=0)
        small, reference = prune(model, plan), mask(model, plan)
        for _ in range(3):
            torch.testing.assert_close(small(x), reference(x))


class Vectorised(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 12), nn.Linear(12, 3)

    def forward(self, x):
        return torch.vmap(lambda row: self.b(self.a(row).relu()))(x)


class InPlace(Vectorised):
    def forward(self, x):
        y = self.a(x)[:, None, :].transpose_(0, 1)
        return self.b(y.squeeze_(0).relu())


@pytest.mark.parametrize("kind", [Vectorised, InPlace])
def test_operations_that_reshape_in_place_are_followed(kind):
    model, x = kind(), torch.randn(4, 5)
    space = analyze(model, x)
    assert [(group.name, group.size) for group in space.groups] == [("a", 12)]
    plan = space.random_plan(0.5, seed=0)
    assert verify(model, plan, x).agrees
    assert count(prune(model, plan), x).macs == 5 * 6 + 6 * 3
