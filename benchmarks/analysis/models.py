"""The networks of this benchmark: ResNets as He et al. 2016 describe them, and one small network per fault."""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations


def conv_norm(into, out, kernel, stride=1):
    return nn.Sequential(nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out))


class Basic(nn.Module):
    expansion = 1

    def __init__(self, into, width, stride):
        super().__init__()
        self.one, self.two = conv_norm(into, width, 3, stride), conv_norm(width, width, 3)
        self.shortcut = conv_norm(into, width, 1, stride) if stride > 1 or into != width else nn.Identity()

    def forward(self, x):
        return functional.relu(self.two(functional.relu(self.one(x))) + self.shortcut(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, into, width, stride):
        super().__init__()
        out = width * self.expansion
        self.one, self.two, self.three = (
            conv_norm(into, width, 1), conv_norm(width, width, 3, stride), conv_norm(width, out, 1)
        )  # fmt: skip
        self.shortcut = conv_norm(into, out, 1, stride) if stride > 1 or into != out else nn.Identity()

    def forward(self, x):
        y = self.three(functional.relu(self.two(functional.relu(self.one(x)))))
        return functional.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, block, depths, classes, *, small_images):
        super().__init__()
        self.stem = conv_norm(3, 64, 3) if small_images else conv_norm(3, 64, 7, 2)
        self.pool = nn.Identity() if small_images else nn.MaxPool2d(3, 2, 1)
        blocks, into = [], 64
        for stage, depth in enumerate(depths):
            for number in range(depth):
                blocks.append(block(into, 64 * 2**stage, 2 if stage and not number else 1))
                into = 64 * 2**stage * block.expansion
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(into, classes)

    def forward(self, images):
        x = self.blocks(self.pool(functional.relu(self.stem(images))))
        return self.head(x.mean((2, 3)))


def resnet50():
    return ResNet(Bottleneck, (3, 4, 6, 3), 1000, small_images=False)


def resnet18():
    return ResNet(Basic, (2, 2, 2, 2), 1000, small_images=False)


def cifar_resnet18():
    return ResNet(Basic, (2, 2, 2, 2), 10, small_images=True)


class Plain(nn.Module):
    """Convolution, what `middle` does, convolution, classifier."""

    def __init__(self, after=8):
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.head = nn.Conv2d(after, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, x):
        y = functional.relu(self.norm(self.conv1(x)))
        return self.head(functional.relu(self.conv2(self.middle(x, y))).mean((2, 3)))

    def middle(self, x, y):
        return y


class ConcatInput(Plain):
    def __init__(self):
        super().__init__(after=11)

    def middle(self, x, y):
        return torch.cat([x, y], 1)


class ConcatFrozen(Plain):
    """The other branch has parameters that take no gradient."""

    def __init__(self):
        super().__init__(after=13)
        self.branch = nn.Conv2d(3, 5, 1).requires_grad_(False)

    def middle(self, x, y):
        return torch.cat([self.branch(x), y], 1)


class Shuffle(Plain):
    def middle(self, x, y):
        batch, channels, height, width = y.shape
        return y.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


class Grouped(Plain):
    """A grouped convolution between the two: its input and its output both come in groups."""

    def __init__(self):
        super().__init__(after=12)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=4)

    def middle(self, x, y):
        return functional.relu(self.grouped(y))


class UnbalancedChunk(Plain):
    def middle(self, x, y):
        one, two = y.split([3, 5], 1)
        return torch.cat([one.relu(), two.sigmoid()], 1)


class Tied(Plain):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.two.weight = self.one.weight

    def middle(self, x, y):
        return functional.relu(self.two(functional.relu(self.one(y))))


class NoGradBranch(Plain):
    """A branch that is computed without gradients joins the main path."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Conv2d(8, 8, 1)

    def middle(self, x, y):
        with torch.no_grad():
            side = self.branch(y)
        return y + side


class WeightNorm(Plain):
    def __init__(self):
        super().__init__()
        self.normed = parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1))

    def middle(self, x, y):
        return functional.relu(self.normed(y))


def all_frozen():
    return Plain().requires_grad_(False)


FAULTS = {
    "a plain network, as a control": (Plain, [0, 3, 5]),
    "concat with the input": (ConcatInput, [0, 3, 5]),
    "concat with a branch of frozen parameters": (ConcatFrozen, [0, 3, 5]),
    "channel shuffle": (Shuffle, [0, 3, 5]),
    "grouped convolution, its input": (Grouped, [0, 2]),
    "grouped convolution, its output": (Grouped, [0, 3, 4], "grouped"),
    "unbalanced chunk": (UnbalancedChunk, [0, 3, 5]),
    "tied weights": (Tied, [0, 3, 5], "one"),
    "branch under no_grad": (NoGradBranch, [0, 3, 5]),
    "weight_norm": (WeightNorm, [0, 3, 5]),
    "all parameters frozen": (all_frozen, [0, 3, 5]),
    "index given twice": (Plain, [0, 0, 3]),
    "negative index": (Plain, [-1, 3]),
    "index out of range": (Plain, [3, 8]),
}
"""`{fault: (network, output channels to remove when asked by number, of this layer (conv1))}`."""


def randomise(model, seed=0):
    """Weights and statistics at random, no two alike, in float64 and evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            value = torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * 0.4
            tensor.copy_(value.abs() + 0.5 if name.endswith("running_var") else value)
    return model.eval()
