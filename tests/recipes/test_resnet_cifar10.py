from pathlib import Path

import pytest
import torch
from torch.nn import functional

import evoprune as ep
from evoprune.datasets.images import load_images
from evoprune.errors import DataError
from evoprune.nn_utils.weights import weights_of
from evoprune.recipes.resnet_cifar10 import PaddedShortcut, ResNet18, ResNet20, ResNet56, resnet20_cifar10
from evoprune.recipes.shipped import split_seed

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("network", "parameters", "layers"), [(ResNet18, 11_173_962, 18), (ResNet20, 269_722, 20), (ResNet56, 853_018, 56)]
)
def test_network_has_the_published_number_of_parameters_and_layers(seeded_torch, network, parameters, layers):
    model = network().eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    weighted = [m for name, m in model.named_modules() if hasattr(m, "weight") and "shortcut" not in name]
    assert sum(module.weight.dim() > 1 for module in weighted) == layers
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("channels", [(16, 32), (3, 9), (4, 4)])
def test_padded_shortcut_is_slicing_and_padding_to_the_bit(seeded_torch, channels):
    features, missing = torch.randn(2, channels[0], 8, 8), channels[1] - channels[0]
    expected = functional.pad(features[:, :, ::2, ::2], (0, 0, 0, 0, missing // 2, missing // 2))
    assert torch.equal(PaddedShortcut(*channels, stride=2)(features), expected)


def test_padded_shortcut_leaves_the_state_to_what_is_learnt(seeded_torch):
    assert not any("shortcut" in name for name in weights_of(ResNet20()))
    assert {"layer2.0.shortcut.0.weight", "layer4.1.bn2.bias", "linear.weight"} <= weights_of(ResNet18()).keys()


@pytest.mark.parametrize(
    ("network", "units"),
    # Every block's inner channels, and each stage's sum as one group.
    [
        (ResNet20, 3 * 112 + 112),
        (ResNet18, 2 * 960 + 960),
        pytest.param(ResNet56, 9 * 112 + 112, marks=pytest.mark.slow),
    ],
)
def test_channel_pruning_equals_the_masked_network(seeded_torch, network, units):
    model, example = network(), torch.randn(1, 3, 32, 32)
    space = ep.analyze(model, example)
    assert sum(group.size for group in space.groups) == units
    ep.verify(model, space.random_plan(keep=0.5, seed=0), example)


@pytest.mark.slow
def test_shortcuts_of_a_pruned_network_lose_the_channels_that_went(seeded_torch):
    model, example = ResNet20(), torch.randn(1, 3, 32, 32)
    small = ep.prune(model, ep.analyze(model, example).random_plan(keep=0.5, seed=0))
    assert small.layer2[0].shortcut.selection.shape == (16, 8, 1, 1)


def test_recipe_reads_cifar_from_the_users_folder_or_the_one_above(tiny_cifar: Path):
    model, task, example = resnet20_cifar10(data_dir=tiny_cifar, select_size=30, pretrained=False)
    assert model.eval()(example).shape == (1, 10)
    assert (len(task.train), len(task.select), len(task.test)) == (70, 30, 20)
    again = resnet20_cifar10(data_dir=tiny_cifar.parent, select_size=30, pretrained=False)[1]
    assert task.train.images.equal(again.train.images)


def test_images_and_labels_are_those_of_the_files(tiny_cifar: Path):
    data = load_images("cifar-10", directory=tiny_cifar)
    second = (tiny_cifar / "data_batch_2.bin").read_bytes()[:3073]
    assert int(data.train_labels[20]) == second[0]
    assert bytes(data.train_images[20].flatten().tolist()) == second[1:]
    assert data.test_images.shape == (20, 3, 32, 32)


def test_training_images_alone_are_augmented(tiny_cifar: Path):
    _, task, _ = resnet20_cifar10(data_dir=tiny_cifar, select_size=30, pretrained=False)
    assert task.train.augmentation is not None
    assert task.select.augmentation is task.test.augmentation is None


def test_recipe_names_the_file_that_is_missing_or_damaged(tiny_cifar: Path):
    (tiny_cifar / "data_batch_3.bin").write_bytes(bytes(100))
    with pytest.raises(DataError, match=r"data_batch_3\.bin is cut short"):
        resnet20_cifar10(data_dir=tiny_cifar)
    (tiny_cifar / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"has no data_batch_3\.bin"):
        resnet20_cifar10(data_dir=tiny_cifar)


def test_recipe_says_what_to_do_when_the_data_cannot_be_had(tiny_cifar: Path):
    with pytest.raises(DataError, match="CIFAR-10 can't be had") as caught:
        resnet20_cifar10()
    assert "data_batch_1.bin" in caught.value.hint


def test_split_never_changes():
    assert split_seed("cifar-10") == 5090960526572762826
