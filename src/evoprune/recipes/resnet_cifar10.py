"""ResNets for CIFAR-10 and the recipes around them. The attributes have the names that checkpoints on the web use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoprune.data.augmentation import Augmentation
from evoprune.data.task import Task
from evoprune.datasets.images import image_task, load_images
from evoprune.events import Listener, ignore
from evoprune.recipes.shipped import ShippedWeights, split_seed
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree

AUGMENTATION: Final = Augmentation(padding=4, flip=True)


class PaddedShortcut(nn.Module):
    """Option A of He et al.: every other pixel, and zeros for the channels that the input lacks, half before and half after.

    Written as a 1x1 convolution with a fixed selection matrix, a buffer. The function is that of slicing and padding, to the bit;
    but the padding of a pruned network has no closed form (which channels are missing is a list, no longer two counts), and
    a matrix can lose rows and columns like any weight. It adds 0.13 million MACs a stage, 0.6 % of ResNet-20's.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out; `outputs - inputs` is even and not negative.
        stride: Pixels per step.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        selection = torch.zeros(outputs, inputs, 1, 1)
        before = (outputs - inputs) // 2
        selection[torch.arange(inputs) + before, torch.arange(inputs)] = 1.0
        # Fixed by the shape, so no part of the state: checkpoints of this network that others trained have no such tensor.
        self.register_buffer("selection", selection, persistent=False)

    selection: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, outputs, h / stride, w / stride]."""
        return functional.conv2d(features, self.selection, stride=self.stride)


def shortcut(inputs: int, outputs: int, *, stride: int, projection: bool) -> nn.Module:
    """What goes around a block: nothing, or what changes the shape to that of the block's result."""
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    if not projection:
        return PaddedShortcut(inputs, outputs, stride=stride)
    convolution = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm around which the input is added.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Stride of the first convolution.
        projection: Whether a shortcut that changes the shape is a learned 1x1 convolution (option B) or fixed (option A).
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, projection: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut(inputs, outputs, stride=stride, projection=projection)

    def forward(self, features: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, outputs, h / stride, w / stride]."""
        hidden = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(hidden)) + self.shortcut(features))


class CifarResNet(nn.Module):
    """A residual network of basic blocks for 32 x 32 images: a 3x3 stem, stages that halve the image, mean, linear layer.

    Args:
        widths: Channels of each stage.
        blocks: Blocks of each stage, as many as there are widths.
        projection: See `BasicBlock`.
    Source:
        He et al. 2016, Deep Residual Learning for Image Recognition, section 4.2, arXiv:1512.03385.
    """

    def __init__(self, *, widths: Sequence[int], blocks: Sequence[int], projection: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs, self.stages = widths[0], len(widths)
        for index, (outputs, count) in enumerate(zip(widths, blocks, strict=True)):
            strides = [1 if index == 0 else 2, *[1] * (count - 1)]
            stage = nn.Sequential()
            for stride in strides:
                stage.append(BasicBlock(inputs, outputs, stride=stride, projection=projection))
                inputs = outputs
            self.add_module(f"layer{index + 1}", stage)
        self.linear = nn.Linear(inputs, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Images [n, 3, 32, 32] float32, normalised -> logits [n, 10]."""
        features = functional.relu(self.bn1(self.conv1(images)))
        for index in range(self.stages):
            features = self.get_submodule(f"layer{index + 1}")(features)
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits


class ResNet18(CifarResNet):
    """ResNet-18 for small images: four stages of two blocks, 64 to 512 channels, option B; 11.17 million parameters."""

    def __init__(self) -> None:
        super().__init__(widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2), projection=True)


class ResNet20(CifarResNet):
    """ResNet-20: three stages of three blocks, 16 to 64 channels, option A; 0.27 million parameters."""

    def __init__(self) -> None:
        super().__init__(widths=(16, 32, 64), blocks=(3, 3, 3), projection=False)


class ResNet56(CifarResNet):
    """ResNet-56: three stages of nine blocks, 16 to 64 channels, option A; 0.85 million parameters."""

    def __init__(self) -> None:
        super().__init__(widths=(16, 32, 64), blocks=(9, 9, 9), projection=False)


def resnet18_cifar10(
    *, data_dir: Path | None = None, select_size: int = 5000, seed: int = 0, notify: Listener = ignore
) -> tuple[nn.Module, Task, Tensor]:
    """The recipe `resnet18-cifar10`: an untrained `ResNet18` and the task of naming what a small photograph shows.

    Args:
        data_dir: Folder with CIFAR-10 in its binary layout, or the folder above; cache and download are used when None.
        select_size: Images cut from the 50,000 training images for scoring candidates.
        seed: Decides the initial weights; the split is always the same.
        notify: Called with each event of a download.

    Returns:
        Model, task, and example inputs [1, 3, 32, 32] float32.

    Raises:
        DataError: The data can't be had or is damaged, or `select_size` is out of range.
    """
    return _recipe(ResNet18, "resnet18-cifar10", data_dir=data_dir, select_size=select_size, seed=seed, notify=notify)


def resnet20_cifar10(
    *,
    data_dir: Path | None = None,
    select_size: int = 5000,
    seed: int = 0,
    pretrained: bool = True,
    notify: Listener = ignore,
) -> tuple[nn.Module, Task, Tensor]:
    """The recipe `resnet20-cifar10`: a `ResNet20`, trained unless told otherwise; see `resnet18_cifar10`.

    Args:
        data_dir: Folder with CIFAR-10 in its binary layout, or the folder above; cache and download are used when None.
        select_size: Images cut from the training images for scoring candidates, up to 5,000 for the trained network.
        seed: Decides the initial weights; the split is always the same.
        pretrained: Whether the network gets the weights that come with the package.
        notify: Called with each event of a download.

    Returns:
        Model, task, and example inputs [1, 3, 32, 32] float32.

    Raises:
        DataError: The data can't be had or is damaged, or `select_size` is out of range.
    """
    model, task, example = _recipe(
        ResNet20, "resnet20-cifar10", data_dir=data_dir, select_size=select_size, seed=seed, notify=notify
    )
    if pretrained:
        ShippedWeights("resnet20-cifar10").put_into(model, task, notify)
    return model, task, example


def resnet56_cifar10(
    *, data_dir: Path | None = None, select_size: int = 5000, seed: int = 0, notify: Listener = ignore
) -> tuple[nn.Module, Task, Tensor]:
    """The recipe `resnet56-cifar10`: an untrained `ResNet56`; all else is as in `resnet18_cifar10`."""
    return _recipe(ResNet56, "resnet56-cifar10", data_dir=data_dir, select_size=select_size, seed=seed, notify=notify)


def _recipe(
    network: Callable[[], CifarResNet],
    name: str,
    *,
    data_dir: Path | None,
    select_size: int,
    seed: int,
    notify: Listener,
) -> tuple[nn.Module, Task, Tensor]:
    with isolated_rng(SeedTree(seed).child("recipe", name, "initialise").seed):
        model = network()
    data = load_images("cifar-10", directory=data_dir, notify=notify)
    task = image_task(data, select_size=select_size, seed=split_seed("cifar-10"), augmentation=AUGMENTATION)
    return model, task, torch.zeros(1, 3, 32, 32)
