"""The MNIST CNN on Fashion-MNIST: same shapes, harder images."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from evoprune.data.task import Task
from evoprune.events import Listener, ignore
from evoprune.recipes.mnist_cnn import cnn_recipe


def fashion_mnist_cnn(
    *, data_dir: Path | None = None, select_size: int = 6000, seed: int = 0, notify: Listener = ignore
) -> tuple[nn.Module, Task, Tensor]:
    """The recipe `fashion-mnist-cnn`; arguments, results and errors are those of `mnist_cnn`."""
    return cnn_recipe("fashion-mnist", data_dir=data_dir, select_size=select_size, seed=seed, notify=notify)
