"""ONNX files against PyTorch, in ONNX Runtime itself: batch, names, what is refused, and that nothing is left then."""

import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.errors import MissingDependencyError, SurgeryError, UnsupportedModelError
from evoprune.exporters import onnx_file
from evoprune.nn_utils.runtimes import onnx_sessions
from evoprune.recipes.lenet5 import LeNet5, TanhLeNet5
from evoprune.recipes.mnist_cnn import MnistCNN
from evoprune.recipes.resnet_cifar10 import ResNet18, ResNet20, ResNet56
from evoprune.testing.exporter_suite import dense, inputs, pruned
from tests.exporters.odd_networks import (
    Branching,
    Equal,
    FixedScale,
    Forgetful,
    Hidden,
    Keyword,
    Listing,
    Noisy,
    NoSuchOperation,
    OnlyPairs,
    SparseBranch,
    rows,
)

pytestmark = pytest.mark.usefixtures("onnx_installed", "seeded_torch")

SLOW = pytest.mark.slow
RECIPES = {
    "mnist-cnn": (MnistCNN, (1, 28, 28)),
    "lenet5-mnist": (LeNet5, (1, 28, 28)),
    "lenet5-tanh-mnist": (TanhLeNet5, (1, 28, 28)),
    "resnet20-cifar10": (ResNet20, (3, 32, 32)),
    "resnet56-cifar10": (ResNet56, (3, 32, 32)),
    "resnet18-cifar10": (ResNet18, (3, 32, 32)),
}


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(path, **feed):
    return [torch.from_numpy(one) for one in session(path).run(None, {name: one.numpy() for name, one in feed.items()})]


def test_file_takes_any_number_of_samples_and_is_smaller_than_the_dense_one(tmp_path):
    small = pruned()
    exported = ep.export(small, "onnx", tmp_path, inputs(1), real_inputs=inputs(7, seed=1), dense=dense())
    assert exported.path == tmp_path / "model.onnx"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    for count in (1, 2, 9):
        (found,) = run(exported.path, images=inputs(count))
        assert torch.allclose(found, small(inputs(count)), atol=1e-5)
    assert exported.size_bytes == exported.path.stat().st_size < 0.5 * exported.dense_bytes
    assert (exported.fixed_batch, exported.real_samples) == (None, 7)
    (line, proof) = exported.lines()
    assert "of the dense network's" in line
    assert "on 7 real samples; accepted are 1e-04" in proof


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW if "resnet" in name else ()) for name in RECIPES])
def test_network_of_each_recipe_is_written_pruned(tmp_path, name):
    build, shape = RECIPES[name]
    model = build().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that say something
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    example = torch.zeros(1, *shape)
    small = ep.prune(model, ep.analyze(model, example).random_plan(keep=0.5, seed=0)).eval()
    exported = ep.export(small, "onnx", tmp_path, example, dense=model)
    images = torch.randn(5, *shape)
    (found,) = run(exported.path, images=images)
    with torch.no_grad():
        wanted = small.double()(images.double())
    assert torch.allclose(found.double(), wanted, atol=1e-4 * float(wanted.abs().max()))
    assert exported.size_bytes < 0.6 * exported.dense_bytes


def test_inputs_and_outputs_have_the_names_of_arguments_and_results(tmp_path):
    given = {"tokens": rows(2), "scale": {"by": torch.ones(2, 1)}}
    network = Keyword().eval()
    exported = ep.export(network, "onnx", tmp_path, given, real_inputs={**given, "labels": torch.ones(2)})
    made = session(exported.path)
    assert [one.name for one in made.get_inputs()] == ["tokens", "scale_0"]
    assert [one.name for one in made.get_outputs()] == ["logits", "tokens_out"]
    assert [one.shape[0] for one in made.get_inputs()] == ["batch", "batch"]
    found = run(exported.path, tokens=rows(5), scale_0=2 * torch.ones(5, 1))
    assert torch.allclose(found[0], network(tokens=rows(5), scale={"by": 2 * torch.ones(5, 1)})["logits"], atol=1e-6)


@pytest.mark.parametrize("kind", [Branching, Listing, Hidden, Equal])
@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_network_that_reads_its_data_is_refused_with_the_line(tmp_path, capfd, kind, to):
    with pytest.raises(
        UnsupportedModelError,
        match=rf"{kind.__name__} decides by the values of its inputs in odd_networks\.py, line \d+",
    ) as caught:
        ep.export(kind(), to, tmp_path / "new" / "model.onnx", rows(2))
    assert "torch.where" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_network_that_reads_its_data_out_of_something_else_is_refused_as_well(tmp_path):
    with pytest.raises(UnsupportedModelError):
        ep.export(SparseBranch(), "torchscript", tmp_path, rows(2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_network_that_reads_what_its_inputs_cannot_change_is_written(tmp_path, to):
    exported = ep.export(FixedScale(), to, tmp_path, rows(1))
    assert exported.check.relative < 1e-6
    assert exported.fixed_batch is None


def test_number_of_samples_is_fixed_where_the_network_fixes_it(tmp_path):
    exported = ep.export(OnlyPairs(), "onnx", tmp_path, rows(2), real_inputs=rows(2, seed=9))
    assert exported.fixed_batch == 2
    assert "takes 2 samples at a time" in exported.lines()[-1]
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        run(exported.path, x=rows(3))


def test_number_of_samples_is_fixed_where_the_graph_would_compute_something_else(tmp_path):
    network = Forgetful().eval()
    exported = ep.export(network, "onnx", tmp_path, rows(2), real_inputs=rows(6))
    assert exported.fixed_batch == 2
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        run(exported.path, x=rows(3))
    (found,) = run(exported.path, x=rows(2, seed=8))
    assert torch.allclose(found, network(rows(2, seed=8)), atol=1e-6)


def test_torchscript_that_computes_something_else_for_other_samples_is_refused(tmp_path):
    with pytest.raises(SurgeryError, match="the network in the torchscript file differs by"):
        ep.export(Forgetful(), "torchscript", tmp_path, rows(2))
    assert list(tmp_path.iterdir()) == []


def test_file_past_tolerance_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    honest = onnx_file.OnnxFile.read
    monkeypatch.setattr(
        onnx_file.OnnxFile,
        "read",
        lambda self, network, path: lambda given: [honest(self, network, path)(given)[0] * 1.001],
    )
    with pytest.raises(SurgeryError, match=r"the onnx file differs by .* accepted are 1e-04") as caught:
        ep.export(pruned(), "onnx", tmp_path / "sub" / "model.onnx", inputs(1))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_right_for_zeros_alone_is_refused(tmp_path, monkeypatch):
    honest = onnx_file.OnnxFile.read
    monkeypatch.setattr(
        onnx_file.OnnxFile,
        "read",
        lambda self, network, path: lambda given: honest(self, network, path)(torch.zeros_like(given)),
    )
    with pytest.raises(SurgeryError, match="the onnx file differs"):
        ep.export(OnlyPairs(), "onnx", tmp_path, torch.zeros(2, 4))
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_wrong_on_real_inputs_alone_is_refused(tmp_path, monkeypatch):
    honest = onnx_file.OnnxFile.read

    def wrong_for_large_values(self, network, path):
        run = honest(self, network, path)
        return lambda given: [run(given)[0] * (1.0 if float(given.abs().max()) < 50 else 1.01)]

    monkeypatch.setattr(onnx_file.OnnxFile, "read", wrong_for_large_values)
    ep.export(pruned(), "onnx", tmp_path / "fine.onnx", inputs(1))
    with pytest.raises(SurgeryError, match="the onnx file differs"):
        ep.export(pruned(), "onnx", tmp_path / "model.onnx", inputs(1), real_inputs=100 * inputs(3))


class TwoSizes(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return {"large": 1000 * self.fc(x), "small": self.fc(x), "none": 0 * self.fc(x)}


def test_small_output_is_compared_by_its_own_size(tmp_path, monkeypatch):
    ep.export(TwoSizes(), "onnx", tmp_path / "fine.onnx", rows(2))
    honest = onnx_file.OnnxFile.read

    def off_in_the_small_one(self, network, path):
        def run(given):
            large, small, none = honest(self, network, path)(given)
            return [large, small * 1.01, none]

        return run

    monkeypatch.setattr(onnx_file.OnnxFile, "read", off_in_the_small_one)
    with pytest.raises(SurgeryError, match="the onnx file differs"):
        ep.export(TwoSizes(), "onnx", tmp_path / "model.onnx", rows(2))


def test_operation_that_onnx_lacks_is_refused_in_a_line(tmp_path, capfd):
    with pytest.raises(UnsupportedModelError, match=r"NoSuchOperation can't be written as ONNX: .*eigvals") as caught:
        ep.export(NoSuchOperation(), "onnx", tmp_path, rows(2))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_network_that_prints_leaves_no_word(tmp_path, capfd):
    exported = ep.export(Noisy(), "onnx", tmp_path, rows(2))
    out, err = capfd.readouterr()
    assert "graph(" not in out
    assert err == ""
    assert exported.check.agrees


def test_network_larger_than_a_file_can_be_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 1000)
    with pytest.raises(UnsupportedModelError, match=r"an ONNX file holds .* GB at most, the weights of TinyCNN are"):
        ep.export(dense(), "onnx", tmp_path, inputs(1))
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_told_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_sessions.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="writing ONNX needs onnx and onnxruntime") as caught:
        ep.export(dense(), "onnx", tmp_path, inputs(1))
    assert "evoprune[onnx]" in caught.value.hint


def test_network_and_generators_are_left_alone(tmp_path):
    network = dense().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    ep.export(network, "onnx", tmp_path, inputs(1))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
