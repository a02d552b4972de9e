"""One operation at a time: which channels of the first layer stay prunable after it, and as how many units."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.space.analysis import trace_space

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Between(nn.Module):
    """A convolution to 8 channels, an operation, and a layer that reads what comes out."""

    def __init__(self, operation, reader):
        super().__init__()
        self.first, self.reader = nn.Conv2d(3, 8, 1), reader
        self.operation = operation

    def forward(self, x):
        return self.reader(self.operation(self.first(x)))


def units(operation, channels, tokens=False):
    """-> (units of the first layer, reason why there are none)."""
    reader = nn.LazyLinear(2) if tokens else nn.LazyConv2d(2, 1)
    model = Between(operation, reader)
    inputs = torch.randn(2, 3, 4, 4)
    model(inputs)
    assert (reader.in_features if tokens else reader.in_channels) == channels
    space = trace_space(model, inputs)
    size = {group.name: group.size for group in space.groups}.get("first", 0)
    return size, {item.name: item.reason for item in space.frozen}.get("first", "")


MOVEMENT = {
    "permute": (lambda y: y.permute(0, 2, 3, 1), 8, True, 8),
    "transpose": (lambda y: y.transpose(2, 3), 8, False, 8),
    "flatten": (lambda y: y.flatten(1), 128, True, 8),
    "tokens": (lambda y: y.flatten(2).transpose(1, 2), 8, True, 8),
    "squeeze": (lambda y: y[:, :, :1, :1].squeeze(-1).squeeze(-1), 8, True, 8),
    "flip": (lambda y: y.flip(1), 8, False, 8),
    "repeat": (lambda y: y.repeat(1, 2, 1, 1), 16, False, 8),
    "repeat_interleave": (lambda y: y.unsqueeze(2).expand(-1, -1, 3, -1, -1).flatten(1, 2), 24, False, 8),
    "split into two": (lambda y: y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2), 8, False, 4),
    "fold into batch": (lambda y: y.unflatten(1, (2, -1)).flatten(0, 1), 4, False, 4),
    "clone": (lambda y: y.clone(memory_format=torch.channels_last).contiguous().float(), 8, False, 8),
    "roll space": (lambda y: y.roll((1, 1), (2, 3)), 8, False, 8),
    "index space": (lambda y: y[:, :, torch.tensor([0, 2])][..., ::2], 8, False, 8),
}
SELECTION = {
    "cat": (lambda y: torch.cat([y, y.relu()], 1), 16, False, 8),
    "stack": (lambda y: torch.stack([y, y]).mean(0), 8, False, 8),
    "chunk": (lambda y: torch.mul(*y.chunk(2, 1)), 4, False, 4),
    "halves": (lambda y: y[:, :4] * y[:, 4:], 4, False, 4),
    "pad space": (lambda y: functional.pad(y, (1, 1, 1, 1), mode="reflect"), 8, False, 8),
    "pad channels": (lambda y: functional.pad(y, (0, 0, 0, 0, 2, 1)), 11, False, 8),
    "pixel_shuffle": (lambda y: functional.pixel_shuffle(y, 2), 2, False, 2),
    "pixel_unshuffle": (lambda y: functional.pixel_unshuffle(y, 2), 32, False, 8),
    "channel_shuffle": (lambda y: functional.channel_shuffle(y, 4), 8, False, 2),
    "unfold": (lambda y: functional.unfold(y, 2).transpose(1, 2), 32, True, 8),
    "fold": (lambda y: functional.fold(functional.unfold(y, 3, padding=1), (4, 4), 3, padding=1), 8, False, 8),
    "glu": (lambda y: functional.glu(y, 1), 4, False, 4),
}
POINTWISE = {
    "relu": (lambda y: y.relu_(), 8, False, 8),
    "scalar": (lambda y: (y * 2 + 1).clamp(0, 6) / 3, 8, False, 8),
    "where": (lambda y: torch.where(y > 0, y, 0.1 * y), 8, False, 8),
    "masked_fill": (lambda y: y.masked_fill(y < 0, -1.0), 8, False, 8),
    "hardswish": (functional.hardswish, 8, False, 8),
    "zeros_like": (lambda y: y + torch.zeros_like(y), 8, False, 8),
    "gate": (lambda y: y * y.mean((2, 3), keepdim=True).sigmoid(), 8, False, 8),
    "broadcast": (lambda y: y + torch.ones(4, 4), 8, False, 8),
}
REDUCTION = {
    "mean": (lambda y: y.mean((2, 3)), 8, True, 8),
    "amax": (lambda y: y.amax((-2, -1), keepdim=True), 8, False, 8),
    "max": (lambda y: y.max(3)[0].max(2)[0], 8, True, 8),
    "max_pool": (lambda y: functional.max_pool2d(y, 2), 8, False, 8),
    "avg_pool": (lambda y: functional.avg_pool2d(y, 2), 8, False, 8),
    "adaptive": (lambda y: functional.adaptive_avg_pool2d(y, 3), 8, False, 8),
    "interpolate": (lambda y: functional.interpolate(y, scale_factor=2, mode="bilinear"), 8, False, 8),
    "softmax over space": (lambda y: y.flatten(2).softmax(-1).mean(-1), 8, True, 8),
    "normalise over space": (lambda y: functional.normalize(y.flatten(2), dim=2).sum(2), 8, True, 8),
}
REFUSED = {
    "softmax": (lambda y: y.softmax(1), 8, False, "mixed over all its channels by aten._softmax"),
    "mean": (
        lambda y: y.mean(1, keepdim=True).expand(-1, 8, -1, -1),
        8,
        False,
        "mixed over all its channels by aten.mean",
    ),
    "cumsum": (lambda y: y.cumsum(1), 8, False, "aten.cumsum"),
    "sort": (lambda y: y.sort(1)[0], 8, False, "aten.sort"),
    "index": (lambda y: y[:, [0, 2, 4]], 3, False, "indexed by fixed positions"),
    "every other": (lambda y: y[:, ::2], 4, False, "sliced at fixed positions"),
    "odd slice": (lambda y: y[:, :5], 5, False, "sliced at fixed positions"),
    "unequal split": (lambda y: y.split([3, 5], 1)[0], 3, False, "parts of unequal size"),
    "select": (lambda y: y[:, 3:4] + y[:, 3].unsqueeze(1), 1, False, "one position at a time"),
    "roll": (lambda y: y.roll(1, 1), 8, False, "indexed by fixed positions"),
    "fixed tensor": (lambda y: y + torch.arange(8.0).view(1, 8, 1, 1), 8, False, "fixed size"),
    "crop channels": (lambda y: functional.pad(y, (0, 0, 0, 0, -1, -1)), 6, False, "padded or cropped"),
    "fft": (lambda y: torch.fft.fft(y, dim=1).real, 8, False, "no rule for"),
    "determinant": (
        lambda y: y + torch.linalg.det(y.unflatten(1, (2, 4)).mean(-1))[:, :, None, None].mean(),
        8,
        False,
        "",
    ),
}


@pytest.mark.parametrize(
    ("operation", "channels", "tokens", "expected"),
    [
        pytest.param(*case, id=name)
        for family in (MOVEMENT, SELECTION, POINTWISE, REDUCTION)
        for name, case in family.items()
    ],
)
def test_channels_stay_prunable_as_units(operation, channels, tokens, expected):
    assert units(operation, channels, tokens) == (expected, "")


@pytest.mark.parametrize(
    ("operation", "channels", "tokens", "words"), [pytest.param(*case, id=name) for name, case in REFUSED.items()]
)
def test_channels_are_frozen_with_the_operation_as_reason(operation, channels, tokens, words):
    size, reason = units(operation, channels, tokens)
    assert size == 0
    assert words in reason


NORMS = {
    "batch": (nn.BatchNorm2d(8), 8),
    "batch without weights": (nn.BatchNorm2d(8, affine=False), 8),
    "instance": (nn.InstanceNorm2d(8, affine=True), 8),
    "group": (nn.GroupNorm(2, 8), 4),
    "group of one": (nn.GroupNorm(8, 8), 8),
    "one group": (nn.GroupNorm(1, 8), 8),
    "prelu": (nn.PReLU(8), 8),
    "group without weights": (nn.GroupNorm(2, 8, affine=False), 4),
}


@pytest.mark.parametrize("name", NORMS)
def test_normalisations_pass_channels(name):
    norm, expected = NORMS[name]
    assert units(norm, 8)[0] == expected


class Last(nn.Module):
    """A normalisation of the channels, moved to the end."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, y):
        return self.norm(y.permute(0, 2, 3, 1))


class OwnRMSNorm(nn.Module):
    """As language models write it by hand."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (nn.LayerNorm(8), 8),
        (nn.RMSNorm(8), 8),
        (OwnRMSNorm(8), 8),
        (nn.LayerNorm([4, 8]), 0),
        (nn.LayerNorm(8, elementwise_affine=False), 8),
    ],
)
def test_normalisations_of_the_last_dimension(norm, expected):
    assert units(Last(norm), 8, tokens=True)[0] == expected


@pytest.mark.parametrize(
    ("layer", "channels", "expected"),
    [
        (nn.Conv2d(8, 8, 1, groups=4), 8, 2),
        (nn.Conv2d(8, 16, 1, groups=8), 16, 8),
        (nn.ConvTranspose2d(8, 6, 2), 6, 8),
        (nn.ConvTranspose2d(8, 8, 2, groups=8), 8, 8),
        (nn.ConvTranspose2d(8, 12, 2, groups=2), 12, 4),
    ],
)
def test_convolutions_read_channels_by_group(layer, channels, expected):
    assert units(layer, channels)[0] == expected


def test_code_under_vmap_is_followed():
    inner = nn.Linear(8, 8)
    model = nn.Sequential(nn.Linear(5, 8), Mapped(inner), nn.Linear(8, 3))
    space = trace_space(model, torch.randn(4, 5))
    assert {group.name: group.size for group in space.groups} == {"0": 8, "1.inner": 8}


class Mapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.vmap(lambda row: torch.tanh(self.inner(row)))(x)
