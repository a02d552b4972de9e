import pytest
import torch
from torch import nn

from evoprune.data.loaders import LoaderSource
from evoprune.data.task import accuracy, as_source
from evoprune.errors import DataError
from evoprune.objectives.accuracy import Accuracy, score
from evoprune.objectives.base import Subject

CPU = torch.device("cpu")


class Echo(nn.Module):
    """Says its inputs, and notes how it was run."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.9)
        self.sizes, self.gradients = [], []

    def forward(self, inputs):
        self.sizes.append(len(inputs))
        self.gradients.append(torch.is_grad_enabled())
        return self.dropout(inputs)


def votes(*classes):
    return nn.functional.one_hot(torch.tensor(classes), 3).float()


BATCHES = [(votes(0, 1, 2, 0), torch.tensor([0, 1, 2, 1])), (votes(2), torch.tensor([0]))]


def scored(model=None, source=None, metric=accuracy):
    source = as_source(BATCHES, "select") if source is None else source
    return score(model or Echo(), source, metric, device=CPU, batch_size=4)


def test_score_is_the_share_of_right_answers_over_all_samples():
    assert scored() == 3 / 5
    assert scored(metric=lambda outputs, targets: accuracy(outputs, targets).float()) == 3 / 5


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_score_weighs_means_of_batches_by_their_samples(kind):
    assert scored(metric=lambda outputs, targets: kind((outputs.argmax(1) == targets).double().mean().item())) == 3 / 5


def test_score_averages_over_every_value_that_the_metric_gives():
    pixels = [(torch.zeros(2, 3, 4), torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]))]
    assert scored(source=as_source(pixels, "select")) == 5 / 8


def test_score_runs_without_gradients_or_dropout_and_restores_the_modes():
    model = Echo()
    model.train()
    model.dropout.eval()
    assert scored(model) == 3 / 5
    assert model.gradients == [False, False]
    assert (model.training, model.dropout.training) == (True, False)


def test_score_restores_the_modes_when_the_metric_fails():
    model = Echo().train()
    with pytest.raises(ZeroDivisionError):
        scored(model, metric=lambda *_: 1 / 0)
    assert model.training
    assert model.dropout.training


def test_score_counts_exactly_where_single_precision_would_not():
    many = 2**24 + 1
    right = [(torch.ones(1, 2), torch.zeros(1))]
    metric_calls = iter([torch.ones(1).expand(many)])
    assert scored(source=as_source(right, "select"), metric=lambda *_: next(metric_calls)) == 1.0


def test_score_refuses_a_source_without_samples():
    with pytest.raises(DataError, match="no sample"):
        scored(source=LoaderSource(([],)))


def test_accuracy_measures_the_subject_in_its_batches():
    model = Echo()
    subject = Subject(model, None, as_source(BATCHES, "select"), accuracy, CPU, batch_size=4)
    assert Accuracy().measure(subject) == 3 / 5
    assert model.sizes == [4, 1]
