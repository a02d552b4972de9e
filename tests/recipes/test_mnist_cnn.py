import pytest
import torch
from torch.nn import functional

from evoprune.errors import DataError
from evoprune.recipes.fashion_mnist_cnn import fashion_mnist_cnn
from evoprune.recipes.mnist_cnn import MnistCNN, mnist_cnn


def test_forward_gives_ten_logits_whatever_the_widths(seeded_torch):
    images = torch.randn(2, 1, 28, 28)
    assert MnistCNN()(images).shape == (2, 10)
    assert MnistCNN(conv1=3, conv2=5, fc1=7)(images).shape == (2, 10)


def test_forward_is_the_network_that_activates_before_it_pools(seeded_torch):
    model, images = MnistCNN().eval(), torch.randn(4, 1, 28, 28)
    features = functional.max_pool2d(functional.relu(model.bn1(model.conv1(images))), 2)
    features = functional.max_pool2d(functional.relu(model.bn2(model.conv2(features))), 2)
    expected = model.fc2(functional.relu(model.fc1(features.flatten(1))))
    assert torch.equal(model(images), expected)


def test_mnist_cnn_returns_model_task_and_example_inputs_that_fit(real_mnist):
    model, task, example = mnist_cnn()
    assert model(example).shape == (1, 10)
    assert (len(task.train), len(task.select), len(task.test)) == (54_000, 6_000, 10_000)
    images, _ = next(task.train.batches(8, device=torch.device("cpu"), seed=0))
    assert images.shape == (8, *example.shape[1:])
    assert images.dtype == example.dtype == torch.float32


def test_mnist_cnn_depends_on_its_seed_alone(real_mnist):
    (first, task, _), (again, same, _), (other, split, _) = (mnist_cnn(seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert task.select.rows.equal(same.select.rows)
    assert not task.select.rows.equal(split.select.rows)


@pytest.mark.slow
def test_fashion_mnist_cnn_has_other_images_and_class_names(real_mnist):
    try:
        _, task, _ = fashion_mnist_cnn()
    except DataError as error:
        pytest.skip(f"real Fashion-MNIST can't be had here: {error.message}")
    assert task.class_names[0] == "T-shirt/top"
    assert not torch.equal(task.test.images, real_mnist.test_images)
