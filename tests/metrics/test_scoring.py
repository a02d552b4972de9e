import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evoprune import metrics
from evoprune.errors import DataError
from evoprune.metrics.scoring import FEWEST_BATCHES, Scorer


class MacroRecall:
    """torchmetrics' protocol in plain Python; as a mean over batches it would be another number."""

    higher_is_better = True

    def __init__(self):
        self.reset()

    def reset(self):
        self.pairs = []

    def update(self, outputs, targets):
        self.pairs += zip(outputs.argmax(1).tolist(), targets.tolist(), strict=True)

    def compute(self):
        kinds = {target for _, target in self.pairs}
        recalls = [np.mean([said == target for said, target in self.pairs if target == kind]) for kind in kinds]
        return torch.tensor(np.mean(recalls))


def scored(metric, outputs, targets, size):
    scorer = Scorer(metric)
    for part, wanted in zip(outputs.split(size), targets.split(size), strict=True):
        scorer.add(part, wanted, len(wanted))
    return scorer


GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(40, 4, generator=GENERATOR)
TARGETS = torch.randint(4, (40,), generator=GENERATOR)


@given(st.integers(1, 40))
def test_scorer_gives_a_set_metric_the_whole_set_whatever_the_batches(size):
    metric = MacroRecall()
    answers, targets = OUTPUTS.argmax(1).numpy(), TARGETS.numpy()
    wanted = np.mean([(answers[targets == kind] == kind).mean() for kind in range(4)])
    assert scored(metric, OUTPUTS, TARGETS, size).value() == pytest.approx(wanted)
    assert metric.pairs == []


def test_scorer_begins_with_a_metric_that_has_forgotten_everything():
    metric = MacroRecall()
    metric.update(OUTPUTS, (TARGETS + 1) % 4)
    assert scored(metric, OUTPUTS, TARGETS, 8).value() == scored(MacroRecall(), OUTPUTS, TARGETS, 8).value()


def test_scorer_agrees_with_torchmetrics_used_by_itself():
    classification = pytest.importorskip("torchmetrics.classification")
    metric = classification.MulticlassF1Score(num_classes=4, average="macro")
    alone = classification.MulticlassF1Score(num_classes=4, average="macro")
    alone.update(OUTPUTS, TARGETS)
    assert scored(metric, OUTPUTS, TARGETS, 7).value() == pytest.approx(float(alone.compute()))


@given(st.integers(2, 20))
def test_standard_error_is_that_of_a_mean_of_samples(size):
    error = scored(metrics.accuracy, OUTPUTS, TARGETS, size).standard_error()
    right = (OUTPUTS.argmax(1) == TARGETS).double().numpy()
    assert error == pytest.approx(right.std() / math.sqrt(40))


def test_standard_error_counts_samples_and_not_positions():
    outputs = torch.zeros(4, 2, 100)
    targets = torch.tensor([0, 1, 0, 1])[:, None].expand(4, 100)
    assert scored(metrics.accuracy, outputs, targets, 2).standard_error() == pytest.approx(0.25)


def test_standard_error_of_means_is_taken_from_batches():
    def mean(outputs, targets):
        return (outputs.argmax(1) == targets).double().mean()

    means = [float(mean(*pair)) for pair in zip(OUTPUTS.split(4), TARGETS.split(4), strict=True)]
    assert scored(mean, OUTPUTS, TARGETS, 4).standard_error() == pytest.approx(np.std(means, ddof=1) / math.sqrt(10))
    assert scored(mean, OUTPUTS, TARGETS, 1 + 40 // FEWEST_BATCHES).standard_error() is None


def test_standard_error_of_a_set_metric_is_not_known():
    assert scored(MacroRecall(), OUTPUTS, TARGETS, 8).standard_error() is None


@pytest.mark.parametrize(
    "given", [{"f1": 1.0}, None, torch.tensor([1j, 2j]), "good"], ids=["dict", "none", "complex", "text"]
)
def test_scorer_refuses_what_is_no_number(given):
    with pytest.raises(DataError, match=r"the metric .* gave"):
        scored(lambda *_: given, OUTPUTS, TARGETS, 40)


def test_scorer_refuses_a_set_metric_that_gives_several_numbers():
    metric = MacroRecall()
    metric.compute = lambda: {"a": 1.0, "b": 2.0}
    with pytest.raises(DataError, match=r"compute\(\) of the metric MacroRecall gave a dict with the keys a, b"):
        scored(metric, OUTPUTS, TARGETS, 40).value()


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_scorer_takes_values_as_lists_and_arrays(kind):
    scorer = Scorer(lambda *_: kind([0.0, 1.0, 1.0]))
    scorer.add(None, None, 3)
    assert scorer.value() == pytest.approx(2 / 3)
