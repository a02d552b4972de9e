import hashlib

import pytest
import torch

from evoprune.datasets.images import ImageData, image_task
from evoprune.events import Decision
from evoprune.nn_utils.weights import read_weights
from evoprune.objectives.accuracy import score
from evoprune.recipes.lenet5 import LeNet5, lenet5_mnist
from evoprune.recipes.resnet_cifar10 import ResNet20, resnet20_cifar10
from evoprune.recipes.shipped import FOLDER, ShippedWeights, label_order

CPU = torch.device("cpu")
NETWORKS = {"lenet5-mnist": LeNet5, "resnet20-cifar10": ResNet20}


def test_every_weights_file_has_a_card_and_a_recipe():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(
        f"{name}.{kind}" for name in NETWORKS for kind in ("json", "safetensors")
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_card_is_of_the_file_and_says_what_matters(name, seeded_torch):
    shipped = ShippedWeights(name)
    card = shipped.card()
    assert hashlib.sha256(shipped.path.read_bytes()).hexdigest() == card["sha256"]
    assert sum(parameter.numel() for parameter in NETWORKS[name]().parameters()) == card["parameters"]
    assert f"benchmarks/weights/train.py {name}" in card["command"]
    assert 0.8 < card["test_accuracy"] < 1


def test_weights_reach_the_network_of_the_recipe(real_mnist):
    model, _, _ = lenet5_mnist()
    assert model.fc1.weight.equal(read_weights(ShippedWeights("lenet5-mnist").path)["fc1.weight"])


@pytest.mark.slow
def test_recipe_says_so_when_the_images_come_in_another_order(tiny_cifar, real_mnist):
    heard = []
    resnet20_cifar10(data_dir=tiny_cifar, select_size=30, notify=heard.append)
    assert [type(event) for event in heard] == [Decision]
    assert "another order" in heard[0].detail
    heard.clear()
    resnet20_cifar10(data_dir=tiny_cifar, select_size=30, pretrained=False, notify=heard.append)
    lenet5_mnist(notify=heard.append)
    assert [event for event in heard if isinstance(event, Decision)] == []


def test_label_order_is_that_of_the_labels_alone():
    labels = torch.tensor([3, 1, 2])
    assert label_order(labels) == label_order(labels.clone()) != label_order(labels.flip(0))


def accuracy_on(data: ImageData, rows: int | None = None) -> float:
    """The shipped ResNet-20's accuracy on the first test images."""
    task = image_task(data, select_size=5000, seed=0)
    model = ResNet20()
    ShippedWeights("resnet20-cifar10").put_into(model, task, lambda event: None)
    test = task.test if rows is None else task.test.head(rows)
    return score(model, test, task.metric, device=CPU, batch_size=250)


def test_shipped_resnet20_is_about_as_accurate_as_its_card_says(real_cifar, seeded_torch):
    # The copy at hand may be another one than that of the card.
    assert accuracy_on(real_cifar, 500) == pytest.approx(
        ShippedWeights("resnet20-cifar10").card()["test_accuracy"], abs=0.05
    )


@pytest.mark.slow
def test_shipped_resnet20_reaches_what_its_card_says(real_cifar, seeded_torch):
    card = ShippedWeights("resnet20-cifar10").card()
    if label_order(real_cifar.train_labels) != card["label_order"]:
        pytest.skip("another copy of CIFAR-10 than the one of the card")
    assert accuracy_on(real_cifar) == pytest.approx(card["test_accuracy"], abs=1e-3)
