"""What a pass does to a model, besides computing, is undone."""

import copy
import random
from collections import OrderedDict, deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.importance.scores import importance
from evoprune.nn_utils.calling import undisturbed
from evoprune.objectives.compute import count
from evoprune.pruning import verify

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Net(nn.Module):
    """Two layers; subclasses note something down on the way."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 3)
        self.set_up()

    def forward(self, x):
        y = self.one(x).relu()
        self.note(y)
        return self.two(y)

    def set_up(self):
        pass


class Counter(Net):
    calls = 0

    def note(self, y):
        self.calls += 1


class Activation(Net):
    def note(self, y):
        self.features = y


class Containers(Net):
    def set_up(self):
        self.seen, self.by_name, self.recent, self.sizes = [], OrderedDict(a={}), deque(maxlen=2), set()

    def note(self, y):
        self.seen.append(y)
        self.by_name["a"][len(self.seen)] = y
        self.recent.append(y.mean().item())
        self.sizes.add(len(self.seen))


class Objects(Net):
    def set_up(self):
        self.meter = SimpleNamespace(total=0.0, rows=[])

    def note(self, y):
        self.meter.total += 1
        self.meter.rows.append(y.mean())


class PlainTensor(Net):
    def set_up(self):
        self.running, self.data = torch.zeros(8), torch.zeros(2)

    def note(self, y):
        self.running.mul_(0.9).add_(y.detach().mean(0))
        self.data.data += 1


class Buffers(Net):
    def set_up(self):
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("state", torch.zeros(8))

    def note(self, y):
        self.steps += 1
        self.state = y.detach().mean(0)
        self.register_buffer("new", torch.ones(1))


class Arrays(Net):
    def set_up(self):
        self.totals = np.zeros(3)

    def note(self, y):
        self.totals += 1


class Generators(Net):
    def set_up(self):
        self.torch_rng, self.rng, self.plain = (
            torch.Generator().manual_seed(1),
            np.random.default_rng(1),
            random.Random(1),
        )

    def note(self, y):
        torch.rand(1, generator=self.torch_rng)
        self.rng.random()
        self.plain.random()


class Weights(Net):
    def set_up(self):
        self.register_buffer("kept", torch.ones(8, 4).tril())

    def forward(self, x):
        self.one.weight.data *= self.kept
        self.two.weight.data = self.two.weight.data.clamp(-0.1, 0.1)
        with torch.no_grad():
            self.two.bias.clamp_(-0.1, 0.1)
        return self.two(self.one(x).relu())


class Closure(Net):
    def set_up(self):
        calls, seen = 0, []

        def hook(module, inputs, output):
            nonlocal calls
            calls += 1
            seen.append(output)

        self.hook_state = lambda: (calls, len(seen))
        self.one.register_forward_hook(hook)

    def note(self, y):
        pass


KINDS = [Counter, Activation, Containers, Objects, PlainTensor, Buffers, Arrays, Generators, Weights, Closure]


def described(value):
    """All that a model holds, as plain values that don't change with it."""
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), value.detach().tolist())
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, dict):
        return {key: described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, deque)):
        return [described(item) for item in value]
    if isinstance(value, (nn.Module, SimpleNamespace)):
        return described(vars(value))
    return copy.copy(value) if isinstance(value, set) else str(value)


def state_of(model):
    extra = model.hook_state() if hasattr(model, "hook_state") else None
    return described(model), extra


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_analysis_counting_scoring_and_proof(kind, warm):
    model, x = kind(), torch.randn(5, 4)
    if warm:
        model(x)
    before = state_of(model)
    space = analyze(model, x)
    assert state_of(model) == before
    count(model, x)
    assert state_of(model) == before
    importance(model, space, "taylor", batches=[(x, torch.randn(5, 3))], loss=nn.MSELoss())
    assert state_of(model) == before
    verify(model, space.random_plan(0.5, seed=0), x)
    assert state_of(model) == before


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_these_networks_does_leave_something(kind):
    model = kind()
    before = state_of(model)
    model(torch.randn(5, 4))
    assert state_of(model) != before


def test_parameters_keep_their_storage_and_their_gradients(seeded_torch):
    model, x = Weights(), torch.randn(5, 4)
    model(x).sum().backward()
    start, grad = model.two.weight.data_ptr(), model.two.weight.grad
    with undisturbed(model):
        model(x)
    assert model.two.weight.data_ptr() == start
    assert model.two.weight.grad is grad


def test_state_is_put_back_when_a_pass_fails():
    class Failing(Counter):
        def note(self, y):
            super().note(y)
            raise ValueError

    model = Failing()
    with pytest.raises(ValueError), undisturbed(model):  # noqa: PT011
        model(torch.randn(5, 4))
    assert model.calls == 0
