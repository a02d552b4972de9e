import importlib.util
import json
import subprocess
import sys

import pytest
import torch

from evoprune.nn_utils.weights import weight_bytes
from evoprune.testing.tiny import tiny_recipe

TINY = "evoprune.testing.tiny:tiny_recipe"

OWN = """
import torch
from torch import nn

def pair():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), torch.randn(2, 4)

def alone():
    return nn.Linear(2, 2)

def with_arguments(width):
    return alone(), torch.randn(2, 2)

def wrong_inputs():
    return nn.Linear(2, 2), torch.randn(2, 3)

def nothing():
    return nn.Linear(2, 2), torch.randn(1, 2)

def packed():
    layers = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    return torch.ao.quantization.quantize_dynamic(layers, {nn.Linear}), torch.randn(1, 4)

class Spectral(nn.Linear):
    def forward(self, x):
        return super().forward(torch.fft.rfft(x).abs())

def spectral():
    return nn.Sequential(Spectral(5, 6), nn.ReLU(), nn.Linear(6, 3)), torch.randn(1, 8)

class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        hidden = self.first(x).relu()
        return {"logits": self.second(hidden), "hidden": hidden}

def both():
    return Both(), torch.randn(2, 4)

def logits(outputs):
    return outputs["logits"]

value = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the working directory."""
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_models", None)


def test_inspect_shows_groups_frozen_layers_and_costs(evoprune):
    done = evoprune("inspect", TINY)
    assert (done.code, done.err) == (0, "")
    assert "16 units in 2 groups" in done.out
    assert "reaches the model's output" in done.out
    assert "23,168" in done.out
    assert all(f"{ratio}%" in done.out for ratio in (25, 50, 75))


def test_inspect_takes_a_function_that_returns_model_and_inputs(evoprune, own):
    first, second = evoprune("inspect", "own_models:pair"), evoprune("inspect", "own_models:pair")
    assert first.code == 0
    assert "6 units in 1 group can" in first.out
    assert first.out == second.out


def test_inspect_writes_json_and_nothing_else(evoprune, own):
    document = json.loads(evoprune("inspect", "own_models:pair", "--json").out)
    assert document["model"] == "own_models:pair"
    assert [row["size"] for row in document["groups"]] == [6]
    assert [row["keep_ratio"] for row in document["outlooks"]] == [0.25, 0.5, 0.75]


def test_inspect_measures_sensitivity_and_says_whose_weights_these_are(evoprune):
    done = evoprune("inspect", TINY, "--sensitivity")
    assert done.code == 0
    assert "accuracy lost" in done.out
    assert "if it doesn't train the model" in done.out
    assert "--checkpoint" in done.out


def test_inspect_takes_trained_weights(evoprune, tmp_path):
    model, _, _ = tiny_recipe()
    with torch.no_grad():
        model.fc.bias[0] = 1000.0
    (tmp_path / "trained.safetensors").write_bytes(weight_bytes(model))
    found = json.loads(
        evoprune("inspect", TINY, "--sensitivity", "--json", "--checkpoint", tmp_path / "trained.safetensors").out
    )
    assert found["notes"] == []
    assert found["select_accuracy"] == pytest.approx(0.25, abs=0.2)
    assert [row["accuracy_lost"] for row in found["groups"]] == [0.0, 0.0]


def test_inspect_leaves_out_what_is_excluded(evoprune):
    found = json.loads(evoprune("inspect", TINY, "--json", "--exclude", "conv1").out)
    assert [row["name"] for row in found["groups"]] == ["conv2"]
    assert {"name": "conv1", "reason": "is excluded by 'conv1'"} in found["frozen"]


@pytest.mark.parametrize("said", ["logits", "own_models:logits"])
def test_inspect_leaves_what_is_not_used_of_the_outputs(evoprune, own, said):
    assert json.loads(evoprune("inspect", "own_models:both", "--json").out)["groups"] == []
    found = json.loads(evoprune("inspect", "own_models:both", "--json", "--outputs", said).out)
    assert [row["name"] for row in found["groups"]] == ["first"]


def test_inspect_says_which_outputs_there_are(evoprune, own):
    done = evoprune("inspect", "own_models:both", "--outputs", "logitz")
    assert done.code == 2
    assert "there is no 'logitz' in a dict with the keys logits, hidden" in " ".join(done.err.split())


def test_inspect_explains_a_model_without_anything_to_prune(evoprune, own):
    done = evoprune("inspect", "own_models:nothing")
    assert done.code == 0
    assert "0 units in 0 groups" in done.out
    assert "reaches the model's output" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], "is not one of the recipes"),
        (["own_models:nix"], "has no 'nix'"),
        (["no_such_module:x"], "no module 'no_such_module'"),
        (["own_models:value"], "is a int, not a function"),
        (["own_models:alone"], "must return (model, example_inputs)"),
        (["own_models:with_arguments"], "can't be called without arguments"),
        (["own_models:wrong_inputs"], "can't run on the example inputs"),
        (["own_models:pair", "--sensitivity"], "without a Task"),
        (["own_models:pair", "--data-dir", "."], "takes no data_dir"),
        (["own_models:pair", "--checkpoint", "missing.pth"], "does not exist"),
        ([TINY, "--checkpoint", "own_models.py"], "can't be read"),
        ([], "MODEL"),
    ],
)
def test_inspect_exits_with_two_when_something_has_to_be_fixed(evoprune, own, arguments, message):
    done = evoprune("inspect", *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_inspect_works_without_a_terminal_and_in_plain_ascii():
    command = [sys.executable, "-m", "evoprune", "inspect", TINY]
    done = subprocess.run(
        command,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={"PYTHONIOENCODING": "ascii", "TERM": "dumb"},
        check=False,
    )
    assert done.returncode == 0
    assert b"16 units in 2 groups" in done.stdout


def test_inspect_says_in_one_line_that_nothing_can_be_pruned(evoprune, own):
    done = evoprune("inspect", "own_models:nothing")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].startswith("note: nothing can be pruned from this model: the model itself: reaches")


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_inspect_refuses_a_quantised_model_in_one_line(evoprune, own):
    done = evoprune("inspect", "own_models:packed")
    assert done.code == 2
    assert done.err.splitlines()[0] == "error: 0 is quantised already: its weights are packed integers"


def test_inspect_names_what_macs_leave_out(evoprune, own):
    assert "MACs leave out aten::_fft_r2c: there is no formula." in evoprune("inspect", "own_models:spectral").out
    found = json.loads(evoprune("inspect", "own_models:spectral", "--json").out)
    assert (found["dense"]["uncounted"], found["dense"]["macs"]) == (["aten::_fft_r2c"], 5 * 6 + 6 * 3)


@pytest.mark.parametrize(("name", "package"), [("timm:resnet18", "timm"), ("hf:BertConfig", "transformers")])
def test_model_of_a_package_that_is_missing_is_refused_with_its_name(evoprune, name, package):
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    done = evoprune("inspect", name)
    assert done.code == 2
    assert f"{name} needs {package}, which isn't installed" in done.err


def test_inspect_takes_a_model_of_a_package_by_its_name(evoprune, tmp_path, monkeypatch):
    (tmp_path / "timm.py").write_text(
        "from torch import nn\n"
        "def create_model(name, pretrained):\n"
        "    if name != 'tiny':\n"
        "        raise RuntimeError(f'Unknown model ({name})')\n"
        "    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))\n"
        "    model.pretrained_cfg = {'input_size': (3, 6, 6)}\n"
        "    return model\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    done = evoprune("inspect", "timm:tiny", "--json")
    assert [group["name"] for group in json.loads(done.out)["groups"]] == ["0"]
    refused = evoprune("inspect", "timm:other")
    assert refused.code == 2
    assert "timm can't make other: RuntimeError: Unknown model (other)" in refused.err
    monkeypatch.delitem(sys.modules, "timm", raising=False)
