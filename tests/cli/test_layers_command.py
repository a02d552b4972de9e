import json
import sys

import pytest

TINY = "evoprune.testing.tiny:tiny_recipe"

OWN = """
import torch
from torch import nn

def recurrent():
    return nn.Sequential(nn.LSTM(4, 3)), torch.randn(3, 1, 4)

def nothing():
    return nn.ReLU(), torch.randn(1, 2)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_layers.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_layers", None)


def test_layers_lists_what_can_be_masked_and_how_to_name_it(evoprune):
    done = evoprune("layers", TINY)
    assert (done.code, done.err) == (0, "")
    assert "920 weights in 3 layers" in done.out
    assert "8 x 3 x 3 x 3" in done.out
    assert "--layer takes these names" in done.out
    assert "bn1" not in done.out


def test_layers_writes_json_of_what_a_pattern_stands_for(evoprune):
    found = json.loads(evoprune("layers", TINY, "--layer", "module.conv*", "--json").out)
    assert [row["layer"] for row in found["layers"]] == ["conv1", "conv2"]
    assert sum(row["share"] for row in found["layers"]) == pytest.approx(1)
    assert found["layers"][0]["shape"] == [8, 3, 3, 3]


def test_layers_lists_norm_scales_when_asked(evoprune):
    found = json.loads(evoprune("layers", TINY, "--norm-scales", "--json").out)
    assert [row["layer"] for row in found["layers"]] == ["conv1", "bn1", "conv2", "bn2", "fc"]


def test_layers_names_parameters_where_a_layer_has_several(evoprune, own):
    done = evoprune("layers", "own_layers:recurrent")
    assert "84 weights in 1 layer can" in done.out
    assert "0.weight_ih_l0" in done.out
    assert "0.weight_hh_l0" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TINY, "--layer", "cnv1"), "there is no layer 'cnv1'"),
        ((TINY, "--layer", "bn1"), "has no weights of its own"),
        (("own_layers:nothing",), "has no weights to mask"),
        (("nosuch",), "is not one of the recipes"),
    ],
)
def test_layers_exits_with_two_when_something_has_to_be_fixed(evoprune, own, arguments, message):
    done = evoprune("layers", *arguments)
    assert done.code == 2
    assert message in done.err


def test_layers_suggests_the_closest_name_first(evoprune):
    assert "layers with weights: conv2, conv1" in evoprune("layers", TINY, "--layer", "cnv2").err
