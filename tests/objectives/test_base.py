import numpy as np
import pytest
import torch

from evoprune.errors import MeasurementError
from evoprune.objectives.base import Subject, value_of
from evoprune.testing.tiny import tiny_recipe
from tests.run.own_objectives import Weights


@pytest.fixture
def subject():
    model, task, example_inputs = tiny_recipe()
    return Subject(model, example_inputs, task.select, task.metric, torch.device("cpu"), 64)


@pytest.mark.parametrize("kind", [int, np.float32, lambda count: torch.tensor(float(count), requires_grad=True)])
def test_value_is_a_float_whatever_number_an_objective_gives(kind, subject):
    value = value_of(Weights(kind), subject)
    assert (type(value), value) == (float, 956.0)


@pytest.mark.parametrize("kind", [lambda count: f"{count} weights", lambda count: torch.zeros(2), lambda count: None])
def test_what_is_no_number_is_no_measurement(kind, subject):
    with pytest.raises(MeasurementError, match="weights gives no number but"):
        value_of(Weights(kind), subject)
