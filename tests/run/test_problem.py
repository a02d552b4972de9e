import pytest
import torch
from torch import nn

from evoprune.errors import UnsupportedModelError
from evoprune.run.problem import LiveSource, Problem


class Keeping(nn.Module):
    """Keeps its activation, as for a feature loss."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(3, 2), []

    def forward(self, x):
        self.features = self.layer(x)
        self.seen = [{"last": self.features.relu()}]
        return self.features


def source(model):
    return LiveSource(Problem(model, None, torch.ones(4, 3)))


def test_live_source_loads_a_copy_of_a_model_that_keeps_activations(seeded_torch):
    model = Keeping()
    expected = model(torch.ones(4, 3))
    copied = source(model).load().model
    assert torch.equal(copied(torch.ones(4, 3)), expected)
    assert copied.layer is not model.layer
    assert model.features is expected


GLOBAL = {}


def test_live_source_refuses_a_model_whose_copies_go_on_using_it(seeded_torch):
    model = nn.Sequential(nn.Linear(3, 2))
    GLOBAL["forward"] = model[0].forward
    model[0].forward = lambda x: GLOBAL["forward"](x) * 2
    with pytest.raises(UnsupportedModelError, match=r"goes on using 0.*0\.forward was replaced"):
        source(model).load()
    GLOBAL.clear()
