"""A small CNN for MNIST and the recipe around it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoprune.data.task import Task
from evoprune.datasets.images import image_task, load_images
from evoprune.events import Listener, ignore
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree


class MnistCNN(nn.Module):
    """Two blocks of 3x3 convolution, BatchNorm, max-pool and ReLU, then two linear layers; 28 x 28 images, 10 classes.

    Args:
        conv1: Channels of the first convolution.
        conv2: Channels of the second convolution.
        fc1: Features of the hidden linear layer.
    """

    def __init__(self, *, conv1: int = 32, conv2: int = 64, fc1: int = 128) -> None:
        super().__init__()
        # BatchNorm follows and has a shift of its own, so the convolutions need no bias.
        self.conv1 = nn.Conv2d(1, conv1, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(conv1)
        self.conv2 = nn.Conv2d(conv1, conv2, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(conv2)
        self.fc1 = nn.Linear(conv2 * 7 * 7, fc1)
        self.fc2 = nn.Linear(fc1, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images [n, 1, 28, 28] float32, normalised -> logits [n, 10]."""
        # Max-pool, then ReLU: both are monotone, so this is the same function as ReLU, then max-pool, on a quarter of the
        # elements (measured: 29.3 s an epoch against 34.0).
        features = functional.relu(functional.max_pool2d(self.bn1(self.conv1(images)), 2))
        features = functional.relu(functional.max_pool2d(self.bn2(self.conv2(features)), 2))
        hidden = functional.relu(self.fc1(torch.flatten(features, 1)))
        logits: Tensor = self.fc2(hidden)
        return logits


def mnist_cnn(
    *, data_dir: Path | None = None, select_size: int = 6000, seed: int = 0, notify: Listener = ignore
) -> tuple[nn.Module, Task, Tensor]:
    """The recipe `mnist-cnn`: an untrained `MnistCNN` and the task of reading handwritten digits.

    Args:
        data_dir: Folder with the four MNIST files, raw or gzipped IDX; cache and downloads are used when None.
        select_size: Images cut from the 60,000 training images for scoring candidates.
        seed: Decides the initial weights and the split.
        notify: Called with each event of a download.

    Returns:
        Model, task, and example inputs [1, 1, 28, 28] float32.

    Raises:
        DataError: The data can't be had or is damaged, or `select_size` leaves nothing to train on.
    """
    return cnn_recipe("mnist", data_dir=data_dir, select_size=select_size, seed=seed, notify=notify)


def cnn_recipe(
    dataset: str, *, data_dir: Path | None, select_size: int, seed: int, notify: Listener
) -> tuple[nn.Module, Task, Tensor]:
    """`MnistCNN` for any data set of MNIST's shape that `load_images` knows by name."""
    seeds = SeedTree(seed).child("recipe", dataset)
    with isolated_rng(seeds.child("initialise").seed):
        model = MnistCNN()
    data = load_images(dataset, directory=data_dir, notify=notify)
    task = image_task(data, select_size=select_size, seed=seeds.child("split").seed)
    return model, task, torch.zeros(1, 1, 28, 28)
