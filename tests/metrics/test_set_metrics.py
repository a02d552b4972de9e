import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from evoprune import metrics
from evoprune.errors import DataError
from evoprune.metrics.base import SetMetric


def taken_in(metric, outputs, targets, cuts):
    own = copy.deepcopy(metric)
    for part, wanted in zip(outputs.tensor_split(cuts), targets.tensor_split(cuts), strict=True):
        own.update(part, wanted)
    return own.compute()


CUTS = st.lists(st.integers(1, 7), max_size=3).map(sorted).filter(lambda cuts: len(set(cuts)) == len(cuts))


@given(CUTS, st.integers(0, 999))
def test_mean_iou_is_intersection_over_union_whatever_the_batches(cuts, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(8, 4, 3, 3, generator=generator)
    targets = torch.randint(3, (8, 3, 3), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.2] = -100
    answers, kept = logits.argmax(1).numpy(), targets.numpy() != -100
    shares = []
    for kind in range(4):
        said, wanted = (answers == kind) & kept, (targets.numpy() == kind) & kept
        if (said | wanted).any():
            shares.append((said & wanted).sum() / (said | wanted).sum())
    assert taken_in(metrics.mean_iou, logits, targets, cuts) == pytest.approx(np.mean(shares), abs=1e-12)


@given(CUTS, st.integers(0, 999), st.sampled_from([(), (1,), (3,)]))
def test_r2_is_the_share_of_explained_variance_whatever_the_batches(cuts, seed, shape):
    generator = torch.Generator().manual_seed(seed)
    targets = 1e4 + torch.randn(8, *shape, generator=generator, dtype=torch.float64)
    outputs = targets + 0.3 * torch.randn(8, *shape, generator=generator, dtype=torch.float64)
    wanted, said = targets.view(8, -1).numpy(), outputs.view(8, -1).numpy()
    explained = 1 - ((wanted - said) ** 2).sum(0) / ((wanted - wanted.mean(0)) ** 2).sum(0)
    assert taken_in(metrics.r2, outputs, targets, cuts) == pytest.approx(explained.mean(), rel=1e-6)


def test_r2_never_broadcasts_one_shape_to_another():
    outputs, targets = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([1.0, 2.0, 3.0])
    assert metrics.r2(outputs, targets) == pytest.approx(0.5)
    with pytest.raises(DataError, match="R²"):
        metrics.r2(torch.zeros(3, 2), targets)


def test_r2_of_constant_targets_is_refused():
    with pytest.raises(DataError, match=r"R² needs targets that vary.*mean_squared_error"):
        metrics.r2(torch.rand(3, generator=torch.Generator().manual_seed(0)), torch.ones(3))


def test_mean_iou_of_ignored_targets_alone_is_refused():
    with pytest.raises(DataError, match="nothing to count"):
        metrics.mean_iou(torch.zeros(2, 3), torch.tensor([-100, -100]))


@pytest.mark.parametrize("metric", [metrics.mean_iou, metrics.r2], ids=["mean_iou", "r2"])
def test_set_metric_forgets_travels_and_is_left_alone_by_calls(metric):
    outputs, targets = (
        (torch.eye(3), torch.tensor([0, 1, 1])) if metric is metrics.mean_iou else (torch.arange(3.0),) * 2
    )
    own = pickle.loads(pickle.dumps(copy.deepcopy(metric)))
    assert isinstance(own, SetMetric)
    own.update(-outputs, targets)
    own.reset()
    own.update(outputs, targets)
    assert own(-outputs, targets) != own.compute() == metric(outputs, targets)


def test_mean_iou_leaves_out_what_the_loss_of_its_task_leaves_out():
    fitted = metrics.mean_iou.for_loss(nn.CrossEntropyLoss(ignore_index=255))
    assert fitted(torch.eye(3), torch.tensor([0, 1, 255])) == 1.0


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2)], ids=str)
def test_errors_are_means_over_the_outputs_of_each_sample(shape):
    generator = torch.Generator().manual_seed(1)
    outputs, targets = (torch.randn(shape, generator=generator) for _ in range(2))
    apart = (outputs - targets).numpy().reshape(4, -1)
    assert metrics.mean_squared_error(outputs, targets).tolist() == pytest.approx((apart**2).mean(1).tolist(), rel=1e-5)
    assert metrics.mean_absolute_error(outputs, targets).tolist() == pytest.approx(
        abs(apart).mean(1).tolist(), rel=1e-5
    )
    assert not metrics.mean_squared_error.maximize


def test_negative_loss_is_the_loss_with_its_sign_turned():
    outputs, targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    logs = torch.log_softmax(outputs, 1)
    wanted = sum(float(logs[row, target]) for row, target in enumerate(targets.tolist())) / 5
    assert float(metrics.negative_loss.for_loss(nn.functional.cross_entropy)(outputs, targets)) == pytest.approx(wanted)
    with pytest.raises(DataError, match="no loss"):
        metrics.negative_loss(outputs, targets)
