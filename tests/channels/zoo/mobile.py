"""Depthwise, squeeze-excite, shuffle and ConvNeXt blocks."""

import torch
from torch import nn
from torch.nn import functional

from tests.channels.zoo.convnets import conv_norm


class SqueezeExcite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x):
        scale = self.expand(functional.relu(self.reduce(functional.adaptive_avg_pool2d(x, 1))))
        return x * functional.hardsigmoid(scale)


class InvertedResidual(nn.Module):
    def __init__(self, inputs, inner, outputs, stride=1, excite=False):
        super().__init__()
        self.expand = conv_norm(inputs, inner, 1)
        self.depth = nn.Sequential(
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.Hardswish()
        )
        self.excite = SqueezeExcite(inner) if excite else nn.Identity()
        self.project = nn.Sequential(nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        out = self.project(self.excite(self.depth(self.expand(x))))
        return x + out if self.residual else out


def mobilenet(excite=False):
    return nn.Sequential(
        conv_norm(3, 6, stride=2), InvertedResidual(6, 12, 8, excite=excite), InvertedResidual(8, 16, 8, excite=excite),
        InvertedResidual(8, 16, 10, 2, excite=excite), conv_norm(10, 14, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(14, 5),
    )  # fmt: skip


def shuffle(x, groups):
    batch, channels, height, width = x.shape
    x = x.view(batch, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(batch, -1, height, width)


class ShuffleUnit(nn.Module):
    def __init__(self, width, down=False):
        super().__init__()
        half = width // 2
        branch_in = width if down else half
        stride = 2 if down else 1
        self.down = down
        if down:
            self.left = nn.Sequential(
                nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False), nn.BatchNorm2d(width), conv_norm(width, half, 1)
            )  # fmt: skip
        self.right = nn.Sequential(
            conv_norm(branch_in, half, 1),
            nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False), nn.BatchNorm2d(half),
            conv_norm(half, half, 1),
        )  # fmt: skip

    def forward(self, x):
        if self.down:
            return shuffle(torch.cat((self.left(x), self.right(x)), 1), 2)
        keep, change = x.chunk(2, dim=1)
        return shuffle(torch.cat((keep, self.right(change)), 1), 2)


def shufflenet():
    return nn.Sequential(
        conv_norm(3, 8), ShuffleUnit(8, down=True), ShuffleUnit(8), ShuffleUnit(8), conv_norm(8, 12, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
    )  # fmt: skip


class GroupedShuffle(nn.Module):
    """ShuffleNet v1: grouped 1x1 convolutions with a shuffle between them."""

    def __init__(self):
        super().__init__()
        self.stem = conv_norm(3, 12)
        self.first, self.second = conv_norm(12, 18, 1, groups=3), conv_norm(18, 12, 1, groups=3)
        self.mix = nn.ChannelShuffle(3)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.second(self.mix(self.first(x)))
        return self.fc(x.mean((-2, -1)))


class ConvNextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depth = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(1e-6 * torch.ones(width))

    def forward(self, x):
        out = self.norm(self.depth(x).permute(0, 2, 3, 1))
        out = self.gamma * self.down(functional.gelu(self.up(out)))
        return x + out.permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.Sequential(ConvNextBlock(8), ConvNextBlock(8))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x)).mean((-2, -1))))
