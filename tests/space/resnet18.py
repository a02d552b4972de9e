"""ResNet-18 for CIFAR images, as He et al. 2016 adapted: 3x3 stem, four stages of two blocks, no pooling before them."""

from itertools import pairwise

from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, into, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or into != out:
            self.shortcut = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.Sequential(
            *(
                block
                for stage, (into, out) in enumerate(pairwise(widths))
                for block in (Block(into, out, 1 if stage == 0 else 2), Block(out, out, 1))
            )
        )
        self.head = nn.Linear(8 * width, 10)

    def forward(self, images):
        features = self.blocks(functional.relu(self.norm(self.stem(images))))
        return self.head(features.mean((2, 3)))
