import pytest
import torch

import evoprune as ep
from evoprune.data.task import accuracy
from evoprune.objectives import base
from evoprune.objectives.base import Subject, Zeros
from evoprune.objectives.cost import Macs, Params, PeakActivationBytes, SizeBytes
from evoprune.plugins import BUILT_IN, resolve
from evoprune.testing.tiny import tiny_recipe

COUNTING = (Macs, Params, SizeBytes, PeakActivationBytes)


@pytest.fixture
def subject():
    model, task, example = tiny_recipe()
    return Subject(
        model,
        example,
        task.val,
        accuracy,
        torch.device("cpu"),
        batch_size=64,
        loss=task.loss,
        zeros=Zeros(0.25, 0.5),
    )


@pytest.mark.parametrize("kind", COUNTING)
def test_cost_is_what_count_says_under_its_name(kind, subject):
    objective = kind()
    measured = objective.measure(subject)
    assert measured == getattr(ep.count(subject.model, subject.example_inputs), objective.name)
    assert isinstance(measured, float)
    assert not objective.needs_training


def test_costs_of_a_known_network_are_known(subject):
    # Two convolutions at 8 x 8 and 4 x 4, and a linear layer of 32 x 4.
    assert Macs().measure(subject) == 8 * 3 * 9 * 64 + 8 * 8 * 9 * 16 + 32 * 4
    assert Params().measure(subject) == 8 * 3 * 9 + 8 * 8 * 9 + 4 * 8 + 32 * 4 + 4


def test_costs_are_counted_once_however_many_ask(subject, monkeypatch):
    counted = []

    def count(*arguments, **keywords):
        counted.append(arguments)
        return ep.count(*arguments, **keywords)

    monkeypatch.setattr(base, "count", count)
    assert all(kind().measure(subject) > 0 for kind in COUNTING)
    assert len(counted) == 1


@pytest.mark.parametrize("name", BUILT_IN["objectives"])
def test_objective_goes_by_the_name_it_is_known_by(name, subject):
    objective = resolve("objectives", name)()
    before = {key: value.clone() for key, value in subject.model.state_dict().items()}
    assert objective.name == name
    assert objective.maximize == (name in ("accuracy", "worst_class_accuracy", "sparsity", "layer_sparsity"))
    assert name == "latency_ms" or objective.measure(subject) == objective.measure(subject)
    assert all(value.equal(before[key]) for key, value in subject.model.state_dict().items())
