import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.errors import ConfigError, SurgeryError, UnsupportedModelError, UsageError
from evoprune.exporters.onnx_file import OnnxFile
from evoprune.exporters.torch_export import TorchExportArchive
from evoprune.exporters.torchscript_file import TorchScriptFile
from evoprune.exporters.weight_files import SafetensorsFile, StateDictFile
from evoprune.store.checkpoint import read_checkpoint
from evoprune.testing.exporter_suite import ExporterSuite, dense, inputs, pruned


class TestSafetensors(ExporterSuite):
    def exporter(self):
        return SafetensorsFile()


class TestStateDict(ExporterSuite):
    def exporter(self):
        return StateDictFile()


@pytest.mark.usefixtures("onnx_installed")
class TestOnnx(ExporterSuite):
    def exporter(self):
        return OnnxFile()


class TestTorchScript(ExporterSuite):
    def exporter(self):
        return TorchScriptFile()


@pytest.mark.slow
class TestTorchExport(ExporterSuite):
    def exporter(self):
        return TorchExportArchive()


def test_state_dict_file_loads_into_a_network_of_the_same_form(tmp_path):
    small = pruned()
    exported = ep.export(small, "state-dict", tmp_path / "small.pth", inputs(2))
    again = pruned()
    again.load_state_dict(read_checkpoint(exported.path))
    assert torch.equal(again(inputs(3)), small(inputs(3)))


@pytest.mark.slow
def test_archive_takes_other_numbers_of_samples_than_the_example(tmp_path):
    small = pruned()
    exported = ep.export(small, "torch-export", tmp_path, inputs(1))
    program = torch.export.load(exported.path).module()
    assert exported.path == tmp_path / "model.pt2"
    for count in (1, 2, 7):
        assert torch.allclose(program(inputs(count)), small(inputs(count)), atol=1e-6)


class Keyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, *, tokens, scale):
        return self.fc(tokens) * scale


def test_archive_takes_keyword_inputs(tmp_path, seeded_torch):
    given = {"tokens": torch.randn(2, 4), "scale": torch.tensor(2.0)}
    exported = ep.export(Keyword(), "torch-export", tmp_path, given)
    assert exported.check.relative < 1e-6


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x) if float(x.sum()) > 0 else self.fc(-x)


def test_network_that_branches_on_data_is_refused_with_what_to_do(tmp_path, seeded_torch, capfd):
    with pytest.raises(
        UnsupportedModelError, match=r"torch\.export can't follow Branching: .*export the weights alone"
    ):
        ep.export(Branching(), "torch-export", tmp_path / "model.pt2", torch.ones(2, 4))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("given", [None, inputs(2)])
def test_file_that_computes_something_else_is_refused_and_leaves_nothing(tmp_path, monkeypatch, given):
    monkeypatch.setattr(SafetensorsFile, "read", lambda self, network, path: dense(seed=3))
    network = dense()
    with pytest.raises(SurgeryError, match=r"safetensors file (holds other weights|differs by)"):
        ep.export(network, "safetensors", tmp_path / "model.safetensors", given)
    assert list(tmp_path.iterdir()) == []


def test_export_replaces_no_file_and_leaves_the_network_alone(tmp_path):
    network = dense().train()
    (tmp_path / "model.pth").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        ep.export(network, "state-dict", tmp_path / "model.pth")
    ep.export(network, "state-dict", tmp_path / "new" / "model.pth")
    assert (tmp_path / "model.pth").read_text() == "mine"
    assert network.training


def test_unknown_format_and_missing_inputs_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'pickle' is not one of the exporters: .*safetensors"):
        ep.export(dense(), "pickle", tmp_path / "model")
    with pytest.raises(UsageError, match=r"torch-export .* needs example_inputs"):
        ep.export(dense(), "torch-export", tmp_path / "model")
