"""Folded networks compute what they did, with plain weights, and leave the original alone."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import evoprune as ep
from evoprune.errors import UnsupportedModelError
from tests.channels.nets import assert_exact, image, randomise

pytestmark = [pytest.mark.usefixtures("seeded_torch"), pytest.mark.filterwarnings("ignore::FutureWarning")]


def network(wrap):
    layers = [wrap(nn.Conv2d(3, 8, 3)), nn.ReLU(), wrap(nn.Conv2d(8, 6, 1)), nn.Flatten(), nn.Linear(216, 4)]
    return randomise(nn.Sequential(*layers)).double()


WAYS = [
    nn.utils.weight_norm,
    nn.utils.spectral_norm,
    parametrizations.weight_norm,
    parametrizations.spectral_norm,
    lambda layer: parametrizations.spectral_norm(parametrizations.weight_norm(layer)),
]


@pytest.mark.parametrize("wrap", WAYS)
def test_folded_network_computes_the_same_and_is_pruned_as_plain_weights(wrap):
    model, x = network(wrap), image().double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = ep.fold(model, x)
    assert {name for name, _ in folded.named_parameters()} == {
        f"{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")
    }
    assert type(folded[0]) is nn.Conv2d
    torch.testing.assert_close(folded(x), model(x), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    space = ep.analyze(folded, x)
    assert space.size == 14
    assert_exact(folded, x, space, keeps=(0.3, 0.7))
    model.train()(x).sum().backward()  # it still computes its weights


class Orthogonal(nn.Module):
    def forward(self, weight):
        return torch.linalg.qr(weight.flatten(1).T).Q.T.reshape(weight.shape)


def test_folding_frees_what_an_unknown_parametrization_freezes():
    model, x = network(lambda layer: layer), image().double()
    parametrize.register_parametrization(model[2], "weight", Orthogonal())
    model.requires_grad_(False)
    assert [group.name for group in ep.analyze(model, x).groups] == []
    folded = ep.fold(model, x)
    assert [group.name for group in ep.analyze(folded, x).groups] == ["0", "2"]
    assert not any(parameter.requires_grad for parameter in folded.parameters())


class Counting(nn.Module):
    """Another weight at every call."""

    calls = 0

    def forward(self, weight):
        Counting.calls += 1
        return weight * Counting.calls


class Noisy(nn.Module):
    """A weight with noise, which is the same where the generator begins alike."""

    def forward(self, weight):
        return nn.functional.dropout(weight, 0.5, training=True)


@pytest.mark.parametrize("kind", [Counting, Noisy])
def test_weights_that_are_others_at_every_call_are_not_folded(kind):
    model = network(lambda layer: layer)
    parametrize.register_parametrization(model[2], "weight", kind())
    with pytest.raises(UnsupportedModelError, match=r"2\.weight is another at every call"):
        ep.fold(model, image().double())


class OfBatch(nn.Module):
    """A weight that depends on what the network was given before."""

    def __init__(self, seen):
        super().__init__()
        self.seen = [seen]

    def forward(self, weight):
        return weight * len(self.seen[0])


def test_folding_is_refused_where_it_changes_the_function():
    model, seen = network(lambda layer: layer), [1]
    parametrize.register_parametrization(model[2], "weight", OfBatch(seen))
    model[0].register_forward_hook(lambda *_: seen.append(1))
    with pytest.raises(UnsupportedModelError, match="with folded weights the model computes something else"):
        ep.fold(model, image().double())
