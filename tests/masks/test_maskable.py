import pytest
import torch
from torch import nn

from evoprune.errors import UsageError
from evoprune.masks.maskable import maskable_weights
from evoprune.rng import isolated_rng


class Mixed(nn.Module):
    """One layer of every kind, with a weight shared by two of them."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.conv = nn.Conv2d(1, 4, 3)
        self.up = nn.ConvTranspose2d(4, 2, 2)
        self.norm = nn.BatchNorm2d(2)
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.lstm = nn.LSTM(4, 3)
        self.plane = nn.LayerNorm((2, 3))
        self.act = nn.PReLU(4)
        self.stage = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3, bias=False))
        self.head = nn.Linear(4, 7)
        self.head.weight = self.embed.weight
        self.table = nn.Parameter(torch.zeros(2, 2, dtype=torch.long), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(2, 6))
        self.positions = nn.Parameter(torch.ones(1, 4, 4))
        self.layer_scale = nn.Parameter(torch.ones(4, 1, 1))


@pytest.fixture(scope="module")
def mixed():
    with isolated_rng(0):
        return Mixed()


def named(model, *layers, **options):
    return [weight.name for weight in maskable_weights(model, layers=layers or None, **options)]


def test_maskable_weights_are_all_of_two_dimensions_each_once(mixed):
    assert {weight.name: weight.kind for weight in maskable_weights(mixed)} == {
        "scale": "other",
        "embed.weight": "embedding",
        "conv.weight": "conv",
        "up.weight": "conv",
        "attention.in_proj_weight": "attention",
        "attention.out_proj.weight": "linear",
        "lstm.weight_ih_l0": "recurrent",
        "lstm.weight_hh_l0": "recurrent",
        "stage.0.weight": "linear",
        "stage.2.weight": "linear",
    }
    assert named(mixed) == [name for name, _ in mixed.named_parameters() if name in named(mixed)]


def test_maskable_weights_have_norm_scales_when_asked(mixed):
    added = set(named(mixed, include_norm_scales=True)) - set(named(mixed))
    assert added == {"norm.weight", "plane.weight"}


def test_maskable_weight_knows_shape_size_and_output_dimension(mixed):
    conv, up = maskable_weights(mixed, layers=["conv", "up"])
    assert (conv.shape, conv.size, conv.output_dim, conv.layer) == ((4, 1, 3, 3), 36, 0, "conv")
    assert (up.shape, up.output_dim) == ((4, 2, 2, 2), 1)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["lstm"], ["lstm.weight_ih_l0", "lstm.weight_hh_l0"]),
        (["stage.*", "conv", "conv"], ["conv.weight", "stage.0.weight", "stage.2.weight"]),
        (["lstm.weight_hh_l0"], ["lstm.weight_hh_l0"]),
        (["module.conv"], ["conv.weight"]),
        (["module.stage.?"], ["stage.0.weight", "stage.2.weight"]),
        (["scale"], ["scale"]),
        ([], []),
    ],
)
def test_layers_are_chosen_by_name_and_pattern(mixed, wanted, found):
    assert [weight.name for weight in maskable_weights(mixed, layers=wanted)] == found


def test_layers_of_a_wrapped_model_are_chosen_with_and_without_its_prefix(mixed):
    wrapped = nn.Sequential()
    wrapped.module = mixed
    assert named(wrapped, "conv") == named(wrapped, "module.conv") == ["module.conv.weight"]


def test_layer_of_a_bare_linear_is_its_parameter():
    with isolated_rng(0):
        (weight,) = maskable_weights(nn.Linear(2, 3))
    assert (weight.name, weight.layer) == ("weight", "weight")


def test_unknown_layer_is_refused_with_the_closest_first(mixed):
    with pytest.raises(UsageError, match=r"no layer 'stage.1x'.*layers with weights: stage\.[02], stage\.[02], .*conv"):
        maskable_weights(mixed, layers=["stage.1x"])
    with pytest.raises(UsageError, match=r"no layer 'foo\*'"):
        maskable_weights(mixed, layers=["conv", "foo*"])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("stage.1", r"'stage.1' \(ReLU\) has no weights of its own to mask \(layers with weights: "),
        ("module.act", r"'module.act' \(PReLU\) has no weights"),
        ("norm", r"'norm' \(BatchNorm2d\) has no weights"),
        ("stage", r"\(Sequential\) has no weights of its own to mask \(for the layers inside it, write stage\.\*\)"),
    ],
)
def test_layer_without_weights_is_refused(mixed, layer, message):
    with pytest.raises(UsageError, match=message):
        maskable_weights(mixed, layers=[layer])


def test_model_without_weights_is_refused():
    with pytest.raises(UsageError, match="Sequential has no weights to mask"):
        maskable_weights(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3)))
    with pytest.raises(UsageError, match=r"0\.weight has no shape yet"):
        maskable_weights(nn.Sequential(nn.LazyLinear(3)))
