import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune import metrics
from evoprune.errors import DataError
from evoprune.metrics.base import PerSample, card_of, number_of
from evoprune.results import ACCURACY, MetricCard


def top_two(outputs, targets):
    return (outputs.topk(2).indices == targets[:, None]).any(1)


def rmse(outputs, targets):
    return (outputs - targets).square().mean().sqrt()


def negative_mse(outputs, targets):
    return -functional.mse_loss(outputs, targets)


class Scored:
    """torchmetrics' protocol, and what it says of its direction."""

    def __init__(self, higher_is_better):
        self.higher_is_better = higher_is_better

    def update(self, outputs, targets): ...

    def compute(self): ...

    def reset(self): ...


def test_ready_made_metrics_say_what_they_are():
    assert card_of(metrics.accuracy) == ACCURACY
    assert card_of(metrics.mean_iou) == MetricCard("mean IoU", "%", True, (0.0, 1.0))
    assert [(card_of(one).key, card_of(one).maximize) for one in (metrics.r2, metrics.mean_squared_error)] == [
        ("r2", True),
        ("mean_squared_error", False),
    ]


@pytest.mark.parametrize(
    ("metric", "name", "maximize"),
    [
        (top_two, "top_two", True),
        (lambda outputs, targets: 0.0, "metric", True),
        (negative_mse, "negative_mse", True),
        (functional.mse_loss, "mse_loss", False),
        (nn.L1Loss(), "L1Loss", False),
        (functools.partial(functional.cross_entropy, label_smoothing=0.1), "cross_entropy", False),
        (PerSample(rmse, "RMSE", "m", maximize=False), "RMSE", False),
        (Scored(higher_is_better=False), "Scored", False),
        (Scored(higher_is_better=True), "Scored", True),
    ],
)
def test_card_of_reads_name_and_direction(metric, name, maximize):
    assert (card_of(metric).name, card_of(metric).maximize) == (name, maximize)


def test_card_of_refuses_to_guess_which_way_is_better():
    with pytest.raises(DataError, match=r"whether higher is better.*maximize"):
        card_of(Scored(higher_is_better=None))


def test_card_of_takes_an_attribute_set_by_the_user():
    own = Scored(higher_is_better=None)
    own.maximize = False
    assert not card_of(own).maximize


@pytest.mark.parametrize(
    ("card", "shown"),
    [
        (ACCURACY, ("63.10 %", "-1.20 points", "0.6310")),
        (MetricCard("mean squared error", "", False), ("0.631", "-0.012", "0.631")),
        (MetricCard("PSNR", "dB"), ("0.631 dB", "-0.012 dB", "0.631")),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_card_shows_values_in_their_unit(card, shown):
    assert (card.text(0.631), card.change(0.643, 0.631), card.line(0.631)) == shown
    assert card.change(1.0, 1.5).startswith("+")


def test_card_is_read_as_it_was_written():
    for metric in (metrics.accuracy, metrics.mean_iou):
        assert MetricCard.from_json(card_of(metric).to_json()) == card_of(metric)
    assert MetricCard.from_json(None) == ACCURACY
    with pytest.raises(TypeError, match="metric"):
        MetricCard.from_json({"name": "x", "unit": 3, "maximize": True})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"f1": 1.0, "auc": 2.0}, "keys f1, auc"),
        (torch.zeros(3), r"tensor \[3\]"),
        (None, "nothing"),
        ("0.3 %", "a str"),
        ((1.0, 2.0), "a tuple of 2"),
        (torch.tensor(1j), "complex64"),
    ],
)
def test_number_of_says_what_a_metric_gave_instead(value, said):
    with pytest.raises(DataError, match=f"gave .*{said}"):
        number_of(value, "the metric mine")
