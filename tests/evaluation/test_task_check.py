import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.data.task import Task
from evoprune.errors import DataError, UnsupportedModelError
from evoprune.evaluation.task_check import Uses, check_task
from evoprune.rng import isolated_rng
from tests.evaluation.doubles import CPU, network, points


def regression(count):
    source = points(count)
    return [(source.inputs, source.inputs[:, :1] * 2)]


def checked(model=None, data=points, given=None, **uses):
    task = Task(data(9), data(8), data(7), **(given or {}))
    check_task(model or network(), task, device=CPU, uses=Uses(**uses))


class Returning(nn.Module):
    """Its features' layer, and what it makes of them."""

    def __init__(self, make):
        super().__init__()
        self.layer, self.make = network(), make

    def forward(self, inputs):
        return self.make(self.layer(inputs), self.training)


def test_check_task_passes_what_fits_and_leaves_the_network_as_it_was(seeded_torch):
    model = network(nn.BatchNorm1d(7), nn.Dropout(0.5))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    checked(model.train())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def squared_error(outputs, targets):
    return (outputs.argmax(1) - targets).square()


def error_turned(outputs, targets):
    return -squared_error(outputs, targets)


def declared_error(outputs, targets):
    return squared_error(outputs, targets)


declared_error.maximize = False


@pytest.mark.parametrize("metric", [error_turned, declared_error])
def test_check_task_takes_an_error_that_is_turned_or_says_its_direction(metric):
    checked(given={"metric": metric})


MISFITS = {
    "numbers as classes": (
        {"data": regression, "given": {"loss": lambda outputs, targets: (outputs - targets).square().mean()}},
        "pass metric=",
    ),
    "a dict from the metric": ({"given": {"metric": lambda *_: {"f1": 1.0}}}, "gave a dict with the keys f1"),
    "nothing from the metric": ({"given": {"metric": lambda *_: None}}, "gave nothing"),
    "an error that may be meant to rise": ({"given": {"metric": squared_error}}, "whether higher is better.*maximize"),
    "a metric that fails": (
        {"given": {"metric": lambda *_: 1 / 0}},
        "metric metric failed.*select set.*ZeroDivisionError",
    ),
    "a dict from the loss": ({"given": {"loss": lambda *_: {"a": 1}}}, "the loss gave a dict"),
    "a loss that fails": ({"given": {"loss": lambda *_: {}["x"]}}, "loss failed on a batch.*KeyError"),
    "a loss of numbers": ({"given": {"loss": lambda *_: torch.tensor(1.0)}}, "does not depend on any weight"),
    "a loss that is no number": (
        {"given": {"loss": lambda outputs, _: outputs.sum() * float("nan")}},
        "loss is nan on a batch of the train set",
    ),
    "a class too many": ({"data": lambda count: points(count, classes=30)}, r"class index \d+.*3 outputs"),
    "a tuple for the default loss": (
        {"model": Returning(lambda logits, _: (logits, 1))},
        "returns a tuple of 2.*loss=",
    ),
    "inputs of another width": (
        {"data": lambda count: points(count, features=4)},
        "can't run on a batch of the train set",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), MISFITS.values(), ids=MISFITS)
def test_check_task_says_in_a_line_what_does_not_fit(arguments, said):
    with pytest.raises(DataError, match=said) as caught:
        checked(**arguments)
    assert len(str(caught.value).splitlines()) == 1


def both_heads(outputs, targets):
    logits, auxiliary = outputs
    return functional.cross_entropy(logits, targets) + 0.3 * functional.cross_entropy(auxiliary, targets)


def auxiliary():
    return Returning(lambda logits, training: (logits, 2 * logits) if training else logits)


def test_check_task_gives_the_loss_what_the_network_returns_in_training():
    checked(auxiliary(), given={"loss": both_heads})


def test_check_task_says_where_the_loss_can_not_be_measured_in_evaluation():
    with pytest.raises(DataError, match=r"in evaluation mode.*fitness.w_loss 0"):
        checked(auxiliary(), given={"loss": both_heads}, scores_loss=True)


def test_check_task_takes_dict_outputs_that_have_logits_alone():
    checked(Returning(lambda logits, _: {"logits": logits}), scores_loss=True)
    with pytest.raises(DataError, match=r"returns a dict with the keys scores.*loss="):
        checked(Returning(lambda logits, _: {"scores": logits}))


@pytest.mark.parametrize(
    "loss", [functional.mse_loss, nn.SmoothL1Loss(), functional.l1_loss], ids=["mse", "smooth", "l1"]
)
def test_check_task_refuses_a_loss_that_broadcasts(loss):
    with isolated_rng(0):
        model = nn.Sequential(network(), nn.Linear(3, 1).double())
    (data,) = regression(9)
    flat = [(data[0], data[1].flatten())]
    task = Task(flat, list(flat), list(flat), loss=loss, metric="r2")
    with pytest.raises(DataError, match=r"broadcast.*\[9, 1\].*\[9\]"):
        check_task(model, task, device=CPU)


def test_check_task_does_not_ask_a_loss_that_nothing_learns_from():
    checked(given={"loss": lambda *_: {"a": 1}}, learns=False)


def test_check_task_leaves_full_memory_to_the_run():
    def loss(outputs, targets):
        raise torch.OutOfMemoryError

    checked(given={"loss": loss})


def test_check_task_does_not_take_one_batch_for_the_set():
    class Choosy:
        higher_is_better = True

        def update(self, outputs, targets): ...

        def reset(self): ...

        def compute(self):
            raise ValueError("only one class")

    checked(given={"metric": Choosy()})


class Centred(nn.Module):
    """A loss with something to learn of its own."""

    def __init__(self):
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(3))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, outputs, targets):
        self.calls += 1
        return functional.cross_entropy(outputs, targets) + (outputs - self.centre).square().mean()


def test_check_task_refuses_a_loss_with_gradients_for_others_than_the_network():
    loss, model = Centred(), network()
    with pytest.raises(DataError, match=r"depends on a tensor \[3\] of float32 that requires a gradient"):
        checked(model, given={"loss": loss})
    weight = next(model.parameters())
    with pytest.raises(DataError, match=r"requires_grad_\(False\)|no part of the network"):
        checked(
            model, given={"loss": lambda outputs, targets: functional.cross_entropy(outputs, targets) + weight.sum()}
        )
    assert loss.calls == 0


def test_check_task_takes_a_loss_whose_parameters_are_frozen():
    checked(given={"loss": Centred().requires_grad_(False)})


def test_check_task_refuses_to_distill_what_are_no_classes():
    sums = Returning(lambda logits, _: logits.sum(1))
    given = {"loss": lambda outputs, targets: (outputs - targets).square().mean(), "metric": "r2"}
    checked(sums, given=given)
    with pytest.raises(UnsupportedModelError, match="distillation compares outputs of classes"):
        checked(sums, given=given, distills=True)
