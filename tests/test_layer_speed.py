"""The benchmark of layer replay measures what it says it measures."""

import sys
from pathlib import Path

import pytest
from torch import nn

from evoprune.evaluation.replay.layer_replay import LayerReplay
from evoprune.testing.tiny import tiny_recipe

FOLDER = Path(__file__).parents[1] / "benchmarks/masks"


@pytest.fixture
def layer_speed(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield __import__("layer_speed")
    sys.modules.pop("layer_speed")


def test_layer_speed_measures_each_layer_and_all_together(layer_speed):
    model, task, _ = tiny_recipe()
    found = layer_speed.network("tiny", model.eval(), task.select, 32, ["conv2", "fc"], 1)
    assert list(found["layers"]) == ["conv2.weight", "fc.weight", "all weights"]
    assert all(value > 0 for row in found["layers"].values() for value in row.values())


def test_layer_speed_times_no_replay_that_runs_the_whole_network(layer_speed):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny_recipe()[0]

        def forward(self, x):
            return self.inner(x if x.sum() > 0 else -x)

    model, (_, task, _), names = Branching(), tiny_recipe(), ["inner.fc.weight"]
    replay = LayerReplay(model, names, task.select, device=layer_speed.CPU, batch_size=32)
    with pytest.raises(SystemExit, match="depend on data"):
        layer_speed.check(model, replay, layer_speed.candidate(model, names, 0), task.select, 32)
