"""Networks that are awkward to split into what depends on a layer and what does not."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from evoprune.data.batches import Batch
from evoprune.data.trees import map_tensors


class Residual(nn.Module):
    """Images [n, 3, 8, 8] -> logits [n, 4]: shortcut with weights, joins in place, a depthwise layer and two kinds of pooling."""

    def __init__(self, *, inplace):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.two, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.shortcut, self.bn3 = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.pool = nn.ReLU(inplace=inplace), nn.MaxPool2d(3, 2, padding=1)
        self.fc, self.inplace = nn.Linear(8 * 2 * 2, 4), inplace
        self.eval()

    def forward(self, x):
        x = self.relu(functional.max_pool2d(self.stem(x), 2))
        y = self.bn2(self.two(self.relu(self.bn1(self.one(x)))))
        if self.inplace:
            y += self.bn3(self.shortcut(x))
        else:
            y = y + self.bn3(self.shortcut(x))
        y = self.pool(self.relu(y))
        return self.fc(y.flatten(1))


class Words(nn.Module):
    """Tokens [n, t] and a factor [n, 1] -> logits and the state they come from, by attention and a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.rnn = nn.LSTM(8, 6, batch_first=True)
        self.fc = nn.Linear(6, 3)
        self.eval()

    def forward(self, tokens, scale):
        states, _ = self.rnn(self.block(self.embed(tokens)))
        last = states[:, -1] * scale
        return {"logits": self.fc(last), "states": (last, [states])}


def images(count):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(7))


def randomised(model):
    """Give BatchNorm layers statistics and factors that matter."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.uniform_(0.5, 1.5)
    return model.eval()


class OneBatch:
    """The part of a `Source` that a replay reads: one batch of any inputs."""

    def __init__(self, inputs):
        self.inputs = inputs

    def batches(self, batch_size, *, device, seed=None):
        yield Batch(map_tensors(self.inputs, lambda tensor: tensor.to(device)), torch.zeros(2), 2)
