"""A plain net, small enough for loops and finite differences."""

import torch
from torch import nn
from torch.nn import functional

from evoprune.rng import isolated_rng
from tests.channels.nets import randomise


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 3, 2)
        self.fc1, self.fc2 = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        x = functional.softplus(self.bn1(self.conv1(x)))
        x = torch.tanh(self.conv2(x)).mean((2, 3))
        return self.fc2(torch.tanh(self.fc1(x)))


def small():
    with isolated_rng(0):
        return randomise(Small().double())


def batches(sizes=(3, 2)):
    generator = torch.Generator().manual_seed(5)
    return [
        (torch.randn(n, 2, 6, 6, generator=generator).double(), torch.randint(0, 2, (n,), generator=generator))
        for n in sizes
    ]
