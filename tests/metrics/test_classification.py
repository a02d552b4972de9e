import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from evoprune import metrics
from evoprune.errors import DataError
from evoprune.metrics.classification import Accuracy, BinaryAccuracy, MultilabelAccuracy

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def test_accuracy_is_whether_the_largest_logit_is_the_target():
    assert metrics.accuracy(LOGITS, torch.tensor([0, 1, 1, 2])).tolist() == [True, True, False, True]


@given(st.lists(st.lists(st.sampled_from([-100, 0, 1, 2]), min_size=3, max_size=3), min_size=1, max_size=5))
def test_accuracy_leaves_out_ignored_positions_as_cross_entropy_does(rows):
    targets = torch.tensor(rows)
    logits = torch.rand(len(rows), 3, 3, generator=torch.Generator().manual_seed(0))
    answers = logits.argmax(1).flatten().tolist()
    wanted = [
        answer == target for answer, target in zip(answers, targets.flatten().tolist(), strict=True) if target != -100
    ]
    assert metrics.accuracy(logits, targets).flatten().tolist() == wanted


def test_accuracy_leaves_out_what_the_loss_of_its_task_leaves_out():
    targets = torch.tensor([0, 1, 0, 2])
    assert Accuracy().for_loss(nn.CrossEntropyLoss(ignore_index=0))(LOGITS, targets).tolist() == [True, True]
    assert (
        Accuracy(ignore_index=2).for_loss(nn.CrossEntropyLoss(ignore_index=0))(LOGITS, targets).tolist() == [True] * 3
    )
    assert Accuracy().for_loss(functional.cross_entropy) == Accuracy()


def test_accuracy_does_not_take_a_byte_label_for_an_ignored_one():
    logits = torch.zeros(1, 200)
    logits[0, 156] = 1.0  # -100 as an unsigned byte
    assert metrics.accuracy(logits, torch.tensor([156], dtype=torch.uint8)).tolist() == [True]


@pytest.mark.parametrize("wrong", [3, -1, 255])
def test_accuracy_names_a_class_that_is_out_of_range(wrong):
    with pytest.raises(DataError, match=f"class index {wrong}.*3 outputs, for 0 to 2"):
        metrics.accuracy(LOGITS, torch.tensor([0, 1, wrong, 2]))


UNFIT = {
    "one output, float targets": (torch.zeros(4, 1), torch.tensor([[0.0], [1.0], [1.0], [0.0]]), "'binary_accuracy'"),
    "flat outputs, float targets": (torch.zeros(4), torch.tensor([0.0, 1.0, 1.0, 0.0]), "'binary_accuracy'"),
    "one output, integer targets": (torch.zeros(4, 1), torch.tensor([0, 1, 1, 0]), "'binary_accuracy'"),
    "labels": (torch.zeros(2, 3), torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]), "'multilabel_accuracy'"),
    "integer labels": (torch.zeros(2, 2), torch.tensor([[0, 1], [1, 0]]), "'multilabel_accuracy'"),
    "numbers": (torch.zeros(2, 1), torch.tensor([[0.3], [1.7]]), "'r2' or 'mean_squared_error'"),
    "float classes": (torch.zeros(2, 3), torch.tensor([0.0, 2.0]), ".long()"),
    "time first": (torch.zeros(5, 2, 3), torch.tensor([[0, 1, 1, 0, 1]] * 2), "a function of your own"),
    "a tuple": ((torch.zeros(2, 3), None), torch.tensor([0, 1]), "a function of your own"),
    "a dict of targets": (torch.zeros(2, 3), {"a": torch.tensor([0, 1])}, "a function of your own"),
}


@pytest.mark.parametrize(("outputs", "targets", "hint"), UNFIT.values(), ids=UNFIT)
def test_accuracy_refuses_what_it_does_not_fit_and_says_what_may(outputs, targets, hint):
    with pytest.raises(DataError, match="metric accuracy") as caught:
        metrics.accuracy(outputs, targets)
    assert hint in caught.value.hint
    assert "metric=" in caught.value.hint or ".long()" in hint


@pytest.mark.parametrize("shape", [(6,), (6, 1)], ids=str)
def test_binary_accuracy_takes_logits_by_their_sign(shape):
    logits, targets = torch.tensor([1.5, -2.0, 0.3, -0.1, 4.0, 0.2]), torch.tensor([1, 0, 0, 1, 1, 1])
    wanted = [True, True, False, False, True, True]
    assert metrics.binary_accuracy(logits.view(shape), targets.view(-1, 1).float()).tolist() == wanted
    assert metrics.binary_accuracy(logits.view(shape), targets).tolist() == wanted


@pytest.mark.parametrize("loss", [functional.binary_cross_entropy, nn.BCELoss()], ids=["function", "module"])
def test_binary_accuracy_takes_probabilities_where_the_loss_does(loss):
    fitted = BinaryAccuracy().for_loss(loss)
    assert fitted(torch.tensor([0.9, 0.2, 0.4]), torch.tensor([1.0, 0.0, 1.0])).tolist() == [True, True, False]
    assert BinaryAccuracy().for_loss(functional.binary_cross_entropy_with_logits) == BinaryAccuracy()


def test_binary_accuracy_asks_whether_outputs_are_probabilities():
    outputs, targets = torch.tensor([0.9, 0.2, 0.4]), torch.tensor([1.0, 0.0, 1.0])
    with pytest.raises(DataError, match=r"between 0 and 1.*MultilabelAccuracy\(threshold=0.5\)"):
        MultilabelAccuracy().check(outputs, targets)
    BinaryAccuracy(0.5).check(outputs, targets)
    BinaryAccuracy().check(outputs - 0.5, targets)


@pytest.mark.parametrize(
    "targets", [torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 1.0]), torch.zeros(2, 2), torch.zeros(3)]
)
def test_binary_accuracy_refuses_other_targets(targets):
    with pytest.raises(DataError, match="binary accuracy"):
        metrics.binary_accuracy(torch.zeros(2), targets)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_multilabel_accuracy_is_the_share_of_right_labels_per_sample(samples, labels, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, labels, generator=generator)
    targets = torch.randint(2, (samples, labels), generator=generator)
    wanted = [
        sum((logit > 0) == (target == 1) for logit, target in zip(*row, strict=True)) / labels
        for row in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    assert metrics.multilabel_accuracy(logits, targets.float()).tolist() == pytest.approx(wanted)


def test_metrics_of_classes_take_the_logits_of_dict_outputs():
    assert metrics.accuracy({"logits": LOGITS, "loss": None}, torch.tensor([0, 1, 0, 2])).all()
