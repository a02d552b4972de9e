"""Trainings of the user's own: what they are given, what they may do, and what is said when they do something else."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.data.own_training import TrainingBudget
from evoprune.data.task import Task
from evoprune.errors import DataError, DivergedError, UsageError
from evoprune.evaluation.task_check import Uses, check_task
from evoprune.evaluation.training import Schedule
from evoprune.evaluation.user_training import train_for_task
from evoprune.events import ignore
from evoprune.nn_utils.memory import MicroBatch
from evoprune.seeding import SeedTree
from evoprune.testing.tiny import tiny_recipe

CPU = torch.device("cpu")
SCHEDULE = Schedule(steps=5, batch_size=64, optimizer="sgd", lr=0.01, weight_decay=0.0)


def own_loop(model, budget):
    optimizer = torch.optim.SGD(model.parameters(), lr=budget.lr)
    for step, (inputs, targets) in enumerate(budget.batches(), start=1):
        loss = functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        budget.on_step(step, float(loss.detach()))


def task_with(train_fn):
    model, task, _ = tiny_recipe()
    return model, Task(task.train, task.val, task.test, train_fn=train_fn)


def trained(model, task, **options):
    train_for_task(
        model,
        task,
        task.train,
        SCHEDULE,
        stage="retrain",
        seeds=SeedTree(3),
        device=CPU,
        micro_batch=MicroBatch(None, stage="test", notify=ignore),
        **options,
    )
    return model


def test_function_is_given_the_budget_of_the_schedule_and_trains_in_place():
    seen, steps = [], []

    def train_fn(model, budget):
        seen.append(budget)
        own_loop(model, budget)

    model, task = task_with(train_fn)
    before = copy.deepcopy(model.state_dict())
    trained(model, task, on_step=lambda step, loss: steps.append(step), seconds=9.5)
    (budget,) = seen
    assert (budget.stage, budget.steps, budget.batch_size, budget.lr, budget.seconds) == ("retrain", 5, 64, 0.01, 9.5)
    assert budget.epochs == pytest.approx(5 / 8)
    assert steps == [1, 2, 3, 4, 5]
    assert not model.conv1.weight.equal(before["conv1.weight"])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_same_seed_gives_the_same_weights_though_the_function_draws():
    def train_fn(model, budget):
        with torch.no_grad():
            model.fc.weight.add_(torch.randn_like(model.fc.weight))

    weights = []
    for _ in range(2):
        model, task = task_with(train_fn)
        weights.append(trained(model, task).fc.weight)
    assert weights[0].equal(weights[1])


def test_batches_go_round_the_set_until_the_steps_are_taken():
    _, task = task_with(None)
    budget = TrainingBudget("retrain", 11, 128, 0.1, None, 7, CPU, task.train, lambda *_: None)
    batches = list(budget.batches())
    assert len(batches) == 11  # an epoch is 4
    assert not batches[0][0].equal(batches[4][0])
    assert batches[0][0].equal(next(iter(budget.batches()))[0])


def test_weights_of_a_network_that_is_returned_are_taken_over():
    def train_fn(model, budget):
        other = copy.deepcopy(model)
        nn.init.constant_(other.fc.bias, 3.0)
        return other

    model, task = task_with(train_fn)
    assert trained(model, task).fc.bias.eq(3.0).all()


def test_frozen_parameters_stay_frozen_and_others_learn_again():
    def train_fn(model, budget):
        model.requires_grad_(False)

    model, task = task_with(train_fn)
    model.conv1.requires_grad_(False)
    trained(model, task)
    assert not model.conv1.weight.requires_grad
    assert model.conv2.weight.requires_grad


def fails(model, budget):
    raise ValueError("no GPU left")


def widens(model, budget):
    model.fc = nn.Linear(32, 5)


def returns_another(model, budget):
    return nn.Linear(2, 2)


def returns_a_number(model, budget):
    return 0.5


def explodes(model, budget):
    nn.init.constant_(model.fc.bias, float("nan"))


@pytest.mark.parametrize(
    ("train_fn", "kind", "message"),
    [
        (fails, DataError, r"train_fn failed \(retrain\): ValueError: no GPU left"),
        (widens, DataError, "left a network of other parameters or shapes"),
        (returns_another, DataError, "returned another network"),
        (returns_a_number, DataError, "returned a float"),
        (explodes, DivergedError, "fc.bias is not finite after train_fn"),
    ],
)
def test_function_that_does_something_else_is_refused(train_fn, kind, message, seeded_torch):
    model, task = task_with(train_fn)
    with pytest.raises(kind, match=message):
        trained(model, task)


def test_function_that_is_none_is_refused():
    with pytest.raises(DataError, match="train_fn is a tensor"):
        task_with(torch.zeros(3))


def test_weight_masks_and_distillation_are_refused_with_a_function_of_ones_own():
    model, task = task_with(own_loop)
    with pytest.raises(UsageError, match="can't hold weights at zero"):
        trained(model, task, masks={"fc.weight": torch.ones_like(model.fc.weight, dtype=torch.bool)})
    with pytest.raises(UsageError, match=r"training\.distill is for our own training"):
        check_task(model, task, device=CPU, uses=Uses(distills=True))


def test_function_is_tried_for_a_step_on_a_copy_before_there_is_any_work():
    seen = []

    def train_fn(model, budget):
        seen.append((budget.stage, budget.steps))
        own_loop(model, budget)

    model, task = task_with(train_fn)
    before = copy.deepcopy(model.state_dict())
    check_task(model, task, device=CPU)
    assert seen == [("check", 1)]
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    with pytest.raises(DataError, match=r"train_fn failed \(check\): ValueError"):
        check_task(*task_with(fails), device=CPU)
