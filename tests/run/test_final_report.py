from types import SimpleNamespace

import pytest
import torch
from torch import nn

from evoprune.config.schema import make_config
from evoprune.data.task import Task
from evoprune.errors import DataError, MeasurementError
from evoprune.objectives.loss import MeanLoss
from evoprune.run.factories.common import workplace_of
from evoprune.run.final_report import Judge
from evoprune.testing.tiny import tiny_recipe
from tests.run.keeper import Keeper


def share_of_class_two(outputs, targets):
    """Not a number for a batch without the class."""
    return (outputs.argmax(1) == targets)[targets == 2].float().mean()


def test_judge_refuses_a_metric_that_is_no_number_for_some_batch():
    sets = [[(torch.zeros(4, 3), torch.tensor(targets))] for targets in ([2, 1, 2, 0], [2, 2, 1, 0], [0, 1, 1, 0])]
    problem = SimpleNamespace(example_inputs=None, task=Task(*sets, metric=share_of_class_two))
    judge = Judge(problem, workplace_of(make_config({})), Keeper())
    with pytest.raises(DataError, match=r"share_of_class_two of a finished model on test is nan"):
        judge.accuracy(nn.Identity())


def test_judge_leaves_out_what_the_test_set_has_no_value_of():
    class Absent:
        name, maximize, needs_training = "absent", False, True

        def measure(self, subject):
            raise MeasurementError("no such samples")

    model, task, example_inputs = tiny_recipe()
    judge = Judge(SimpleNamespace(example_inputs=example_inputs, task=task), workplace_of(make_config({})), Keeper())
    report = judge.report(model.eval(), objectives=[Absent(), MeanLoss()])
    assert set(report.others) == {"loss"}
