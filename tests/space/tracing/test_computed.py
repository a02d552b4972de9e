"""Weights that are computed before every pass: pruned networks and masked ones compute them from what is kept."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

import evoprune as ep
from tests.channels.nets import assert_exact, image, randomise

pytestmark = [pytest.mark.usefixtures("seeded_torch"), pytest.mark.filterwarnings("ignore::FutureWarning")]


def old_weight_norm(layer):
    return nn.utils.weight_norm(layer)


def along_inputs(layer):
    return nn.utils.weight_norm(layer, dim=1)


def new_weight_norm(layer):
    return parametrizations.weight_norm(layer)


def old_spectral_norm(layer):
    return nn.utils.spectral_norm(layer)


def new_spectral_norm(layer):
    return parametrizations.spectral_norm(layer, n_power_iterations=2)


class Standardised(nn.Conv2d):
    """timm's `StdConv2d`: by the batch norm of the weight."""

    def forward(self, x):
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = functional.batch_norm(flat, None, None, training=True, momentum=0.0, eps=1e-6).reshape_as(self.weight)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Scaled(nn.Conv2d):
    """timm's `ScaledStdConv2d`: with a gain for each output."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))
        self.scale = self.weight[0].numel() ** -0.5

    def forward(self, x):
        flat, gain = self.weight.reshape(1, self.out_channels, -1), (self.gain * self.scale).view(-1)
        weight = functional.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0, eps=1e-5)
        weight = weight.reshape_as(self.weight)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ByMoments(nn.Conv2d):
    """Big Transfer's own: mean and variance by themselves."""

    def forward(self, x):
        variance, mean = torch.var_mean(self.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-10)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Cosine(nn.Linear):
    """Rows of length one."""

    def forward(self, x):
        return functional.linear(x, self.weight / self.weight.norm(dim=1, keepdim=True), self.bias)


def network(wrap=lambda layer: layer, conv=nn.Conv2d, groups=1):
    layers = [
        wrap(conv(3, 8, 3, padding=1)),
        nn.ReLU(),
        wrap(conv(8, 12, 3, padding=1, groups=groups)),
        nn.ReLU(),
        wrap(conv(12, 6, 1)),
        nn.Flatten(),
        wrap(nn.Linear(384, 4)),
    ]
    return randomise(nn.Sequential(*layers)).double()


NETS = {
    "weight norm": lambda: network(old_weight_norm),
    "weight norm along inputs": lambda: network(along_inputs),
    "weight norm as a parametrization": lambda: network(new_weight_norm),
    "spectral norm": lambda: network(old_spectral_norm),
    "spectral norm as a parametrization": lambda: network(new_spectral_norm),
    "standardised": lambda: network(conv=Standardised),
    "standardised and scaled": lambda: network(conv=Scaled),
    "standardised by moments": lambda: network(conv=ByMoments),
}


@pytest.mark.parametrize("name", NETS)
def test_computed_weights_are_pruned_exactly(name):
    model, x = NETS[name](), image().double()
    space = ep.analyze(model, x)
    assert space.size == 8 + 12 + 6 - ("standardised" in name)  # of a 1 x 1 convolution's inputs two stay
    assert_exact(model, x, space)


@pytest.mark.parametrize("name", NETS)
def test_pruned_layers_know_their_widths_and_train(name):
    model, x = NETS[name](), image().double()
    small = ep.prune(model, ep.analyze(model, x).random_plan(keep=0.5, seed=0))
    assert (small[2].in_channels, small[6].in_features) == (4, 192)
    assert small[2].out_channels == small[4].in_channels == (7 if "standardised" in name else 6)
    assert small[2].weight.shape == (small[2].out_channels, 4, 3, 3)
    before = small.eval()(x)
    optimiser = torch.optim.SGD(small.parameters(), 0.1)
    small.train()(x).square().mean().backward()
    optimiser.step()
    assert not torch.equal(small.eval()(x), before)


@pytest.mark.parametrize("conv", [Standardised, Scaled, ByMoments])
def test_grouped_convolution_with_standardised_weights(conv):
    model, x = network(conv=conv, groups=4), image().double()
    space = ep.analyze(model, x)
    assert [group.size for group in space.groups] == [2, 3, 6]
    assert_exact(model, x, space)


@pytest.mark.parametrize("conv", [Standardised, Scaled])
def test_depthwise_convolution_with_standardised_weights(conv):
    layers = [conv(3, 8, 1), nn.ReLU(), conv(8, 8, 3, padding=1, groups=8), nn.ReLU(), conv(8, 4, 1)]
    model, x = randomise(nn.Sequential(*layers)).double(), image().double()
    space = ep.analyze(model, x)
    assert [group.size for group in space.groups] == [7]
    assert_exact(model, x, space)


def test_rows_of_length_one_are_those_of_what_is_kept():
    model, x = randomise(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), Cosine(8, 3))).double(), torch.randn(4, 5).double()
    space = ep.analyze(model, x)
    assert space.size == 8
    assert_exact(model, x, space)


@pytest.mark.parametrize("build", [NETS["weight norm"], NETS["standardised and scaled"], NETS["spectral norm"]])
def test_computed_weights_can_be_pruned_again(build):
    model, x = build(), image().double()
    small = ep.prune(model, ep.analyze(model, x).random_plan(keep=0.6, seed=0))
    again = ep.analyze(small, x)
    assert again.size < 26
    assert_exact(small, x, again, keeps=(0.5,))


class Doubled(nn.Module):
    """A parametrization that isn't known, and goes position by position."""

    def forward(self, weight):
        return weight.tanh() * 2


class Mixed(nn.Module):
    """One that isn't known, and mixes all rows."""

    def forward(self, weight):
        return torch.linalg.qr(weight.flatten(1).T).Q.T.reshape(weight.shape)


def test_unknown_parametrizations_are_followed_or_left_alone():
    model = network()
    parametrize.register_parametrization(model[2], "weight", Doubled())
    space = ep.analyze(model, image().double())
    assert space.size == 26
    assert_exact(model, image().double(), space, keeps=(0.3, 0.7))
    parametrize.register_parametrization(model[4], "weight", Mixed())
    found = ep.analyze(model, image().double())
    assert [group.name for group in found.groups] == ["0"]
    assert_exact(model, image().double(), found, keeps=(0.5,))


def test_as_many_outputs_as_inputs_are_told_apart():
    layers = [
        nn.Conv2d(3, 8, 1),
        nn.ReLU(),
        Scaled(8, 8, 3, padding=1),
        nn.ReLU(),
        Scaled(8, 8, 1),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
    ]
    model, x = randomise(nn.Sequential(*layers)).double(), image().double()
    space = ep.analyze(model, x)
    assert [group.size for group in space.groups] == [8, 7, 8]
    assert_exact(model, x, space)
    bits = space.random_bits(1.0, 0)
    bits[: space.groups[0].stop - 2] = False  # two of the first, all of the others
    small = ep.prune(model, space.plan(bits))
    assert (small[2].in_channels, small[2].out_channels, small[4].out_channels) == (2, 8, 8)
    assert ep.verify(model, space.plan(bits), x).relative < 1e-12


def test_two_inputs_stay_only_where_a_unit_is_a_single_one():
    layers = [nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.ReLU(), ByMoments(8, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1)]
    model, x = randomise(nn.Sequential(*layers)).double(), image().double()
    space = ep.analyze(model, x)
    assert [group.size for group in space.groups] == [4, 6]
    assert_exact(model, x, space)
