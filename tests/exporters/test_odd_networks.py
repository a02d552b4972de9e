"""Networks that go by the number of samples, and what formats can't read again."""

import pytest
import torch

import evoprune as ep
from evoprune.errors import SurgeryError, UnsupportedModelError
from evoprune.nn_utils.samples import samples_in
from tests.exporters.odd_networks import ByNumber, Endless, ReservedName

pytestmark = pytest.mark.usefixtures("seeded_torch")


def test_torchscript_that_keeps_the_way_of_few_samples_is_refused(tmp_path):
    with pytest.raises(SurgeryError, match="the network in the torchscript file differs by"):
        ep.export(ByNumber().eval(), "torchscript", tmp_path / "net.pt", torch.randn(2, 6))
    assert list(tmp_path.iterdir()) == []


def test_onnx_of_a_network_that_goes_by_the_number_of_samples_takes_that_number_alone(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    found = ep.export(ByNumber().eval(), "onnx", tmp_path / "net.onnx", torch.randn(2, 6))
    assert found.fixed_batch == 2


@pytest.mark.parametrize(
    ("to", "message"),
    [("torchscript", "what was written as torchscript can't be read"), ("source", "a name that is no name in Python")],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_names_that_a_format_cannot_write_are_refused_in_a_line(tmp_path, to, message):
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        ep.export(ReservedName().eval(), to, tmp_path / "net", torch.randn(2, 6))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_network_whose_outputs_are_no_numbers_is_exported(tmp_path):
    model, inputs = Endless().eval(), torch.randn(3, 6)
    assert samples_in(model, inputs) == 3
    ep.export(model, "torchscript", tmp_path / "net.pt", inputs)
    torch.testing.assert_close(torch.jit.load(tmp_path / "net.pt")(inputs), model(inputs), equal_nan=True)
