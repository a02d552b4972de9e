import copy
import threading

import pytest
import torch
from torch import nn

from evoprune.errors import UnsupportedModelError
from evoprune.pruning.cloning import clone
from evoprune.rng import isolated_rng
from tests.pruning.zoo.catalogue import MODELS, build


def test_clone_shares_nothing_and_computes_the_same():
    for name in MODELS:
        model, _ = build(name)
        copied = clone(model)
        own = {tensor.data_ptr() for tensor in model.state_dict().values()}
        assert not own & {tensor.data_ptr() for tensor in copied.state_dict().values()}
        assert all(torch.equal(value, copied.state_dict()[key]) for key, value in model.state_dict().items())
        assert str(copied) == str(model)


def test_clone_keeps_references_inside_the_model():
    class Selfish(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.plain = {"weight": self.layer.weight, "me": [self.layer]}
            self.cached = self.layer.weight * 2

    with isolated_rng(0):
        model = Selfish()
    copied = clone(model)
    assert copied.plain["weight"] is copied.layer.weight
    assert copied.plain["me"][0] is copied.layer
    assert copied.layer is not model.layer
    assert copied.cached is not model.cached


def test_clone_respects_a_class_that_copies_itself():
    class Own(nn.Linear):
        def __deepcopy__(self, memo):
            made = Own(2, 2)
            made.copied = True
            return made

    with isolated_rng(0):
        model = nn.Sequential(Own(2, 2))
        assert clone(model)[0].copied
        assert copy.deepcopy(model)[0].copied


def locked(model):
    model.lock = threading.Lock()


def remembering(model):
    model.seen = {"last": model(torch.ones(1, 4))}


@pytest.mark.parametrize("spoil", [locked, remembering])
def test_clone_refuses_models_with_attributes_that_cannot_be_copied(seeded_torch, spoil):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    spoil(model)
    with pytest.raises(UnsupportedModelError, match="can't be copied"):
        clone(model)
