import pytest
import torch
from torch import nn
from torch.ao.quantization import QConfig, default_observer, default_weight_observer
from torch.utils._pytree import tree_map

import evoprune as ep
from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.quantised import packed_weights, require_unquantised

pytestmark = [
    pytest.mark.usefixtures("seeded_torch"),
    pytest.mark.filterwarnings("ignore:.*deprecated"),
    pytest.mark.filterwarnings("ignore:.*Please use quant_min"),
]


class Scaled(nn.Module):
    """A linear layer of small integers with a scale for each output, as many packages have it."""

    def __init__(self, weight, name="weight", *, scale="scale"):
        super().__init__()
        if isinstance(weight, nn.Parameter):
            self.register_parameter(name, weight)
        else:
            self.register_buffer(name, weight)
        self.name = name
        setattr(self, scale, nn.Parameter(torch.ones(4)))

    def forward(self, x):
        return x @ getattr(self, self.name).float().t()


class Boxed(torch.Tensor):
    """A tensor that wraps another, as torchao's do."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    def __tensor_flatten__(self):
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner, meta, size, stride):
        return Boxed(inner["inner"])

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        opened = tree_map(lambda one: one.inner if isinstance(one, Boxed) else one, (args, kwargs or {}))
        result = func(*opened[0], **opened[1])
        return Boxed(result) if func is torch.ops.aten.detach.default else result


def boxed():
    layer = nn.Linear(6, 4)
    layer.weight = nn.Parameter(Boxed(torch.randn(4, 6)), requires_grad=False)
    return layer


def dynamic(*layers):
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(*layers), {nn.Linear, nn.LSTM})


def static():
    model = nn.Sequential(
        torch.ao.quantization.QuantStub(),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.ReLU(),
        nn.Conv2d(6, 2, 1),
        torch.ao.quantization.DeQuantStub(),
    ).eval()
    model.qconfig = QConfig(activation=default_observer, weight=default_weight_observer)
    torch.ao.quantization.prepare(model, inplace=True)
    model(torch.randn(2, 4, 8, 8))
    return torch.ao.quantization.convert(model)


INTEGERS = torch.ones(4, 6, dtype=torch.int8)
QUANTISED = {
    "dynamic": (lambda: dynamic(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), "0 is quantised already"),
    "dynamic LSTM": (lambda: dynamic(nn.LSTM(6, 4)), "0.*packed integers"),
    "static": (static, "1 is quantised already: its weights are packed integers"),
    "a parameter of bytes": (lambda: Scaled(nn.Parameter(INTEGERS, requires_grad=False)), "the model .*weight .* int8"),
    "a buffer of bytes": (lambda: nn.Sequential(Scaled(INTEGERS, "values")), "0 is quantised .*values is of type int8"),
    "a packed buffer": (lambda: Scaled(torch.ones(4, 6, dtype=torch.int32), "qweight"), "qweight is of type int32"),
    "floats of 8 bits": (lambda: Scaled(torch.ones(4, 6).to(torch.float8_e4m3fn), "table"), "float8_e4m3fn"),
    "a wrapped tensor": (lambda: nn.Sequential(nn.Linear(6, 6), boxed()), "1 is quantised .*weight is a Boxed"),
}


@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_model_is_refused_in_one_line(kind):
    build, message = QUANTISED[kind]
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        ep.analyze(build(), torch.randn(2, 6))
    assert "\n" not in str(caught.value)
    assert "quantise the pruned one" in caught.value.hint


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(3, 2, dtype=torch.bfloat16),
        Scaled(torch.ones(4, 6, dtype=torch.uint8), "mask", scale="gain"),
        Scaled(torch.ones(4, 6, dtype=torch.int64), "positions"),
        Scaled(torch.ones(4, dtype=torch.int8), "weight"),
    ],
    ids=["half precision", "mask", "positions", "vector"],
)
def test_ordinary_numbers_and_masks_are_not_taken_for_quantised(model):
    require_unquantised(model)
    assert packed_weights(model) == []


def test_packed_layers_count_as_the_layers_they_were_made_of():
    layers = (nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4, bias=False))
    inputs = torch.randn(3, 6)
    plain, packed = ep.count(nn.Sequential(*layers), inputs), ep.count(dynamic(*layers), inputs)
    assert (packed.macs, packed.uncounted) == (plain.macs, ()) == (6 * 5 + 5 * 4, ())
    assert packed.params == plain.params == 6 * 5 + 5 + 5 * 4
    assert 50 + 4 * 5 <= packed.size_bytes < plain.size_bytes


def test_packed_convolutions_count_as_the_layers_they_were_made_of():
    counted = ep.count(static(), torch.randn(1, 4, 8, 8))
    assert (counted.macs, counted.uncounted) == (36 * 6 * 2 * 9 + 36 * 2 * 6, ())
    assert counted.params == 6 * 2 * 9 + 6 + 2 * 6 + 2


def test_packed_recurrent_layer_counts_as_the_layer_it_was_made_of():
    layer, inputs = nn.LSTM(6, 4, num_layers=2, bidirectional=True), torch.randn(5, 2, 6)
    plain, packed = ep.count(layer, inputs, samples=2), ep.count(dynamic(layer), inputs, samples=2)
    assert (packed.macs, packed.params, packed.uncounted) == (plain.macs, plain.params, ())
