"""The classical LeNet-5 for MNIST and the recipes around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoprune.data.task import Task
from evoprune.datasets.images import image_task, load_images
from evoprune.errors import ConfigError
from evoprune.events import Listener, ignore
from evoprune.recipes.shipped import ShippedWeights, split_seed
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree

ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {"relu": functional.relu, "tanh": torch.tanh}


class LeNet5(nn.Module):
    """Two 5x5 convolutions with max-pooling, then three linear layers; 28 x 28 images, 10 classes, 61,706 parameters.

    Args:
        activation: `relu` or `tanh`.

    Raises:
        ConfigError: The activation is another one.

    Source:
        LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition, without its trainable pooling, its sparse
        table of connections and its radial basis functions.
    """

    def __init__(self, *, activation: str = "relu") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(f"activation is {activation!r}, {' or '.join(ACTIVATIONS)} accepted")
        self.activation = activation
        # The original's images are 32 x 32; padding makes up for the four pixels that MNIST's lack.
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images [n, 1, 28, 28] float32, normalised -> logits [n, 10]."""
        activate = ACTIVATIONS[self.activation]
        # Max-pool, then activate: both are monotone, so the order makes no difference but to the time.
        features = activate(functional.max_pool2d(self.conv1(images), 2))
        features = activate(functional.max_pool2d(self.conv2(features), 2))
        hidden = activate(self.fc1(torch.flatten(features, 1)))
        hidden = activate(self.fc2(hidden))
        logits: Tensor = self.fc3(hidden)
        return logits

    def extra_repr(self) -> str:
        """The activation, which no layer shows."""
        return f"activation={self.activation}"


class TanhLeNet5(LeNet5):
    """`LeNet5` with the original's kind of activation."""

    def __init__(self) -> None:
        super().__init__(activation="tanh")


def lenet5_mnist(
    *,
    data_dir: Path | None = None,
    select_size: int = 6000,
    seed: int = 0,
    pretrained: bool = True,
    notify: Listener = ignore,
) -> tuple[nn.Module, Task, Tensor]:
    """The recipe `lenet5-mnist`: a `LeNet5`, trained unless told otherwise, and the task of reading handwritten digits.

    Args:
        data_dir: Folder with the four MNIST files, raw or gzipped IDX; cache and downloads are used when None.
        select_size: Images cut from the 60,000 training images for scoring candidates, up to 6,000 for the trained network.
        seed: Decides the initial weights of an untrained network; the split is always the same.
        pretrained: Whether the network gets the weights that come with the package.
        notify: Called with each event of a download.

    Returns:
        Model, task, and example inputs [1, 1, 28, 28] float32.

    Raises:
        DataError: The data can't be had or is damaged, or `select_size` is out of range.
    """
    model, task, example = _recipe(LeNet5, data_dir=data_dir, select_size=select_size, seed=seed, notify=notify)
    if pretrained:
        ShippedWeights("lenet5-mnist").put_into(model, task, notify)
    return model, task, example


def lenet5_tanh_mnist(
    *, data_dir: Path | None = None, select_size: int = 6000, seed: int = 0, notify: Listener = ignore
) -> tuple[nn.Module, Task, Tensor]:
    """The recipe `lenet5-tanh-mnist`: an untrained `TanhLeNet5`; arguments, results and errors are those of `lenet5_mnist`."""
    return _recipe(TanhLeNet5, data_dir=data_dir, select_size=select_size, seed=seed, notify=notify)


def _recipe(
    network: Callable[[], nn.Module], *, data_dir: Path | None, select_size: int, seed: int, notify: Listener
) -> tuple[nn.Module, Task, Tensor]:
    with isolated_rng(SeedTree(seed).child("recipe", "lenet5", "initialise").seed):
        model = network()
    data = load_images("mnist", directory=data_dir, notify=notify)
    task = image_task(data, select_size=select_size, seed=split_seed("mnist"))
    return model, task, torch.zeros(1, 1, 28, 28)
