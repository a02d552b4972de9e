"""What an inspection says, against counting."""

import json

import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from evoprune.objectives.compute import count
from evoprune.report.inspection import inspect_space
from evoprune.report.sensitivity import select_accuracy, sensitivity
from evoprune.testing.tiny import TinyCNN, tiny_recipe

IMAGE = torch.zeros(1, 3, 8, 8)


@pytest.fixture
def tiny(seeded_torch):
    model = TinyCNN().eval()
    return model, analyze(model, IMAGE)


def test_shares_are_of_all_work_that_a_group_takes_part_in(tiny):
    model, space = tiny
    inspection = inspect_space(model, space, IMAGE)
    conv1, conv2, fc = 3 * 8 * 9 * 64, 8 * 8 * 9 * 16, 8 * 4 * 4
    assert inspection.dense.macs == conv1 + conv2 + fc
    assert [row.macs_share for row in inspection.groups] == pytest.approx(
        [(conv1 + conv2) / inspection.dense.macs, (conv2 + fc) / inspection.dense.macs]
    )
    first = 3 * 8 * 9 + 2 * 8 + 8 * 8 * 9
    assert inspection.groups[0].params_share == pytest.approx(first / inspection.dense.params)


@pytest.mark.slow
def test_outlooks_are_what_pruned_models_count(tiny):
    model, space = tiny
    for outlook in inspect_space(model, space, IMAGE).outlooks:
        counted = count(prune(model, space.random_plan(outlook.keep_ratio, seed=0)), IMAGE)
        assert (outlook.macs, outlook.params, outlook.counted) == (counted.macs, counted.params, False)


@pytest.mark.slow
def test_outlooks_are_counted_where_they_cannot_be_predicted(seeded_torch):
    class Three(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)
            self.mix = nn.Parameter(torch.randn(6, 6))

        def forward(self, x):
            return self.out(torch.einsum("bd,bd,de->be", self.one(x), self.two(x), self.mix))

    model, inputs = Three(), torch.randn(2, 4)
    space = analyze(model, inputs)
    inspection = inspect_space(model, space, inputs)
    assert [outlook.counted for outlook in inspection.outlooks] == [True] * 3
    counted = count(prune(model, space.random_plan(0.5, seed=0)), inputs)
    assert inspection.outlooks[1].macs == counted.macs
    assert "einsum of 3 tensors" in inspection.unpredictable[0]
    assert any(row.macs_share is None for row in inspection.groups)


def test_as_json_is_plain_data(tiny):
    model, space = tiny
    document = json.loads(json.dumps(inspect_space(model, space, IMAGE, {"conv2": 0.25}).as_json()))
    assert document["frozen"] == [{"name": "fc", "reason": "reaches the model's output"}]
    assert [row["accuracy_lost"] for row in document["groups"]] == [None, 0.25]


def test_sensitivity_scores_the_model_with_half_of_each_group(tiny):
    model, space = tiny
    task = tiny_recipe()[1]
    dense = select_accuracy(model, task)
    found = dict(sensitivity(model, space, task, dense))
    bits = torch.ones(space.size, dtype=torch.bool)
    norms = model.conv2.weight.detach().flatten(1).norm(dim=1)
    bits[8 + norms.argsort()[:4]] = False
    expected = select_accuracy(prune(model, space.plan(bits.numpy())), task)
    assert list(found) == ["conv1", "conv2"]
    assert found["conv2"] == pytest.approx(dense - expected)
