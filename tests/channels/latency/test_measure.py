from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.latency import grids, measure
from evoprune.channels.latency.measure import Effort, accuracy_text, measure_latency
from evoprune.errors import MeasurementError
from evoprune.nn_utils.calling import named_tensors
from evoprune.space.latency_model import LatencyModel
from tests.channels.zoo.catalogue import MODELS, build

pytestmark = pytest.mark.usefixtures("seeded_torch")

LITTLE = Effort(rounds=1, layers_s=0.0, networks_s=0.0, fitted=3, held_out=1)
CPU = torch.device("cpu")
FAST = ("pre-activation", "gpt", "volume", "ghost", "conv-lstm")


@cache
def measured(name, batch=2):
    model, inputs = build(name)
    space = analyze(model, inputs)
    table = measure_latency(model, space, inputs, batch=batch, device=CPU, threads=1, effort=LITTLE)
    return model, space, table


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_latency_of_every_zoo_model_can_be_predicted(name):
    _, space, table = measured(name)
    found = LatencyModel(space.groups, table).predict(np.stack([space.random_bits(0.5, seed) for seed in range(3)]))
    assert np.isfinite(found).all()
    assert (found > 0).all()


@pytest.mark.parametrize("name", ["pre-activation", pytest.param("resnext", marks=pytest.mark.slow), "volume"])
def test_every_layer_that_is_cut_is_timed_at_its_least_and_whole_widths(name):
    model, space, table = measured(name)
    shapes = {tensor: tuple(value.shape) for tensor, value in named_tensors(model).items()}
    cut = {member.tensor.rpartition(".")[0] for group in space.groups for member in group.members}
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    wanted = {path for path, module in model.named_modules() if path in cut and isinstance(module, kinds)}
    assert {one.name for one in table.layers} == wanted
    for one in table.layers:
        nodes = table.grids[one.grid].nodes
        assert [widths[-1] for widths in nodes] == [shapes[tensor][dim] for tensor, dim in one.axes]
        assert all(widths[0] < widths[-1] for widths in nodes)


@pytest.mark.usefixtures("onnx_installed")
@pytest.mark.parametrize("name", ["pre-activation", "volume", pytest.param("gpt", marks=pytest.mark.slow)])
def test_every_layer_is_timed_in_onnxruntime_as_in_torch(name):
    model, space, table = measured(name)
    _, inputs = build(name)
    onnx = measure_latency(
        model, space, inputs, batch=2, device=CPU, threads=1, runtime="onnxruntime", channels_last=True, effort=LITTLE
    )
    assert [one.name for one in onnx.layers] == [one.name for one in table.layers]
    assert all(set(one.nodes[0]) >= {one.nodes[0][0], one.nodes[0][-1]} for one in onnx.grids)
    conditions = onnx.conditions
    assert (conditions.runtime_name, conditions.device, conditions.channels_last) == ("onnxruntime", "cpu", False)
    assert "at batch 2 in onnxruntime" in accuracy_text(onnx)
    assert (LatencyModel(space.groups, onnx).predict(space.random_bits(0.5, 0)[None]) > 0).all()


def test_layers_of_the_same_shape_share_a_grid():
    _, _, table = measured("pre-activation")
    assert len(table.grids) < len(table.layers)


def test_table_says_what_it_is_for():
    _, space, table = measured("ghost", batch=3)
    conditions = table.conditions
    assert (table.fingerprint, conditions.batch, conditions.inputs[0][0]) == (space.fingerprint, 3, 3)
    assert (conditions.device, conditions.threads, conditions.torch) == ("cpu", 1, torch.__version__)
    assert (conditions.runtime, conditions.runtime_name) == ("eager", "eager")
    assert conditions.processor


def test_measuring_leaves_the_model_as_it_was():
    model, inputs = build("ghost")
    model.train()
    before = {name: value.clone() for name, value in named_tensors(model).items()}
    space = analyze(model, inputs)
    measure_latency(model, space, inputs, batch=2, device=CPU, threads=1, effort=LITTLE)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in named_tensors(model).items())


def test_busy_machine_is_said_and_measured_again(monkeypatch):
    spreads = iter([0.5, 0.2])
    monkeypatch.setattr(measure, "spread_of", lambda _: next(spreads))
    monkeypatch.setattr(grids, "spread_of", lambda _: 0.0)
    monkeypatch.setattr(measure, "INACCURATE", 1e9)
    said = []
    model, inputs = build("ghost")
    space = analyze(model, inputs)
    table = measure_latency(model, space, inputs, batch=2, device=CPU, threads=1, effort=LITTLE, notify=said.append)
    assert "spread by 50%" in said[0].detail
    assert table.spread == 0.2


def test_inaccurate_predictions_are_cautioned_against(monkeypatch):
    monkeypatch.setattr(measure, "INACCURATE", -1.0)
    monkeypatch.setattr(measure, "BUSY", 1e9)
    said = []
    model, inputs = build("ghost")
    space = analyze(model, inputs)
    table = measure_latency(model, space, inputs, batch=2, device=CPU, threads=1, effort=LITTLE, notify=said.append)
    assert accuracy_text(table) in said[-1].detail


def test_inputs_without_a_batch_dimension_are_refused_for_a_batch():
    model, inputs = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(3)
    space = analyze(model, inputs)
    with pytest.raises(MeasurementError, match="can't be repeated to a batch of 4"):
        measure_latency(model, space, inputs, batch=4, device=CPU, threads=1, effort=LITTLE)
