"""Random convolutional networks: a program of steps over a pool of live tensors, all of the same height and width."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

SIZE = 6


@dataclass
class Step:
    """`kind` applied to the live tensors `sources`; `layer` is its module, if it has one; `number` a parameter of it."""

    kind: str
    sources: list
    layer: int = -1
    number: int = 0


class RandomNet(nn.Module):
    def __init__(self, layers, steps, results):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.steps, self.results = steps, results

    def forward(self, x):
        live = [x]
        for step in self.steps:
            tensors = [live[index] for index in step.sources]
            layer = self.layers[step.layer] if step.layer >= 0 else None
            live.extend(RUN[step.kind](tensors, layer, step.number))
        return [live[index] for index in self.results]


def _shuffle(x, groups):
    batch, channels, height, width = x.shape
    return x.reshape(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(batch, -1, height, width)


def _no_grad(x):
    with torch.no_grad():
        return x * 2


def _into_place(x, y):
    out = torch.empty_like(x)
    out.copy_(y)
    return out + x


class Parts(nn.Module):
    """Unequal parts, whose sizes stand in an attribute."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes

    def forward(self, x):
        return list(x.split(self.sizes, 1))


class Beginning(nn.Module):
    """A beginning and an end, whose border stands in an attribute."""

    def __init__(self, border):
        super().__init__()
        self.first_channels = border

    def forward(self, x):
        return [x[:, : self.first_channels], x[:, self.first_channels :]]


class Offset(nn.Module):
    """A tensor of one number whose size stands in an attribute."""

    def __init__(self, width):
        super().__init__()
        self.hidden_size = width

    def forward(self, x):
        return x.relu() * torch.full((1, self.hidden_size, 1, 1), 0.5, dtype=x.dtype) + x.new_ones(x.shape)


class Standardised(nn.Conv2d):
    """A convolution whose weight has mean 0 and variance 1 for every output."""

    def forward(self, x):
        variance, mean = torch.var_mean(self.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-3)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def _computed(width, outputs, kind):
    if kind == 0:
        return Standardised(width, outputs, 3, padding=1)
    conv = nn.Conv2d(width, outputs, 3, padding=1)
    return parametrizations.weight_norm(conv) if kind == 1 else parametrizations.spectral_norm(conv)


def _scattered(x):
    index = torch.arange(len(x)).flip(0)
    return torch.zeros_like(x).index_add(0, index, x) + x.new_zeros(x.shape).scatter_add_(
        0, index.view(-1, 1, 1, 1).expand_as(x), x
    )


RUN = {
    "parts": lambda t, m, n: m(t[0]),
    "offset": lambda t, m, n: [m(t[0])],
    "sum_gate": lambda t, m, n: [t[0] * t[0].sum(1, keepdim=True).tanh()],
    "expand": lambda t, m, n: [t[0] + t[0].amax((2, 3), keepdim=True).amax(1, keepdim=True).expand_as(t[0])],
    "expand_norm": lambda t, m, n: [t[0] / (t[0].pow(2).sum(1, keepdim=True) + 1).sqrt().expand_as(t[0])],
    "scattered": lambda t, m, n: [_scattered(t[0])],
    "shape_only": lambda t, m, n: [t[0] * float(t[0][:, -1].shape[-1])],
    "layer": lambda t, m, n: [m(t[0])],
    "relu": lambda t, m, n: [functional.relu(t[0])],
    "sigmoid": lambda t, m, n: [t[0].sigmoid()],
    "add": lambda t, m, n: [t[0] + t[1]],
    "mul": lambda t, m, n: [t[0] * t[1].tanh()],
    "cat": lambda t, m, n: [torch.cat(t, 1)],
    "stack": lambda t, m, n: [torch.stack(t, 1).mean(1)],
    "stack_fold": lambda t, m, n: [torch.stack(t, 2).flatten(1, 2)],
    "chunk": lambda t, m, n: list(t[0].chunk(2, 1)),
    "split_constant": lambda t, m, n: list(t[0].split(n, 1)),
    "slice": lambda t, m, n: [t[0][:, : t[0].shape[1] // 2], t[0][:, t[0].shape[1] // 2 :]],
    "slice_constant": lambda t, m, n: [t[0][:, :n]],
    "every_other": lambda t, m, n: [t[0][:, ::2]],
    "shuffle": lambda t, m, n: [_shuffle(t[0], n)],
    "channel_shuffle": lambda t, m, n: [functional.channel_shuffle(t[0], n)],
    "flip": lambda t, m, n: [t[0].flip(1)],
    "roll": lambda t, m, n: [t[0].roll(1, 1)],
    "repeat": lambda t, m, n: [t[0].repeat(1, 2, 1, 1)],
    "repeat_interleave": lambda t, m, n: [t[0].repeat_interleave(2, 1)],
    "pad": lambda t, m, n: [functional.pad(t[0], (0, 0, 0, 0, 1, n))],
    "mean_gate": lambda t, m, n: [t[0] * t[0].mean(1, keepdim=True).sigmoid()],
    "max_gate": lambda t, m, n: [t[0] * t[0].amax((2, 3), keepdim=True).sigmoid()],
    "softmax": lambda t, m, n: [t[0].softmax(1)],
    "softmax_space": lambda t, m, n: [t[0].flatten(2).softmax(-1).reshape(t[0].shape)],
    "no_grad": lambda t, m, n: [_no_grad(t[0])],
    "detach": lambda t, m, n: [t[0].detach() - 1],
    "into_place": lambda t, m, n: [_into_place(t[0], t[1])],
    "pool": lambda t, m, n: [functional.max_pool2d(t[0], 3, 1, 1)],
    "transpose": lambda t, m, n: [t[0].transpose(2, 3)],
    "glu": lambda t, m, n: [functional.glu(t[0], 1)],
    "pixel": lambda t, m, n: [functional.max_pool2d(functional.pixel_shuffle(t[0], 2), 2)],
    "unpixel": lambda t, m, n: [functional.pixel_unshuffle(functional.interpolate(t[0], scale_factor=2), 2)],
    "index": lambda t, m, n: [t[0][:, torch.arange(t[0].shape[1] - 1, -1, -1)]],
    "gram": lambda t, m, n: [
        (torch.softmax(t[0].flatten(2).transpose(1, 2) @ t[0].flatten(2), -1) @ t[0].flatten(2).transpose(1, 2))
        .transpose(1, 2)
        .reshape(t[0].shape)
    ],
    "channel_last": lambda t, m, n: [m(t[0].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)],
    "cumsum": lambda t, m, n: [t[0].cumsum(1)],
    "unfold_fold": lambda t, m, n: [functional.fold(functional.unfold(t[0], 3, padding=1), t[0].shape[2:], 3, padding=1)],
    "view_merge": lambda t, m, n: [t[0].reshape(t[0].shape[0] * n, -1, *t[0].shape[2:]).relu().view(t[0].shape)],
}  # fmt: skip


def random_net(seed, length=8):
    """-> RandomNet with one or two convolutions as results, so that something is always prunable in principle."""
    rng = np.random.default_rng(seed)
    layers, steps, widths = [], [], [3]

    def add(kind, sources, results, layer=None, number=0):
        if layer is not None:
            layers.append(layer)
        steps.append(Step(kind, sources, len(layers) - 1 if layer is not None else -1, number))
        widths.extend(results)

    def conv(source, outputs):
        add("layer", [source], [outputs], nn.Conv2d(widths[source], outputs, 3, padding=1, bias=bool(rng.integers(2))))

    conv(0, int(rng.choice([4, 6, 8])))
    conv(1, int(rng.choice([4, 6, 8])))
    while len(steps) < length:
        _random_step(rng, add, conv, widths, layers, steps)
    wide = list(range(max(1, len(widths) - 3), len(widths)))
    results = []
    for source in wide:
        conv(source, 3)
        results.append(len(widths) - 1)
    return RandomNet(layers, steps, results)


def _random_step(rng, add, conv, widths, layers, steps):
    source = int(rng.integers(max(0, len(widths) - 4), len(widths)))
    width = widths[source]
    same = [index for index, other in enumerate(widths) if other == width]
    other = int(rng.choice(same))
    even = width % 2 == 0 and width >= 4
    kind = str(rng.choice(
        ["conv", "conv", "conv", "norm", "norm", "grouped", "depthwise", "linear", "again", "transposed", "computed", *RUN]
    ))  # fmt: skip
    if kind == "conv":
        conv(source, int(rng.choice([4, 6, 8, width])))
    elif kind == "norm":
        groups = 2 if even else 1
        norm = [
            nn.BatchNorm2d(width), nn.GroupNorm(groups, width), nn.GroupNorm(width, width), nn.PReLU(width),
            nn.InstanceNorm2d(width, affine=True), nn.GroupNorm(1, width), nn.BatchNorm2d(width, affine=False),
            nn.BatchNorm2d(width, track_running_stats=False), nn.InstanceNorm2d(width), nn.GroupNorm(groups, width, affine=False),
        ][int(rng.integers(10))]  # fmt: skip
        add("layer", [source], [width], norm)
    elif kind == "grouped" and even:
        add("layer", [source], [width], nn.Conv2d(width, width, 3, padding=1, groups=2))
    elif kind == "computed":
        outputs = int(rng.choice([4, 6, width]))
        add("layer", [source], [outputs], _computed(width, outputs, int(rng.integers(3))))
    elif kind == "parts" and width > 3:
        border = int(rng.integers(1, width))
        layer = Beginning(border) if rng.integers(2) else Parts([border, width - border])
        add(kind, [source], [border, width - border], layer)
    elif kind == "offset":
        add(kind, [source], [width], Offset(width))
    elif kind == "depthwise":
        times = int(rng.integers(1, 3))
        add("layer", [source], [width * times], nn.Conv2d(width, width * times, 3, padding=1, groups=width))
    elif kind == "transposed":
        groups = int(rng.choice([1, 2, width])) if even else 1
        add("layer", [source], [width], nn.ConvTranspose2d(width, width, 3, padding=1, groups=groups))
    elif kind == "linear":
        layer = [
            nn.LayerNorm(width), nn.Linear(width, 6), nn.RMSNorm(width), nn.LayerNorm(width, elementwise_affine=False)
        ][int(rng.integers(4))]  # fmt: skip
        add("channel_last", [source], [6 if isinstance(layer, nn.Linear) else width], layer)
    elif kind == "again":
        known = [s for s in steps if s.layer >= 0 and s.kind == "layer" and widths[s.sources[0]] == width]
        if known:
            step = known[int(rng.integers(len(known)))]
            steps.append(Step("layer", [source], step.layer))
            widths.append(getattr(layers[step.layer], "out_channels", width))
    elif kind in {"add", "mul", "into_place", "stack"}:
        add(kind, [source, other], [width])
    elif kind == "cat" and width < 20:
        partner = int(rng.integers(len(widths)))
        add(kind, [source, partner], [width + widths[partner]])
    elif kind == "stack_fold" and width < 16:
        add(kind, [source, other], [2 * width])
    elif kind in {"chunk", "slice"} and even:
        add(kind, [source], [width // 2] * 2)
    elif kind == "split_constant" and width > 3:
        add(kind, [source], [len(part) for part in torch.arange(width).split(width // 2)], number=width // 2)
    elif kind == "slice_constant" and width > 2:
        add(kind, [source], [width - 2], number=width - 2)
    elif kind == "every_other":
        add(kind, [source], [(width + 1) // 2])
    elif kind in {"shuffle", "channel_shuffle", "view_merge"} and even:
        add(kind, [source], [width], number=2)
    elif kind in {"repeat", "repeat_interleave"} and width < 16:
        add(kind, [source], [2 * width])
    elif kind == "pad":
        add(kind, [source], [width + 3], number=2)
    elif kind == "glu" and even:
        add(kind, [source], [width // 2])
    elif kind == "pixel" and width % 4 == 0:
        add(kind, [source], [width // 4])
    elif kind == "unpixel" and width < 8:
        add(kind, [source], [4 * width])
    elif kind in {"relu", "sigmoid", "flip", "roll", "mean_gate", "max_gate", "softmax", "softmax_space", "no_grad", "detach",
                  "pool", "transpose", "index", "gram", "cumsum", "unfold_fold",
                  "sum_gate", "expand", "expand_norm", "scattered", "shape_only"}:  # fmt: skip
        add(kind, [source], [width])
