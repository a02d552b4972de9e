"""Widths that a network's own methods read later follow a cut, where it is clear what they are the width of."""

import math

import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune

IMAGES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)


class Timm(nn.Module):
    """As timm's networks are: the classifier can be taken off and exchanged."""

    def __init__(self, classes=5):
        super().__init__()
        self.num_features = self.head_hidden_size = 16
        self.num_classes = 16
        self.stem, self.body, self.inner = (nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 1))
        self.fc = nn.Linear(self.num_features, 16)

    def get_classifier(self):
        return self.fc

    def reset_classifier(self, classes):
        self.fc = nn.Linear(self.num_features, classes)

    def forward(self, x):
        return self.fc(self.inner(self.body(self.stem(x).relu()).relu()).relu().mean((2, 3)))


class Plain(nn.Module):
    """Without a method that names the classifier, which lies inside a part."""

    def __init__(self):
        super().__init__()
        self.feature_dim, self.last_channel, self.side = 24, 24, 24
        self.body = nn.Sequential(nn.Conv2d(3, 24, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(24, 5))

    def forward(self, x):
        return self.head(self.body(x))


class Scaled(Plain):
    """Reads one of them as it runs: what it computes must stay the same."""

    def forward(self, x):
        return super().forward(x) / math.sqrt(self.feature_dim)


class Several(Plain):
    """Two layers read as many features."""

    def __init__(self):
        super().__init__()
        self.second = nn.Linear(24, 3)

    def forward(self, x):
        features = self.body(x)
        return self.head(features), self.second(features)


def cut(kind, keep=0.5):
    model = kind().eval()
    before = list(vars(model))
    space = analyze(model, IMAGES)
    assert list(vars(model)) == before
    return prune(model, space.random_plan(keep, 0))


def test_classifier_can_be_exchanged_after_a_cut(seeded_torch):
    small = cut(Timm)
    features = small.fc.in_features
    assert (small.num_features, small.head_hidden_size, small.num_classes) == (features, features, 16)
    assert features == 8
    small.reset_classifier(3)
    assert small(IMAGES).shape == (2, 3)


def test_features_are_those_of_the_only_layer_that_reads_them(seeded_torch):
    small = cut(Plain)
    assert (small.feature_dim, small.last_channel, small.head[1].in_features) == (12, 12, 12)
    assert small.side == 24


def test_width_that_is_read_as_the_network_runs_is_left(seeded_torch):
    small = cut(Scaled)
    assert (small.feature_dim, small.last_channel, small.head[1].in_features) == (24, 12, 12)


@pytest.mark.parametrize("kind", [Several])
def test_width_that_may_be_that_of_several_layers_is_left(seeded_torch, kind):
    small = cut(kind)
    assert (small.feature_dim, small.head[1].in_features) == (24, 12)
