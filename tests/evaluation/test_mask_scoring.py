import pytest
import torch
from torch.nn import functional

from evoprune.errors import DataError
from evoprune.evaluation.mask_scoring import outputs_of, tally
from evoprune.objectives.accuracy import score
from evoprune.task import Task
from tests.evaluation.doubles import CPU, network, points

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
TARGETS = torch.tensor([0, 1, 1, 2, 1])


def a_task(**more):
    return Task(points(8), points(8), points(8), **more)


def test_tally_gives_accuracy_loss_and_the_worst_class():
    figures = tally([(LOGITS, TARGETS)], a_task())
    assert figures["accuracy"] == 4 / 5
    assert figures["worst_class_accuracy"] == pytest.approx(2 / 3)
    assert figures["loss"] == pytest.approx(float(functional.cross_entropy(LOGITS, TARGETS)))


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_tally_does_not_depend_on_the_batches(cut):
    whole, parts = (
        tally(batches, a_task())
        for batches in ([(LOGITS, TARGETS)], [(LOGITS[:cut], TARGETS[:cut]), (LOGITS[cut:], TARGETS[cut:])])
    )
    assert parts == pytest.approx(whole)


def test_tally_equals_the_accuracy_that_models_are_judged_by(seeded_torch):
    model, data = network(), points(100)
    figures = tally(outputs_of(model, data, device=CPU, batch_size=7), a_task())
    assert figures["accuracy"] == score(model, data, a_task().metric, device=CPU, batch_size=33)


def test_outputs_leave_the_mode_of_the_model_as_it_was(seeded_torch):
    model = network().train()
    outputs = [output for output, _ in outputs_of(model, points(5), device=CPU, batch_size=2)]
    assert [len(output) for output in outputs] == [2, 2, 1]
    assert model.training


def test_tally_knows_no_class_where_targets_are_numbers():
    def metric(outputs, targets):
        return -(outputs - targets).abs()

    batch = (torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
    figures = tally([batch], a_task(loss=functional.mse_loss, metric=metric))
    assert figures == {"accuracy": -0.5, "loss": 0.5}


def test_tally_knows_no_class_where_the_metric_is_a_mean():
    def metric(outputs, targets):
        return (outputs.argmax(1) == targets).float().mean()

    figures = tally([(LOGITS[:4], TARGETS[:4]), (LOGITS[4:], TARGETS[4:])], a_task(metric=metric))
    assert set(figures) == {"accuracy", "loss"}
    assert figures["accuracy"] == pytest.approx(4 / 5)


def test_tally_takes_a_plain_number_as_metric():
    assert tally([(LOGITS, TARGETS)], a_task(metric=lambda outputs, targets: 0.25))["accuracy"] == 0.25


def test_tally_weighs_a_metric_per_position_as_the_judge_does():
    outputs = torch.zeros(2, 3, 4)
    targets = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])

    def metric(outputs, targets):
        return (outputs.argmax(1) == targets).float()

    figures = tally([(outputs, targets)], a_task(loss=functional.cross_entropy, metric=metric))
    assert figures["accuracy"] == 3 / 8
    assert "worst_class_accuracy" not in figures


def test_tally_takes_numbers_of_half_precision():
    figures = tally([(LOGITS.bfloat16(), TARGETS)], a_task())
    assert figures["accuracy"] == 4 / 5


def test_tally_refuses_a_set_without_samples():
    with pytest.raises(DataError, match="yields no sample"):
        tally([], a_task())


def test_tally_counts_values_and_not_samples_where_a_metric_gives_several():
    def metric(outputs, targets):
        return (outputs == targets)[targets >= 0].float()

    batches = [
        (torch.tensor([[1, 2, 3]]), torch.tensor([[1, 0, 0]])),
        (torch.tensor([[1, 2, 3]]), torch.tensor([[1, -1, -1]])),
    ]
    figures = tally(batches, a_task(metric=metric, loss=lambda outputs, targets: torch.tensor(1.0)))
    assert figures == {"accuracy": 2 / 4, "loss": 1.0}
