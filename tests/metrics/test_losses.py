import functools
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.errors import DataError
from evoprune.metrics.losses import as_given, loss_value

LOGITS = torch.tensor([[2.0, 0.0, 0.5], [0.0, 1.0, 0.1]])
TARGETS = torch.tensor([0, 2])


@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor


Auxiliary = namedtuple("Auxiliary", "logits aux")


@pytest.mark.parametrize(
    "outputs",
    [LOGITS, {"logits": LOGITS, "hidden": 1}, Output(LOGITS, LOGITS), Auxiliary(LOGITS, LOGITS)],
    ids=["tensor", "dict", "dataclass", "namedtuple"],
)
def test_default_loss_takes_the_logits_of_what_has_some(outputs):
    logs = torch.log_softmax(LOGITS, 1)
    wanted = -(float(logs[0, 0]) + float(logs[1, 2])) / 2
    assert float(loss_value(functional.cross_entropy, outputs, TARGETS)) == pytest.approx(wanted)


@pytest.mark.parametrize("shape", [(5,), (5, 2), (1,)], ids=str)
def test_loss_without_reduction_counts_as_its_mean(shape):
    outputs, targets = torch.arange(torch.Size(shape).numel()).view(shape).float(), torch.ones(shape)
    value = loss_value(nn.MSELoss(reduction="none"), outputs, targets)
    assert value.dim() == 0
    assert float(value) == pytest.approx(float(((outputs - targets) ** 2).mean()))


def test_loss_that_is_a_scalar_is_passed_on_as_it_is():
    scalar = torch.tensor(0.1)
    assert loss_value(lambda *_: scalar, LOGITS, TARGETS) is scalar


@pytest.mark.parametrize(
    ("given", "said"),
    [({"a": 1}, "a dict with the keys a"), (0.5, "a float"), ((1, 2), "a tuple of 2"), (None, "nothing")],
)
def test_loss_that_gives_no_tensor_is_refused(given, said):
    with pytest.raises(DataError, match=f"the loss gave {said}.*scalar tensor"):
        loss_value(lambda *_: given, LOGITS, TARGETS)


@pytest.mark.parametrize("wrong", [3, 7, -1])
@pytest.mark.parametrize(
    "loss",
    [functional.cross_entropy, nn.CrossEntropyLoss(), functools.partial(functional.nll_loss)],
    ids=["f", "m", "nll"],
)
def test_class_out_of_range_is_named(loss, wrong):
    with pytest.raises(
        DataError, match=rf"class index {wrong} among the targets; the network has 3 outputs, for 0 to 2"
    ):
        loss_value(loss, LOGITS, torch.tensor([0, wrong]))


@pytest.mark.parametrize("error", [RuntimeError("shapes"), torch.OutOfMemoryError("full"), ValueError("x")])
def test_errors_that_targets_do_not_explain_are_passed_on(error):
    def loss(outputs, targets):
        raise error

    with pytest.raises(type(error)) as caught:
        loss_value(loss, LOGITS, TARGETS)
    assert caught.value is error


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.teacher = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, outputs, targets):
        self.calls += 1
        return outputs.mean() * self.calls


def test_as_given_keeps_the_state_of_a_loss_and_shares_its_parameters(seeded_torch):
    loss = Counting()
    own = as_given(loss)
    loss_value(own, torch.ones(2), None)
    assert (own.calls, loss.calls) == (1, 0)
    assert own.teacher.weight is loss.teacher.weight


def test_as_given_is_the_loss_itself_where_it_has_no_state_or_cannot_be_copied():
    class Stubborn(nn.Module):
        def __deepcopy__(self, memo):
            raise TypeError

    stubborn = Stubborn()
    assert as_given(stubborn) is stubborn
    assert as_given(functional.cross_entropy) is functional.cross_entropy
