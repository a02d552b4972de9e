"""Networks that users bring."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.rng import isolated_rng
from tests.run.mask_directories import comparison, journal, live, masks, steps


class Transformer(nn.Module):
    """Eight tokens of 24 numbers from an image, one block, a head."""

    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(24, 4, 32, batch_first=True)
        self.fc = nn.Linear(24, 4)

    def forward(self, images):
        return self.fc(self.block(images.reshape(len(images), 8, 24)).mean(1))


class Upsampling(nn.Module):
    """A transposed convolution with more outputs than inputs, as decoders have."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 10, 2, stride=2)
        self.fc = nn.Linear(10, 4)

    def forward(self, images):
        return self.fc(self.up(self.down(images).relu()).relu().mean((2, 3)))


class GroupedUpsampling(Upsampling):
    """The same in two groups, of five outputs each."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(6, 10, 2, stride=2, groups=2)


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(192, 16)
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 16)
        self.two.weight = self.one.weight
        self.fc = nn.Linear(16, 4)

    def forward(self, images):
        return self.fc(self.two(self.one(self.first(images.flatten(1)).relu()).relu()).relu())


class Frozen(nn.Module):
    """A first layer that does not learn."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(192, 16).requires_grad_(False)
        self.fc = nn.Linear(16, 4)

    def forward(self, images):
        return self.fc(self.first(images.flatten(1)).relu())


class Half(nn.Module):
    """Weights of half the bits."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(192, 16).bfloat16()
        self.fc = nn.Linear(16, 4).bfloat16()

    def forward(self, images):
        return self.fc(self.first(images.flatten(1).bfloat16()).relu()).float()


class Recurrent(nn.Module):
    """A GRU over eight steps: one layer of two weight tensors."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(24, 12, batch_first=True)
        self.fc = nn.Linear(12, 4)

    def forward(self, images):
        return self.fc(self.gru(images.reshape(len(images), 8, 24))[0][:, -1])


class Wrapped(nn.Module):
    """Behind DataParallel's name."""

    def __init__(self):
        super().__init__()
        self.module = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, images):
        return self.module(images)


KINDS = [Transformer, Upsampling, GroupedUpsampling, Tied, Frozen, Half, Recurrent, Wrapped]


@pytest.fixture
def network():
    def build(kind):
        with isolated_rng(0):
            return kind()

    return build


@pytest.mark.parametrize("kind", KINDS)
def test_network_is_masked_to_the_goal_and_loads_again(mask_run, network, kind, seeded_torch):
    directory = mask_run(source=live(model=network(kind)))
    model = ep.load(directory / "artifact", factory=kind)
    found = masks(directory)
    weights, kept = sum(one.size for one in found.values()), sum(int(one.sum()) for one in found.values())
    assert weights - kept == weights - round(0.4 * weights)
    parameters = dict(model.named_parameters())
    assert all(bool((parameters[name].detach()[torch.from_numpy(~mask)] == 0).all()) for name, mask in found.items())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["layers", "independent"])
@pytest.mark.parametrize("kind", KINDS)
def test_network_is_masked_layer_by_layer(mask_run, network, kind, mode, seeded_torch):
    directory = mask_run(source=live(model=network(kind)), masks={"mode": mode}, training={"finetune_steps": 1})
    assert steps(directory)[-1]["sparsity"] == pytest.approx(0.6, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["rows", "columns", "4x4"])
def test_transposed_convolution_is_masked_in_its_own_directions(mask_run, network, structure, seeded_torch):
    directory = mask_run(source=live(model=network(Upsampling)), masks={"structure": structure, "goals": [0.4]})
    mask = masks(directory)["up.weight"]
    if structure == "rows":
        assert set(mask.sum(axis=(0, 2, 3))) <= {0, 6 * 4}
    if structure == "columns":
        assert set(mask.sum(axis=(1, 2, 3))) <= {0, 10 * 4}


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["unstructured", "2:4", "columns"])
def test_every_output_of_a_grouped_transposed_convolution_lives(mask_run, network, structure, seeded_torch):
    masked = {"layers": ["up"], "structure": structure, "goals": [0.65]}
    directory = mask_run(source=live(model=network(GroupedUpsampling)), masks=masked)
    mask = masks(directory)["up.weight"]
    by_output = np.concatenate([np.moveaxis(group, 1, 0) for group in np.split(mask, 2)])
    assert by_output.reshape(10, -1).any(axis=1).all()


def test_weights_of_frozen_layers_stay_what_they_were(mask_run, network, seeded_torch):
    model = network(Frozen)
    directory = mask_run(source=live(model=model))
    found, kept = ep.load(directory / "artifact", factory=Frozen), torch.from_numpy(masks(directory)["first.weight"])
    assert torch.equal(found.first.weight[kept], model.first.weight[kept])


def test_tied_weights_are_masked_once_and_stay_tied(mask_run, network, seeded_torch):
    directory = mask_run(source=live(model=network(Tied)))
    model = ep.load(directory / "artifact", factory=Tied)
    assert model.one.weight is model.two.weight
    assert set(masks(directory)) == {"first.weight", "one.weight", "fc.weight"}


@pytest.mark.slow
def test_layer_of_several_weights_has_one_sparsity(mask_run, network, seeded_torch):
    directory = mask_run(source=live(model=network(Recurrent)))
    rows = [row for row in comparison(directory)["layers"] if row["layer"] == "gru"]
    assert len(rows) == 2
    assert steps(directory)[-1]["layer_sparsity"]["gru"] == 1 - sum(row["kept"] for row in rows) / sum(
        row["weights"] for row in rows
    )


RECIPE = """
import evoprune as ep
from evoprune.testing.tiny import tiny_recipe

def recipe(seed=0):
    return tiny_recipe(seed=seed)
"""


@pytest.mark.slow
def test_own_recipe_is_masked_from_the_command_line(tmp_path):
    (tmp_path / "my_pkg").mkdir()
    (tmp_path / "my_pkg" / "__init__.py").touch()
    (tmp_path / "my_pkg" / "mod.py").write_text(RECIPE)
    settings = (
        "search.encoding=weight-bits", "training.epochs=1", "masks.goals=[0.3,0.5]", "ga.pop_size=4",
        "ga.num_generations=1", "masks.min_class_accuracy=0", "masks.structure=2:4",
    )  # fmt: skip
    arguments = [part for one in settings for part in ("--set", one)]
    code = "from evoprune.cli.app import main; main()"
    command = [sys.executable, "-c", code, "run", "my_pkg.mod:recipe", "--out", "out", *arguments]
    first = subprocess.run(
        [*command, "--set", "masks.goals=[0.5]"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert first.returncode == 0, first.stderr
    assert comparison(Path(tmp_path / "out"))["pruned"]["sparsity"] >= 0.5
    assert len(journal(Path(tmp_path / "out"))) == 4
    wrong = subprocess.run([*command, "--layer", "conv3"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
