"""Random networks over tokens [batch, tokens, width]: attention, recurrence, mixing and gates in any order."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tests.channels.zoo.tokens import Attention, OldAttention, SeparateAttention

TOKENS = 6


class Gated(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x):
        one, two = self.up(x).chunk(2, -1)
        return self.down(functional.silu(one) * two)


class SelfAttention(nn.Module):
    def __init__(self, width, heads, layout):
        super().__init__()
        self.layout = layout
        self.attn = nn.MultiheadAttention(width, heads, batch_first=layout)

    def forward(self, x):
        x = x if self.layout else x.transpose(0, 1)
        x = self.attn(x, x, x)[0]
        return x if self.layout else x.transpose(0, 1)


class Recurrent(nn.Module):
    def __init__(self, kind, width, hidden, both):
        super().__init__()
        self.rnn = kind(width, hidden, batch_first=True, bidirectional=both)

    def forward(self, x):
        return self.rnn(x)[0]


class OverTokens(nn.Module):
    """A layer applied with tokens and width swapped."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.transpose(1, 2)).transpose(1, 2)


class Position(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, TOKENS, width))

    def forward(self, x):
        return x + self.table


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


FUNCTIONS = (
    functional.gelu,
    lambda x: x.softmax(-1),
    lambda x: x * x.mean(1, keepdim=True).sigmoid(),
    lambda x: x.roll(1, 1),
    lambda x: torch.cat([x[:, 1:], x[:, :1]], 1),
    lambda x: x.unflatten(-1, (2, -1)).flip(-2).flatten(-2),
    lambda x: x.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2),
    lambda x: functional.normalize(x, dim=-1),
    lambda x: functional.layer_norm(x, x.shape[-1:]),
    lambda x: torch.softmax(x @ x.transpose(1, 2), -1) @ x,
    lambda x: torch.cat([x, x.cumsum(1)], -1)[..., : x.shape[-1]],
    lambda x: x.reshape(x.shape[0], 2, -1, x.shape[-1]).amax(1).repeat(1, 2, 1),
)


class RandomTokens(nn.Module):
    def __init__(self, first, blocks, joins, last):
        super().__init__()
        self.first, self.blocks, self.last = first, nn.ModuleList(blocks), last
        self.joins = joins

    def forward(self, x):
        x = self.first(x)
        for block, join in zip(self.blocks, self.joins, strict=True):
            y = block(x)
            x = y if join == "replace" else x + y if join == "add" else torch.cat([x, y], -1)
        return self.last(x)


def random_tokens(seed, length=5):
    """-> a model for inputs [batch, TOKENS, 5]."""
    rng = np.random.default_rng(seed)
    width = int(rng.choice([8, 12]))
    first, blocks, joins = nn.Linear(5, width), [], []
    for _ in range(length):
        block, produced = _block(rng, width)
        choices = ["replace", "add", "add"] if produced == width else ["replace"]
        join = str(rng.choice([*choices, "cat"] if width + produced <= 24 else choices))
        blocks.append(block)
        joins.append(join)
        width = width + produced if join == "cat" else produced
    return RandomTokens(first, blocks, joins, nn.Linear(width, 3))


def _block(rng, width):
    kind = int(rng.integers(14))
    heads = 2 if width % 4 else 4
    hidden = int(rng.choice([6, 8]))
    simple = {
        0: lambda: nn.LayerNorm(width), 1: lambda: nn.RMSNorm(width), 2: lambda: Gated(width, hidden), 3: lambda: Position(width),
        4: lambda: SelfAttention(width, heads, bool(rng.integers(2))), 5: lambda: Attention(width, heads),
        6: lambda: OldAttention(width, heads), 7: lambda: SeparateAttention(width, 3, 4),
        8: lambda: OverTokens(nn.Sequential(nn.Linear(TOKENS, 7), nn.GELU(), nn.Linear(7, TOKENS))),
        9: lambda: OverTokens(nn.Conv1d(width, width, 3, padding=1, groups=int(rng.choice([1, 2, width])))),
        10: lambda: Function(FUNCTIONS[int(rng.integers(len(FUNCTIONS)))]),
        11: lambda: Function(FUNCTIONS[int(rng.integers(len(FUNCTIONS)))]),
    }  # fmt: skip
    if kind in simple:
        return simple[kind](), width
    if kind == 12:
        return nn.Linear(width, hidden), hidden
    both = bool(rng.integers(2))
    return Recurrent([nn.LSTM, nn.GRU, nn.RNN][int(rng.integers(3))], width, hidden, both), hidden * (1 + both)
