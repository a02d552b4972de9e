"""Networks that are more than their weights, and what people set on them after they are built."""

import collections
import enum
import functools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

FEATURES = 6


class Mode(enum.Enum):
    """How to end."""

    PLAIN = 1
    DOUBLED = 2


class Options:
    """An object of the user's."""

    def __init__(self):
        self.gain = 1.0


class Altered(nn.Module):
    """Reads everything that can be set on it: [n, 6] -> [n, 3]."""

    constant = 1.0

    def __init__(self):
        super().__init__()
        self.first, self.last, self.activation = nn.Linear(FEATURES, 16), nn.Linear(16, 3), nn.ReLU()
        self.drop = nn.Dropout(0.1)
        self.register_buffer("std", torch.ones(FEATURES), persistent=False)
        self.temperature, self.rounds, self.negate, self.mode, self.end = 1.0, 3, False, "mean", Mode.PLAIN
        self.mean, self.parts = torch.zeros(FEATURES), [torch.ones(FEATURES), torch.zeros(FEATURES)]
        self.table = {"shift": torch.zeros(FEATURES), 3: (1, 2.5)}
        self.array, self.extra, self.function, self.options = (
            np.zeros(FEATURES, np.float32),
            None,
            functional.relu,
            Options(),
        )
        self._hidden = 1.0

    @property
    def hidden(self):
        return self._hidden

    @hidden.setter
    def hidden(self, value):
        self._hidden = value

    def forward(self, x):
        x = (
            (x - self.mean) / self.std * self.parts[0]
            + self.parts[1]
            - self.table["shift"]
            + torch.from_numpy(self.array)
        )
        y = self.last(self.drop(self.function(self.activation(self.first(x))))) / self.temperature
        y = y * self.constant * self._hidden * self.options.gain * getattr(self, "late", 1.0) * self.table[3][1]
        for number in range(self.rounds):
            y = y + 0.1 * number
        y = y if self.extra is None else y + self.extra
        y = y * 2 if self.end is Mode.DOUBLED else y
        y = y if self.mode == "mean" else y.cumsum(1)
        return -y if self.negate else y


class Mixed(nn.Module):
    """Layers of several precisions."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, 8), nn.Linear(8, 3)
        self.register_buffer("offset", torch.arange(3))

    def forward(self, x):
        for layer in (self.first, self.second, self.last):
            x = layer(x.to(layer.weight.dtype)).relu()
        return x + self.offset


class Complex(nn.Module):
    """Complex weights, and a complex buffer and constant outside the state dict."""

    def __init__(self):
        super().__init__()
        self.first, self.weight = nn.Linear(FEATURES, 16), nn.Parameter(torch.randn(16, 3, dtype=torch.complex64))
        self.register_buffer("phase", torch.ones(FEATURES, dtype=torch.complex64), persistent=False)
        self.turn = torch.ones(3, dtype=torch.complex128)

    def forward(self, x):
        y = self.first((x * self.phase).real.to(self.first.weight.dtype)).relu().to(self.weight.dtype)
        return ((y @ self.weight) * self.turn).real


class Remembering(nn.Module):
    """Keeps what the last batch left, and calibrates itself on the first one."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, 3)
        self.seen, self.cache, self.calls, self.scale = None, {}, 0, None

    def forward(self, x):
        if self.scale is None:
            self.scale = x.detach().abs().mean()
        y = self.first(x / self.scale).relu()
        self.calls += 1
        self.seen, self.cache[len(x)] = y, torch.ones(len(x), 1)
        return self.last(y) * self.cache[len(x)]


def setting(**values):
    """A change that sets attributes."""

    def change(model):
        for name, value in values.items():
            setattr(model, name, value)

    return change


PLAIN = {
    "nothing": setting(),
    "number": setting(temperature=50.0),
    "integer": setting(rounds=7),
    "integer for a float": setting(temperature=2),
    "numpy number": setting(temperature=np.float64(3.3)),
    "flag": setting(negate=True),
    "text": setting(mode="sum"),
    "tensor": setting(mean=torch.full((FEATURES,), 100.0)),
    "tensor for a number": setting(temperature=torch.tensor(3.0)),
    "tensor for nothing": setting(extra=torch.ones(3)),
    "tensors in a list": lambda model: model.parts.__setitem__(1, torch.full((FEATURES,), 5.0)),
    "tensors in a dict": lambda model: model.table.update({"shift": torch.ones(FEATURES), 3: (1, 9.0)}),
    "array": setting(array=np.ones(FEATURES, np.float32)),
    "buffer": lambda model: model.std.fill_(20.0),
    "through a property": setting(hidden=4.0),
    "new": setting(late=6.0),
    "of a part": lambda model: setattr(model.drop, "p", 0.9),
    "containers": setting(
        note=(1, [2, {"a": None}], {1, 2}, frozenset("ab"), range(3), b"x", torch.Size([1]), 1 + 2j, float("nan")),
        order=collections.OrderedDict(b=1, a=torch.float16),
    ),
}
"""Changes that plain data can say."""

OTHER = {
    "module": lambda model: setattr(model, "activation", nn.GELU()),
    "function": setting(function=torch.tanh),
    "function of the user": setting(function=lambda x: x * 2),
    "partial": setting(function=functools.partial(functional.leaky_relu, negative_slope=0.5)),
    "enum": setting(end=Mode.DOUBLED),
    "object": lambda model: setattr(model.options, "gain", 7.0),
    "hook": lambda model: model.first.register_forward_hook(lambda module, inputs, output: output * 3),
    "forward": lambda model: setattr(model.last, "forward", lambda x: functional.linear(x, model.last.weight) * 3),
}
"""Changes that no plain data can say."""
