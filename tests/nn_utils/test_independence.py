"""Pruned copies compute with their own layers, whatever ties a model's functions to it, or the model is refused."""

import functools
import types
import weakref

import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.errors import UnsupportedModelError
from evoprune.masks.apply import plan_of
from evoprune.nn_utils.independence import check_copies
from evoprune.objectives.compute import count
from evoprune.pruning import prune, verify

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.down = nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 6)

    def forward(self, x):
        return x + self.down(self.act(self.up(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.head = Block(), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.block(x))


def doubled(module, old):
    module.forward = lambda x: old(x) * 2


def closure(model):
    doubled(model.block, model.block.forward)


def default_argument(model):
    model.block.forward = lambda x, old=model.block.forward: old(x) * 2


def keyword_default(model):
    def forward(x, *, old=model.block.forward):
        return old(x) * 2

    model.block.forward = forward


def patched_twice(model):
    closure(model)
    again = model.block.forward
    model.block.forward = lambda x: again(x) * 1


def partial_in_closure(model):
    doubled(model.block, functools.partial(Block.forward, model.block))


def partial_as_forward(model):
    model.block.forward = functools.partial(lambda block, x: Block.forward(block, x) * 2, model.block)


def dict_in_closure(model):
    olds = {"block": model.block.forward}
    model.block.forward = lambda x: olds["block"](x) * 2


def object_in_closure(model):
    held = types.SimpleNamespace(blocks=[model.block])
    model.block.forward = lambda x: Block.forward(held.blocks[0], x) * 2


def weak_reference(model):
    held = weakref.ref(model.block)
    model.block.forward = lambda x: Block.forward(held(), x) * 2


def wrapped(model):
    old = model.block.forward
    model.block.forward = functools.wraps(old)(lambda *args: old(*args) * 2)


def method_type(model):
    model.block.old_forward = model.block.forward
    model.block.forward = types.MethodType(lambda self, x: self.old_forward(x) * 2, model.block)


def layers_in_closure(model):
    up, down = model.block.up, model.block.down
    model.block.forward = lambda x: (x + down(up(x).relu())) * 2


def hook(model):
    def again(module, inputs, output):
        return output + model.block.down(module.up(inputs[0]).relu()) + inputs[0]

    model.block.register_forward_hook(again)


BOUND = [closure, default_argument, keyword_default, patched_twice, partial_in_closure, partial_as_forward, dict_in_closure,
         object_in_closure, weak_reference, wrapped, method_type, layers_in_closure, hook]  # fmt: skip


def by_hand(model, plan, x):
    """What the kept hidden units make of `x`, from the weights alone."""
    kept = torch.as_tensor(plan.kept["block.up.weight"][0])
    up, down = model.block.up, model.block.down
    hidden = (x @ up.weight[kept].T + up.bias[kept]).relu()
    return model.head((x + hidden @ down.weight[:, kept].T + down.bias) * 2)


@pytest.mark.parametrize("patch", BOUND, ids=lambda patch: patch.__name__)
def test_a_patched_forward_is_pruned_with_its_model(patch):
    model, x = Net(), torch.randn(5, 6)
    patch(model)
    space = analyze(model, x)
    assert [(group.name, group.size) for group in space.groups] == [("block.up", 16)]
    plan = space.random_plan(0.25, seed=0)
    small = prune(model, plan)
    torch.testing.assert_close(small(x), by_hand(model, plan, x))
    small(x).sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad is not None for parameter in small.parameters())
    assert count(small, x).macs < 0.5 * count(model, x).macs
    assert verify(model, plan, x).agrees


KEPT = {}


def global_name(model):
    KEPT["block"] = model.block.forward
    model.block.forward = lambda x: KEPT["block"](x) * 2


def global_whole_model(model):
    KEPT["model"] = model.forward
    model.forward = lambda x: KEPT["model"](x) * 2


def global_without_tensors(model):
    KEPT["act"] = model.block.act.forward
    model.block.act.forward = lambda x: KEPT["act"](x) * 2


def global_hook(model):
    KEPT["layer"] = model.block.down
    model.block.register_forward_hook(lambda module, inputs, output: output + KEPT["layer"].bias)


def global_in_backward(model):
    KEPT["layer"] = model.block.down
    model.block.register_full_backward_hook(lambda module, given, got: (given[0] + KEPT["layer"].bias.detach() * 0,))


def global_in_training(model):
    KEPT["layer"] = model.block.down
    old = model.block.forward
    model.block.forward = lambda x: old(x) + (KEPT["layer"].bias if model.block.training else 0)


def opaque_object(model):
    class Opaque:
        def __init__(self, module):
            self.module = module

        def __deepcopy__(self, memo):
            return self

    held = Opaque(model.block)
    model.block.forward = lambda x: Block.forward(held.module, x) * 2


SHARED = [global_name, global_whole_model, global_without_tensors, global_hook, global_in_backward, global_in_training,
          opaque_object]  # fmt: skip


@pytest.mark.parametrize("patch", SHARED, ids=lambda patch: patch.__name__)
def test_copies_that_go_on_using_the_original_are_refused(patch):
    model, x = Net(), torch.randn(5, 6)
    patch(model)
    with pytest.raises(UnsupportedModelError, match="a copy of the model goes on using") as refusal:
        analyze(model, x)
    assert "block" in str(refusal.value)
    with pytest.raises(UnsupportedModelError, match="a copy of the model goes on using"):
        check_copies(model, x)
    assert all(parameter.grad is None for parameter in model.parameters())
    KEPT.clear()


@pytest.mark.parametrize("patch", [global_name, global_whole_model])
def test_masks_are_not_verified_on_a_copy_that_uses_the_original(patch):
    model, x = Net(), torch.randn(5, 6)
    plan = plan_of(model, {"block.up.weight": torch.rand(16, 6) > 0.5})
    patch(model)
    with pytest.raises(UnsupportedModelError, match="a copy of the model goes on using"):
        verify(model, plan, x)
    KEPT.clear()


def test_a_refusal_names_the_function_and_what_to_do():
    model = Net()
    global_name(model)
    with pytest.raises(UnsupportedModelError, match=r"block\.forward was replaced") as refusal:
        analyze(model, torch.randn(5, 6))
    assert "make it a method" in refusal.value.hint
    KEPT.clear()


def test_functions_that_hold_something_else_are_no_reason_to_refuse():
    model, scale = Net(), torch.tensor(2.0)
    model.block.register_forward_hook(lambda module, inputs, output: output * scale)
    check_copies(model, torch.randn(1, 6))
    assert len(analyze(model, torch.randn(1, 6)).groups) == 1
