"""Messages speak of the metric that the task is judged by, not of accuracy."""

import pytest

from evoprune.errors import ConfigError
from evoprune.results import MetricCard
from evoprune.run.bounds import check_bounds, in_words_of
from evoprune.run.fingerprints import name_of_loss

IOU = MetricCard("mean IoU", "%", True)


def test_bounds_and_names_are_told_in_the_metrics_own_name():
    assert in_words_of("accuracy>=0.9", IOU) == "mean_iou>=0.9"
    assert in_words_of("accuracy", IOU) == "mean_iou"
    assert in_words_of("worst_class_accuracy>=0.9", IOU) == "worst_class_accuracy>=0.9"
    assert in_words_of("macs<=0.5", IOU) == "macs<=0.5"


def test_impossible_bound_is_quoted_in_the_metrics_own_name():
    with pytest.raises(ConfigError, match=r"'mean_iou>=1.5': mean IoU is 1 at most"):
        check_bounds({"search.constraints": ["accuracy>=1.5"]}, IOU)


def test_losses_are_told_apart_by_their_names_and_settings():
    from functools import partial

    from torch import nn
    from torch.nn import functional

    assert name_of_loss(functional.cross_entropy) == "cross_entropy"
    assert name_of_loss(partial(functional.cross_entropy, label_smoothing=0.1)) == "cross_entropy"
    assert name_of_loss(nn.HuberLoss(delta=2.0)) != name_of_loss(nn.HuberLoss(delta=1.0))
