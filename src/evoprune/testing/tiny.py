"""A recipe that runs in a second: small images of coloured stripes, and a CNN for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoprune.data.task import Task
from evoprune.data.tensors import Preprocessing, TensorSource
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree

CLASSES = 4
SIDE = 8


class TinyCNN(nn.Module):
    """Two convolutions with BatchNorm and a linear layer: images [n, 3, 8, 8] -> logits [n, 4].

    Args:
        width: Channels of each convolution.
    """

    def __init__(self, *, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * (SIDE // 4) ** 2, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits for a batch."""
        features = functional.relu(functional.max_pool2d(self.bn1(self.conv1(images)), 2))
        features = functional.relu(functional.max_pool2d(self.bn2(self.conv2(features)), 2))
        logits: Tensor = self.fc(features.flatten(1))
        return logits


def tiny_recipe(*, seed: int = 0, select_size: int = 64) -> tuple[nn.Module, Task, Tensor]:
    """An untrained `TinyCNN` and 512 noisy images of stripes, whose direction and colour make four classes."""
    seeds = SeedTree(seed).child("tiny")
    with isolated_rng(seeds.child("model").seed):
        model = TinyCNN()
    images, labels = _striped_images(704, torch.Generator().manual_seed(seeds.child("data").seed))
    rows = torch.arange(len(labels))
    preprocessing = Preprocessing((0.5,) * 3, (0.25,) * 3)
    test_rows, select_rows, train_rows = rows[:128], rows[128 : 128 + select_size], rows[128 + select_size :]
    train, select, test = (
        TensorSource(images, labels, preprocessing, part) for part in (train_rows, select_rows, test_rows)
    )
    return model, Task(train, select, test), torch.zeros(1, 3, SIDE, SIDE)


def _striped_images(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.randint(CLASSES, (count,), generator=generator)
    noise = torch.randint(0, 120, (count, 3, SIDE, SIDE), generator=generator)
    stripes = (torch.arange(SIDE) % 4 < 2).long() * 90
    horizontal = stripes.view(1, SIDE, 1).expand(1, SIDE, SIDE)
    vertical = stripes.view(1, 1, SIDE).expand(1, SIDE, SIDE)
    for label in range(CLASSES):
        chosen = labels == label
        noise[chosen, label // 2] += (horizontal if label % 2 else vertical).squeeze(0)
    return noise.clamp(0, 255).to(torch.uint8), labels
