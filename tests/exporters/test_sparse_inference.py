import pytest
import torch
from torch import nn

from evoprune.errors import UnsupportedModelError, UsageError
from evoprune.exporters import sparse_inference
from evoprune.exporters.sparse_inference import to_csr
from evoprune.exporters.sparse_linear import CsrLinear
from evoprune.nn_utils.weights import weight_bytes
from evoprune.rng import isolated_rng


class Head(nn.Module):
    """A convolution, three linear layers of which one is used twice, and one that is never called."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.wide = nn.Linear(144, 24)
        self.shared = nn.Linear(24, 24)
        self.again = self.shared
        self.dense = nn.Linear(24, 5)
        self.idle = nn.Linear(24, 24)

    def forward(self, images):
        return self.dense(self.again(self.shared(self.wide(self.conv(images).relu().flatten(1)).relu())).relu())


@pytest.fixture
def model():
    with isolated_rng(0):
        model = Head()
        for layer in (model.wide, model.shared, model.idle):
            layer.weight.data[torch.rand(layer.weight.shape) < 0.95] = 0
    return model


IMAGES = torch.linspace(-1, 1, 3 * 64).view(3, 1, 8, 8)


def measured(monkeypatch, **times_ms):
    monkeypatch.setattr(sparse_inference, "measure_latency_ms", lambda *_, **__: times_ms)


def test_faster_layers_are_converted_and_the_rest_says_why_not(model, monkeypatch):
    measured(monkeypatch, dense=2.0, sparse=1.0)
    before = weight_bytes(model)
    result = to_csr(model, IMAGES)
    assert {layer.name: (layer.converted, layer.reason) for layer in result.layers} == {
        "wide": (True, ""),
        "shared": (True, ""),
        "dense": (False, "less than 70% zeros"),
        "idle": (False, "the example inputs don't reach it"),
    }
    assert (result.layers[0].dense_ms, result.layers[0].sparse_ms) == (2.0, 1.0)
    assert isinstance(result.model.wide, CsrLinear)
    assert result.model.shared is result.model.again
    assert torch.allclose(result.model(IMAGES), model(IMAGES), atol=1e-6)
    assert weight_bytes(model) == before


def test_slower_layers_stay_dense_unless_all_are_asked_for(model, monkeypatch):
    measured(monkeypatch, dense=1.0, sparse=2.0)
    result = to_csr(model, IMAGES)
    assert {layer.reason for layer in result.layers[:2]} == {"the dense product is faster"}
    assert not any(isinstance(module, CsrLinear) for module in result.model.modules())
    assert [layer.converted for layer in to_csr(model, IMAGES, faster_only=False).layers] == [True, True, False, False]


def test_a_large_sparse_layer_is_faster_when_really_measured():
    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU())
        model[0].weight.data[torch.rand(2048, 2048) < 0.99] = 0
    (layer,) = to_csr(model, torch.ones(16, 2048), repeats=5).layers
    assert layer.converted
    assert layer.sparse_ms < layer.dense_ms
    assert layer.sparsity == pytest.approx(0.99, abs=0.001)


def test_layers_that_others_read_stay_as_they_are():
    with isolated_rng(0):
        encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        for parameter in encoder.parameters():
            parameter.data.mul_(torch.rand(parameter.shape) < 0.05)
    encoder.linear1.register_forward_hook(lambda *_: None)
    result = to_csr(nn.Sequential(encoder), torch.ones(2, 3, 8), minimum_sparsity=0, faster_only=False)
    assert {layer.name: layer.reason for layer in result.layers} == {
        "0.self_attn.out_proj": "NonDynamicallyQuantizableLinear is not a plain nn.Linear",
        "0.linear1": "TransformerEncoderLayer reads its weights itself",
        "0.linear2": "TransformerEncoderLayer reads its weights itself",
    }
    result.model(torch.ones(2, 3, 8))


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda layer: layer.register_forward_hook(lambda *_: None), "the layer has hooks"),
        (lambda layer: layer.bfloat16(), r"no sparse products in torch.bfloat16"),
    ],
)
def test_layers_that_can_not_be_converted_say_so(prepare, reason):
    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(4, 4))
    prepare(model[0])
    (layer,) = to_csr(model, torch.ones(2, 4, dtype=model[0].weight.dtype), minimum_sparsity=0).layers
    assert layer.reason == reason


def test_a_bare_linear_is_left_to_its_owner():
    with isolated_rng(0):
        (layer,) = to_csr(nn.Linear(3, 3), torch.ones(1, 3), minimum_sparsity=0).layers
    assert layer.reason == "the model itself is the layer"


def test_missing_kernel_leaves_the_layer_dense(model, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("addmm: needs MKL\nmore")

    monkeypatch.setattr(sparse_inference, "measure_latency_ms", fail)
    assert to_csr(model, IMAGES).layers[0].reason == "torch can't multiply sparse matrices here: addmm: needs MKL"


def test_bad_arguments_are_refused(model):
    with pytest.raises(UsageError, match="minimum_sparsity is 2, accepted are 0 to 1"):
        to_csr(model, IMAGES, minimum_sparsity=2)
    with pytest.raises(UnsupportedModelError, match="can't run on the example inputs"):
        to_csr(model, IMAGES.flatten())
