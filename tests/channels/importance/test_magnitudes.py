"""Criteria that look at weights alone, against loops over single channels."""

import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.importance.scores import importance
from evoprune.errors import UsageError
from tests.channels.importance.nets import small
from tests.channels.nets import Residual, image, randomise

IMAGE = torch.zeros(1, 2, 6, 6, dtype=torch.float64)


@pytest.fixture(scope="module")
def plain():
    model = small()
    return model, analyze(model, IMAGE)


def layers(model):
    return [
        (layer.weight.detach(), channel)
        for layer in (model.conv1, model.conv2, model.fc1)
        for channel in range(len(layer.weight))
    ]


def test_l1_and_l2_are_the_norms_of_single_filters(plain):
    model, space = plain
    assert [group.name for group in space.groups] == ["conv1", "conv2", "fc1"]
    assert importance(model, space, "l1") == pytest.approx([float(w[c].abs().sum()) for w, c in layers(model)])
    assert importance(model, space, "l2") == pytest.approx([float(w[c].norm()) for w, c in layers(model)])


def test_l1_is_the_mean_over_the_layers_of_a_residual_stage(seeded_torch):
    model = randomise(Residual())
    space = analyze(model, image())
    stage = space.group("stem")
    stem, last = model.stem.weight.detach(), model.conv2.weight.detach()
    expected = [float(stem[c].abs().sum() + last[c].abs().sum()) / 2 for c in range(8)]
    assert importance(model, space, "l1")[stage.start : stage.stop] == pytest.approx(expected, rel=1e-5)


def test_group_magnitude_counts_all_that_goes_with_a_channel(plain):
    model, space = plain
    expected = [
        float(
            sum(
                (tensor.detach() ** 2).sum()
                for tensor in (
                    model.conv1.weight[c], model.conv1.bias[c], model.bn1.weight[c], model.bn1.bias[c], model.conv2.weight[:, c],
                )
            )
        )
        for c in range(4)
    ]  # fmt: skip
    assert importance(model, space, "group_magnitude")[:4] == pytest.approx(expected)


def test_bn_scale_is_the_absolute_scale_and_leaves_units_without_one_for_last(plain):
    model, space = plain
    scores = importance(model, space, "bn_scale")
    assert scores[:4] == pytest.approx(model.bn1.weight.detach().abs().numpy())
    assert (scores[4:] == scores[:4].max()).all()


def test_bn_scale_says_what_it_needs_when_there_is_no_batch_norm(seeded_torch):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(UsageError, match="needs a BatchNorm"):
        importance(model, analyze(model, torch.randn(1, 3)), "bn_scale")


def test_lamp_divides_by_all_units_that_are_no_smaller(plain):
    model, space = plain
    squares = [float((model.conv1.weight[c].detach() ** 2).sum()) for c in range(4)]
    expected = [one / sum(other for other in squares if other >= one) for one in squares]
    assert importance(model, space, "lamp")[:4] == pytest.approx(expected)


def test_lamp_is_zero_where_all_weights_are_zero(plain):
    model = small()
    nn.init.zeros_(model.conv1.weight)
    assert not importance(model, plain[1], "lamp")[:4].any()


def test_fpgm_sums_the_distances_to_all_other_filters(plain):
    model, space = plain
    filters = model.conv1.weight.detach()
    expected = [sum(float((one - other).norm()) for other in filters) for one in filters]
    assert importance(model, space, "fpgm")[:4] == pytest.approx(expected)


def test_fpgm_puts_the_positions_of_a_unit_side_by_side(seeded_torch):
    model = randomise(nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 6, 1, groups=2), nn.Conv2d(6, 2, 1)))
    space = analyze(model, image(channels=2, size=2))
    group = space.group("0")
    weight = model[0].weight.detach()
    filters = [torch.cat([weight[c], weight[c + 2]]) for c in range(2)]
    distance = float((filters[0] - filters[1]).norm())
    assert importance(model, space, "fpgm")[group.start : group.stop] == pytest.approx([distance] * 2, rel=1e-5)


def test_random_depends_on_the_seed_alone(plain):
    model, space = plain
    scores = importance(model, space, "random", seed=3)
    assert np.array_equal(scores, importance(small(), space, "random", seed=3))
    assert not np.array_equal(scores, importance(model, space, "random", seed=4))
