"""Criteria that look at the loss, against finite differences in float64."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.channels.analyze import analyze
from evoprune.channels.importance.scores import importance
from evoprune.errors import UsageError
from tests.channels.importance.nets import batches, small

STEP = 1e-5
PRODUCING = {"conv1": ("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"), "conv2": ("conv2.weight", "conv2.bias"),
             "fc1": ("fc1.weight", "fc1.bias")}  # fmt: skip


def loss_of(model, batch):
    with torch.no_grad():
        return float(functional.cross_entropy(model(batch[0]), batch[1]))


def difference(model, batch, change):
    """Central difference of the loss while `change(model, step)` moves weights."""
    values = []
    for step in (STEP, -STEP):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            change(moved, step)
        values.append(loss_of(moved, batch))
    return (values[0] - values[1]) / (2 * STEP)


@pytest.fixture(scope="module")
def plain():
    model = small()
    return model, analyze(model, batches()[0][0])


def units(space):
    return [(PRODUCING[group.name], channel) for group in space.groups for channel in range(group.size)]


def test_taylor_is_the_squared_derivative_by_a_factor_on_all_that_produces_a_unit(plain):
    model, space = plain

    def scaled(names, channel):
        def change(moved, step):
            for name in names:
                moved.get_parameter(name)[channel] *= 1 + step

        return change

    expected = [
        np.mean([difference(model, batch, scaled(names, channel)) ** 2 for batch in batches()])
        for names, channel in units(space)
    ]
    found = importance(model, space, "taylor", batches(), functional.cross_entropy)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_hessian_is_half_the_fisher_diagonal_times_the_squared_weights(plain):
    model, space = plain
    samples = [(x[i : i + 1], y[i : i + 1]) for x, y in batches() for i in range(len(y))]

    def saliency(names, channel):
        total = 0.0
        for name in names:
            values = model.get_parameter(name)[channel].detach().reshape(-1)
            for place, value in enumerate(values.tolist()):

                def change(moved, step, name=name, place=place):
                    moved.get_parameter(name).data[channel].reshape(-1)[place] += step

                squares = [difference(model, sample, change) ** 2 for sample in samples]
                total += np.mean(squares) * value**2 / 2
        return total

    chosen = [0, 4, 7]  # the first unit of each group
    expected = [saliency(*units(space)[unit]) for unit in chosen]
    found = importance(model, space, "hessian", batches(), functional.cross_entropy)
    assert found[chosen] == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(found, importance(model, space, "hessian", batches(sizes=(3, 2)), functional.cross_entropy))


@pytest.mark.parametrize("name", ["taylor", "hessian"])
def test_gradients_reach_frozen_parameters_too(plain, name):
    model, space = plain
    frozen = copy.deepcopy(model).requires_grad_(False)
    expected = importance(model, space, name, batches(), functional.cross_entropy)
    assert np.array_equal(importance(frozen, space, name, batches(), functional.cross_entropy), expected)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs data"),
        ({"batches": []}, "needs data"),
        ({"batches": [], "loss": functional.cross_entropy}, "yields none"),
        ({"batches": [torch.zeros(2)], "loss": functional.cross_entropy}, "pairs"),
        ({"batches": batches(), "loss": lambda outputs, targets: outputs.sum(1)}, "scalar"),
        ({"batches": batches(), "loss": lambda outputs, targets: torch.tensor(1.0)}, "scalar"),
    ],
    ids=["nothing", "no loss", "no batch", "no pair", "no scalar", "no gradient"],
)
def test_data_driven_criteria_say_what_they_need(plain, given, message):
    with pytest.raises(UsageError, match=message):
        importance(*plain, "taylor", **given)


def test_a_recurrent_model_can_be_scored(seeded_torch):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.lstm, self.head = nn.Embedding(7, 6), nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, tokens):
            return self.head(self.lstm(self.embed(tokens))[0][:, -1])

    model, tokens = Tagger(), torch.randint(0, 7, (4, 3))
    space = analyze(model, tokens)
    scores = importance(model, space, "taylor", [(tokens, torch.tensor([0, 1, 2, 0]))], functional.cross_entropy)
    assert space.size > 0
    assert (scores > 0).all()
