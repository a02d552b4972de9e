"""A recipe whose names would steer a terminal, mark up a page and lead out of a directory."""

from collections import OrderedDict

from torch import nn

from evoprune.testing.tiny import tiny_recipe

NAME = "../[red]b\x1b[31mX\x1b]0;pwn\x07<img src=x>$x^$".replace(".", "")


class Hostile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        ]
        self.body = nn.Sequential(OrderedDict((f"{number}{NAME}", layer) for number, layer in enumerate(layers)))

    def forward(self, x):
        return self.body(x)


Hostile.__name__ = Hostile.__qualname__ = f"Hostile{NAME}"


def recipe(*, seed=0):
    _, task, inputs = tiny_recipe(seed=seed)
    return Hostile(), task, inputs


def failing(*, seed=0):
    raise ValueError(NAME)
