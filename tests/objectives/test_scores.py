import pytest
import torch
from torch.nn import functional

from evoprune.data.task import Task
from evoprune.errors import DataError, MeasurementError
from evoprune.metrics import PerSample
from evoprune.objectives.accuracy import Accuracy, WorstClassAccuracy, score
from evoprune.objectives.base import Subject
from evoprune.objectives.loss import MeanLoss
from evoprune.objectives.outputs import outputs_of
from tests.evaluation.doubles import CPU, network, points

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
TARGETS = torch.tensor([0, 1, 1, 2, 1])


def a_task(**more):
    return Task(points(8), points(8), points(8), **more)


def figures_of(outputs, task, *, with_loss=True):
    """The values of all objectives that look at outputs and that the task has, from one pass."""
    subject = Subject(None, None, None, task.metric, CPU, 8, loss=task.loss, run=lambda: outputs)
    values = {}
    for one in (Accuracy(), *([MeanLoss()] if with_loss else []), WorstClassAccuracy()):
        try:
            values[one.name] = one.measure(subject)
        except MeasurementError:
            assert one.name == "worst_class_accuracy"
    return values


def test_scores_are_accuracy_loss_and_the_worst_class():
    figures = figures_of([(LOGITS, TARGETS)], a_task())
    assert figures["accuracy"] == 4 / 5
    assert figures["worst_class_accuracy"] == pytest.approx(2 / 3)
    assert figures["loss"] == pytest.approx(float(functional.cross_entropy(LOGITS, TARGETS)))


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_scores_do_not_depend_on_the_batches(cut):
    whole, parts = (
        figures_of(batches, a_task())
        for batches in ([(LOGITS, TARGETS)], [(LOGITS[:cut], TARGETS[:cut]), (LOGITS[cut:], TARGETS[cut:])])
    )
    assert parts == pytest.approx(whole)


def test_scores_equal_the_accuracy_that_models_are_judged_by(seeded_torch):
    model, data = network(), points(100)
    figures = figures_of(outputs_of(model, data, device=CPU, batch_size=7), a_task())
    assert figures["accuracy"] == score(model, data, a_task().metric, device=CPU, batch_size=33)


def test_outputs_leave_the_mode_of_the_model_as_it_was(seeded_torch):
    model = network().train()
    outputs = [output for output, _ in outputs_of(model, points(5), device=CPU, batch_size=2)]
    assert [len(output) for output in outputs] == [2, 2, 1]
    assert model.training


def test_scores_know_no_class_where_targets_are_numbers():
    def metric(outputs, targets):
        return -(outputs - targets).abs()

    batch = (torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
    figures = figures_of([batch], a_task(loss=functional.mse_loss, metric=metric))
    assert figures == {"accuracy": -0.5, "loss": 0.5}


def test_scores_know_no_class_where_the_metric_is_a_mean():
    def metric(outputs, targets):
        return (outputs.argmax(1) == targets).float().mean()

    figures = figures_of([(LOGITS[:4], TARGETS[:4]), (LOGITS[4:], TARGETS[4:])], a_task(metric=metric))
    assert set(figures) == {"accuracy", "loss"}
    assert figures["accuracy"] == pytest.approx(4 / 5)


def test_scores_take_a_plain_number_as_metric():
    assert figures_of([(LOGITS, TARGETS)], a_task(metric=lambda outputs, targets: 0.25))["accuracy"] == 0.25


def test_scores_weigh_a_metric_per_position_as_the_judge_does():
    outputs = torch.zeros(2, 3, 4)
    targets = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])

    def metric(outputs, targets):
        return (outputs.argmax(1) == targets).float()

    figures = figures_of([(outputs, targets)], a_task(loss=functional.cross_entropy, metric=metric))
    assert figures["accuracy"] == 3 / 8
    assert "worst_class_accuracy" not in figures


def test_scores_take_numbers_of_half_precision():
    figures = figures_of([(LOGITS.bfloat16(), TARGETS)], a_task())
    assert figures["accuracy"] == 4 / 5


def test_scores_refuse_a_set_without_samples():
    with pytest.raises(DataError, match="yields no sample"):
        figures_of([], a_task())


def test_scores_count_values_and_not_samples_where_a_metric_gives_several():
    def metric(outputs, targets):
        return (outputs == targets)[targets >= 0].float()

    batches = [
        (torch.tensor([[1, 2, 3]]), torch.tensor([[1, 0, 0]])),
        (torch.tensor([[1, 2, 3]]), torch.tensor([[1, -1, -1]])),
    ]
    figures = figures_of(batches, a_task(metric=metric, loss=lambda outputs, targets: torch.tensor(1.0)))
    assert figures == {"accuracy": 2 / 4, "loss": 1.0}


def test_scores_leave_the_loss_alone_where_nothing_asks_for_it():
    def loss(outputs, targets):
        raise ValueError("made for what the network returns in training")

    figures = figures_of([(LOGITS, TARGETS)], a_task(loss=loss), with_loss=False)
    assert figures == {"accuracy": 4 / 5, "worst_class_accuracy": pytest.approx(2 / 3)}


def test_scores_take_the_class_with_the_highest_value_for_the_worst_where_less_is_better():
    metric = PerSample(lambda outputs, targets: (outputs.argmax(1) != targets).float(), "error rate", maximize=False)
    figures = figures_of([(LOGITS[:2], TARGETS[:2]), (LOGITS[2:], TARGETS[2:])], a_task(metric=metric))
    assert figures["worst_class_accuracy"] == pytest.approx(1 / 3)


def test_scores_know_the_worst_class_of_the_samples_that_count():
    targets = torch.tensor([0, 1, 1, 2, -100])
    for batches in ([(LOGITS, targets)], [(LOGITS[:2], targets[:2]), (LOGITS[2:], targets[2:])]):
        assert figures_of(batches, a_task())["worst_class_accuracy"] == 1 / 2


def test_scores_compute_a_metric_of_the_set_over_all_batches():
    outputs, targets = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    batches = list(zip(outputs.split(1), targets.split(1), strict=True))
    assert figures_of(batches, a_task(loss=functional.mse_loss, metric="r2"))["accuracy"] == pytest.approx(0.5)
