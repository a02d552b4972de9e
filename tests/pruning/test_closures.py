import functools

import pytest
import torch
from torch import nn

from evoprune.errors import UnsupportedModelError
from evoprune.pruning.checked import analyze
from evoprune.pruning.verify import verify


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)
        self.step = None

    def forward(self, images):
        return self.two(self.one(images).relu()) if self.step is None else self.step(images)

    def both(self, images):
        return self.two(self.one(images).relu())


def closing_forward(model):
    model.step = lambda images: model.two(model.one(images).relu())


def closing_over_a_layer(model):
    layer = model.two
    model.step = lambda images: layer(model.one(images).relu())


def closing_hook(model):
    model.one.register_forward_hook(lambda module, inputs, output: output + model.one(inputs[0] * 0) * 0)


@pytest.mark.parametrize("hold", [closing_forward, closing_over_a_layer, closing_hook])
def test_analyze_refuses_functions_that_close_over_the_model(seeded_torch, hold):
    model = Chain()
    hold(model)
    with pytest.raises(UnsupportedModelError, match="closes over the model"):
        analyze(model, torch.randn(1, 3, 8, 8))


@pytest.mark.parametrize("bind", [lambda model: model.both, lambda model: functools.partial(Chain.both, model)])
def test_methods_and_partials_are_pruned_with_the_model(seeded_torch, bind):
    model, inputs = Chain(), torch.randn(2, 3, 8, 8)
    model.step = bind(model)
    space = analyze(model, inputs)
    assert [group.name for group in space.groups] == ["one"]
    assert verify(model, space.random_plan(keep=0.5, seed=0), inputs).relative < 1e-9


def test_functions_that_close_over_something_else_are_no_reason_to_refuse(seeded_torch):
    model, scale = Chain(), 2.0
    model.one.register_forward_hook(lambda module, inputs, output: output * scale)
    assert len(analyze(model, torch.randn(1, 3, 8, 8)).groups) == 1
