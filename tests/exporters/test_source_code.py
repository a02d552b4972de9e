"""Networks as Python source: run in a process that has torch and safetensors, and no evoprune."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.errors import UnsupportedModelError, UsageError
from evoprune.exporters.layer_source import layer_source
from evoprune.exporters.source_code import SourceCode
from evoprune.nn_utils.weights import read_weights
from evoprune.recipes.lenet5 import LeNet5, TanhLeNet5
from evoprune.recipes.mnist_cnn import MnistCNN
from evoprune.recipes.resnet_cifar10 import ResNet18, ResNet20
from evoprune.testing.exporter_suite import ExporterSuite, inputs, pruned
from tests.exporters.odd_networks import Branching, rows

pytestmark = pytest.mark.usefixtures("seeded_torch")

ALONE = """
import importlib.util, json, sys
sys.modules["evoprune"] = None
import torch
spec = importlib.util.spec_from_file_location("small", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
torch.set_num_threads(1)
images = torch.linspace(-1, 1, 2 * int(sys.argv[2]) ** 2 * int(sys.argv[3])).view(2, int(sys.argv[3]), int(sys.argv[2]), -1)
with torch.no_grad():
    print(json.dumps(module.load()(images).tolist()))
"""


class TestSourceCode(ExporterSuite):
    def exporter(self):
        return SourceCode()


def half_of(build, shape):
    model = build().eval()
    example = torch.zeros(1, *shape)
    return ep.prune(model, ep.analyze(model, example).random_plan(keep=0.5, seed=0)).eval(), example


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (MnistCNN, (1, 28, 28)),
        (LeNet5, (1, 28, 28)),
        (TanhLeNet5, (1, 28, 28)),
        pytest.param(ResNet20, (3, 32, 32), marks=pytest.mark.slow),
        pytest.param(ResNet18, (3, 32, 32), marks=pytest.mark.slow),
    ],
)
def test_source_of_a_recipe_runs_where_there_is_no_evoprune(tmp_path, build, shape):
    small, example = half_of(build, shape)
    exported = ep.export(small, "source", tmp_path / "small.py", example)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.py", "small.safetensors"]
    assert exported.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", ALONE, exported.path, str(shape[1]), str(shape[0])],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    images = torch.linspace(-1, 1, 2 * shape[1] ** 2 * shape[0]).view(2, *shape)
    with torch.no_grad():
        assert torch.allclose(torch.tensor(json.loads(done.stdout)), small(images), atol=1e-5)


def test_source_has_the_widths_in_it_and_the_weights_their_names(tmp_path):
    small = pruned()
    text = ep.export(small, "source", tmp_path / "small.py", inputs(1)).path.read_text()
    assert (
        f"self.conv2 = nn.Conv2d({small.conv1.out_channels}, {small.conv2.out_channels}, (3, 3), padding=(1, 1)" in text
    )
    assert read_weights(tmp_path / "small.safetensors").keys() == small.state_dict().keys()


def test_weights_of_another_file_are_not_replaced(tmp_path):
    (tmp_path / "small.safetensors").write_text("mine")
    with pytest.raises(UsageError, match=r"small\.safetensors exists"):
        ep.export(pruned(), "source", tmp_path / "small.py", inputs(1))
    assert [path.name for path in tmp_path.iterdir()] == ["small.safetensors"]


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0, 3.0, 4.0, 5.0]))
        self.fc = nn.Linear(4, 4).double()

    def forward(self, x):
        return self.fc(x.double() * self.scale).clamp(min=-float("inf"))


def test_parameters_of_its_own_types_and_infinity_are_written(tmp_path):
    network = Own().eval()
    exported = ep.export(network, "source", tmp_path, rows(2))
    assert exported.check.dtype == torch.float64
    assert "inf" in exported.path.read_text()


def test_branch_on_data_and_foreign_layers_are_refused_in_a_line(tmp_path):
    with pytest.raises(UnsupportedModelError, match="Branching can't be written as source: ") as caught:
        ep.export(Branching(), "source", tmp_path, rows(2))
    assert "\n" not in str(caught.value)
    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(UnsupportedModelError, match=r"head: what this Linear is doesn't follow from its arguments"):
        layer_source("head", hooked)
    with pytest.raises(UnsupportedModelError, match="head is a Own, which is no layer of torch"):
        layer_source("head", Own())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        (nn.Linear(3, 4), "nn.Linear(3, 4)"),
        (nn.Linear(3, 4, bias=False), "nn.Linear(3, 4, bias=False)"),
        (nn.Conv2d(4, 8, 3, groups=2, padding="same"), "nn.Conv2d(4, 8, (3, 3), padding='same', groups=2)"),
        (nn.BatchNorm2d(5, eps=1e-3), "nn.BatchNorm2d(5, eps=0.001)"),
        (nn.LayerNorm((3, 4), bias=False), "nn.LayerNorm((3, 4), bias=False)"),
        (nn.MaxPool2d(2, ceil_mode=True), "nn.MaxPool2d(2, stride=2, ceil_mode=True)"),
        (nn.ReLU(), "nn.ReLU()"),
        (nn.Dropout(0.1), "nn.Dropout(p=0.1)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_expression_makes_the_layer(layer, source):
    assert layer_source("it", layer) == source
    assert repr(eval(source)) == repr(layer)
