import copy
import functools
import threading
import weakref
from collections import OrderedDict, deque
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.holdings import reachable
from evoprune.rng import isolated_rng
from tests.channels.zoo.catalogue import MODELS, build


@pytest.mark.slow
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


def test_clone_refuses_models_with_attributes_that_cannot_be_copied(seeded_torch):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model.lock = threading.Lock()
    with pytest.raises(UnsupportedModelError, match="can't be copied"):
        clone(model)


def direct(model, value):
    model.seen = value


def in_containers(model, value):
    model.seen = {"last": [(value, 3)], "ordered": OrderedDict(x=value), "queue": deque([value], maxlen=4)}


def in_an_object(model, value):
    model.seen = SimpleNamespace(last=value)


def in_a_class_that_copies_itself(model, value):
    class Own:
        def __init__(self, value):
            self.value = value

        def __reduce__(self):
            return (Own, (self.value,))

    model.seen = Own(value)


@pytest.mark.parametrize("keep", [direct, in_containers, in_an_object, in_a_class_that_copies_itself])
def test_clone_copies_results_of_a_computation_wherever_they_are_kept(seeded_torch, keep):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    keep(model, model(torch.ones(1, 4)))
    copied = clone(model)
    one, other = (
        [value for value in reachable([each]) if isinstance(value, torch.Tensor) and value.shape == (1, 2)]
        for each in (model, copied)
    )
    assert len(one) == len(other) == 1
    assert torch.equal(one[0], other[0])
    assert one[0] is not other[0]
    assert other[0].grad_fn is None


class Bound(nn.Module):
    """Holds what `make` ties to it, and calls it."""

    def __init__(self, make):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.call = make(self)

    def forward(self, x):
        return self.call(x)

    def twice(self, x):
        return self.layer(x) * 2


class Holder:
    def __init__(self, module):
        self.module = module

    def run(self, x):
        return self.module.layer(x)


def over(held, call):
    """A function that closes over `held`."""
    return lambda x: call(held, x)


def closure(model):
    return over(model, lambda held, x: held.layer(x))


def closure_over_a_layer(model):
    return over(model.layer, lambda held, x: held(x))


def closure_over_a_parameter(model):
    return over(model.layer.weight, lambda held, x: x @ held.T)


def closure_over_a_list(model):
    return over([(model.layer,)], lambda held, x: held[0][0](x))


def closure_over_an_object(model):
    return over(Holder(model), lambda held, x: held.run(x))


def weak_reference(model):
    return over(weakref.ref(model), lambda held, x: held().layer(x))


def default_argument(model):
    return lambda x, layer=model.layer: layer(x)


def method(model):
    return model.twice


def method_of_an_object(model):
    return Holder(model).run


def partial(model):
    return functools.partial(Bound.twice, model)


def partial_of_a_closure(model):
    return functools.partial(lambda scale, x: model.layer(x) * scale, 3.0)


def cache(model):
    return functools.lru_cache(maxsize=2)(model.twice)


def wrapped(model):
    return functools.wraps(model.twice)(over(model.twice, lambda held, x: held(x)))


def recursive(model):
    def step(x, depth=2):
        return model.layer(x) if depth == 0 else step(x, depth - 1)

    return step


def nested(model):
    def outer(inner=model.twice):
        return lambda x, *, scale=model.layer.weight: inner(x) + scale.sum()

    return outer()


OVER = [
    closure,
    closure_over_a_layer,
    closure_over_a_parameter,
    closure_over_a_list,
    closure_over_an_object,
    weak_reference,
]
WAYS = [
    *OVER,
    default_argument,
    method,
    method_of_an_object,
    partial,
    partial_of_a_closure,
    cache,
    wrapped,
    recursive,
    nested,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_clone_binds_what_leads_to_the_model_to_the_copy(seeded_torch, way):
    model, x = Bound(way), torch.randn(4, 3)
    expected = model(x)
    copied = clone(model)
    again = clone(copied)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert torch.equal(copied(x), expected)
    for parameter in copied.parameters():
        parameter.data.zero_()
    assert torch.equal(again(x), expected)
    assert not copied(x + 1).any()


def test_clone_leaves_functions_alone_that_do_not_lead_to_the_model(seeded_torch):
    seen = []
    model = Bound(lambda model: lambda x: seen.append(1) or x)
    assert clone(model).call is model.call


class Slotted(nn.Linear):
    """Keeps a number outside its `__dict__`."""

    __slots__ = ("scale",)


def test_clone_copies_slots(seeded_torch):
    model = Slotted(2, 2)
    model.scale = [5.0]
    copied = clone(model)
    assert copied.scale == [5.0]
    assert copied.scale is not model.scale
    assert not hasattr(clone(Slotted(2, 2)), "scale")
