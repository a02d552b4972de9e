"""Ways of writing a model that have nothing to do with its mathematics: what is found must be right, and must be found."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from evoprune.channels.analyze import analyze
from evoprune.channels.verify import verify
from tests.channels.nets import image, randomise

pytestmark = [
    pytest.mark.usefixtures("seeded_torch"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.jit"),
]


def gate(x):
    return x * torch.sigmoid(x)


sample = functools.partial(functional.grid_sample, align_corners=False)


class Two(nn.Module):
    """Convolutions to 8 and to 6 channels, called by a function."""

    def __init__(self, forward):
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 2, 1)
        self.function = forward
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, *args, **kwargs):
        return self.function(self, *args, **kwargs)


def autocast(net, x):
    with torch.autocast("cpu", torch.bfloat16):
        return net.head(net.two(net.one(x).relu()).relu()).float()


def counting(net, x):
    net.calls += 1
    return net.head(net.two(net.one(x)))


BOTH = {"one": 8, "two": 6}
CALLS = {
    "checkpoint": (lambda net, x: net.head(checkpoint(net.two, net.one(x).relu(), use_reentrant=False)), BOTH),
    "scripted function": (lambda net, x: net.head(torch.jit.script(gate)(net.two(gate(net.one(x))))), BOTH),
    "autocast": (autocast, BOTH),
    "counting in a buffer": (counting, BOTH),
    "input among the outputs": (lambda net, x: (x, {"y": net.head(net.two(net.one(x)))}), BOTH),
    "functional calls": (
        lambda net, x: functional.conv2d(
            functional.conv2d(functional.conv2d(x, net.one.weight, net.one.bias), net.two.weight), net.head.weight
        ),
        BOTH,
    ),
    "random noise": (lambda net, x: net.head(net.two(net.one(x) * torch.rand_like(x[:, :1]))), BOTH),
    "grid_sample": (lambda net, x: net.head(net.two(sample(net.one(x), x.new_zeros(2, 8, 8, 2)))), BOTH),
    "dropout": (lambda net, x: net.head(functional.dropout2d(net.two(net.one(x)), 0.5, False)), BOTH),
    "instance norm": (lambda net, x: net.head(net.two(functional.instance_norm(net.one(x)).relu())), BOTH),
    "a loop over channels": (lambda net, x: net.head(net.two(torch.stack(net.one(x).unbind(1), 1))), {"two": 6}),
    "complex numbers": (lambda net, x: net.head(net.two(torch.complex(net.one(x), net.one(x)).abs())), {"two": 6}),
    "max_unpool": (
        lambda net, x: net.head(
            net.two(functional.max_unpool2d(*functional.max_pool2d(net.one(x), 2, return_indices=True), 2))
        ),
        {"two": 6},
    ),
}  # fmt: skip


def check(model, inputs):
    space = analyze(model, inputs)
    for keep in (0.3, 0.6) if space.groups else ():
        for seed in range(2):
            result = verify(model, space.random_plan(keep, seed), inputs)
            assert result.relative <= (1e-10 if result.dtype == torch.float64 else result.tolerance)
    return {group.name: group.size for group in space.groups}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_ways_of_calling(name):
    forward, expected = CALLS[name]
    assert check(randomise(Two(forward)), image()) == expected


@pytest.mark.parametrize("wrap", [lambda x: {"x": x}, lambda x: [x], lambda x: (x,), lambda x: x])
def test_ways_of_giving_inputs(wrap):
    assert check(randomise(Two(lambda net, x: net.head(net.two(net.one(x))))), wrap(image())) == BOTH


def test_nested_inputs():
    net = randomise(Two(lambda net, batch: net.head(net.two(net.one(batch["images"][0])))))
    assert check(net, ({"images": [image()]},)) == BOTH


def test_symbolically_traced_modules():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    assert check(torch.fx.symbolic_trace(randomise(net)), image()) == {"0": 8}


class Parameters(nn.Module):
    def __init__(self, forward, *shapes):
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(shape)) for shape in shapes)
        self.function = forward

    def forward(self, x):
        return functools.reduce(self.function, self.weights, x)


def test_bare_parameters():
    inputs = torch.randn(3, 5)
    assert check(Parameters(lambda x, w: functional.linear(x, w).relu(), (8, 5), (2, 8)), inputs) == {"weights.0": 8}
    assert check(Parameters(lambda x, w: (x @ w).relu(), (5, 8), (8, 2)), inputs) == {"weights.0": 8}
    assert check(Parameters(lambda x, w: torch.einsum("bi,ij->bj", x, w).relu(), (5, 8), (8, 2)), inputs) == {
        "weights.0": 8
    }


def test_a_bag_of_embeddings():
    model = nn.Sequential(nn.EmbeddingBag(11, 8), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    assert check(randomise(model), torch.randint(0, 11, (2, 5))) == {"0": 8, "1": 6}


def test_packed_sequences_are_right_or_refused():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(11, 6), nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, ids):
            packed = nn.utils.rnn.pack_padded_sequence(self.embed(ids), torch.tensor([5, 3]), batch_first=True)
            return self.out(nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0])

    check(Packed(), torch.randint(0, 11, (2, 5)))


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_a_hook_computes(norm):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), norm(nn.Conv2d(8, 6, 1)), nn.ReLU(), nn.Conv2d(6, 2, 1))
    assert check(model.eval(), image()) == {"0": 8, "2": 6}


class Orthogonal(nn.Module):
    """A parametrization that mixes all rows."""

    def forward(self, weight):
        return torch.linalg.qr(weight).Q


def test_linear_layers_whose_weights_are_computed_are_named_among_the_frozen():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1)).eval()
    parametrize.register_parametrization(model[0], "weight", Orthogonal())
    space = analyze(model, torch.randn(4, 5))
    reasons = {item.name: item.reason for item in space.frozen}
    assert [group.name for group in space.groups] == ["2"]
    assert reasons.keys() == {"0"}
    assert "weight is computed" in reasons["0"]


def test_a_pruned_model_trains():
    from evoprune.channels.surgery import prune

    model = randomise(Two(lambda net, x: net.head(net.two(net.one(x).relu()).relu()))).train()
    small = prune(model, analyze(model, image()).random_plan(0.5, 0))
    small(image()).square().mean().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
