"""The convolutions and linear layers of a network, each timed alone, as they are and at widths that kernels like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from evoprune.nn_utils.calling import run_example, undisturbed
from evoprune.nn_utils.layouts import arranged
from evoprune.objectives.latency import time_by_turns

STEP: Final = 8
"""Widths that tensor cores and vector units fill."""
WIDE_STEP: Final = 16
"""Those of AVX-512."""
REPEATS: Final = 20
MOST_S: Final = 0.5
MOST_LAYERS: Final = 64

Layer = nn.Linear | _ConvNd


@dataclass(frozen=True)
class LayerTimes:
    """Milliseconds of layers, each called alone, when nothing else disturbed it.

    Attributes:
        total_ms: Of all of them.
        step: What widths are rounded up to multiples of.
        uneven: Names of those that pruning left with other widths.
        uneven_ms: Of these.
        rounded_ms: Of the same, rounded up.
    """

    total_ms: float
    step: int
    uneven: tuple[str, ...]
    uneven_ms: float
    rounded_ms: float


def time_layers(model: nn.Module, dense: nn.Module, inputs: Any, device: torch.device) -> LayerTimes:
    """Time the layers on what the inputs send through them at their first call.

    Args:
        model: A pruned network in eval mode.
        dense: The dense one, whose widths tell which were pruned.
        inputs: Inputs of one forward pass.
        device: Where they are.

    Raises:
        UnsupportedModelError: The model can't run on them.
    """
    step = WIDE_STEP if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512" else STEP
    runners: dict[str, Callable[[], object]] = {}
    rounded: dict[str, Callable[[], object]] = {}
    before = dict(dense.named_modules())
    for name, (layer, given) in list(_seen(model, inputs).items())[:MOST_LAYERS]:
        runners[name] = _call(layer, given, device)
        wide = _rounded(layer, before.get(name), given, step)
        if wide is not None:
            rounded[f"{name} "] = _call(*wide, device)
    times = time_by_turns({**runners, **rounded}, repeats=REPEATS, most_s=MOST_S, warm_up_s=MOST_S)
    least = {name: 1000 * min(values) for name, values in times.items()}
    uneven = tuple(name.rstrip() for name in rounded)
    return LayerTimes(
        sum(least[name] for name in runners),
        step,
        uneven,
        sum(least[name] for name in uneven),
        sum(least[name] for name in rounded),
    )


def _seen(model: nn.Module, inputs: Any) -> dict[str, tuple[Layer, Tensor]]:
    """What goes through each layer at its first call."""
    seen: dict[str, tuple[Layer, Tensor]] = {}

    def note(name: str, layer: nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(layer, (nn.Linear, _ConvNd)) and given and isinstance(given[0], Tensor):
            seen.setdefault(name, (layer, given[0].detach()))

    layers = [(name, one) for name, one in model.named_modules() if isinstance(one, (nn.Linear, _ConvNd))]
    with undisturbed(model):  # which takes away what hooks that were there before it note down
        handles = [layer.register_forward_pre_hook(partial(note, name)) for name, layer in layers]
        try:
            run_example(model, inputs)
        finally:
            for handle in handles:
                handle.remove()
    return seen


def _call(layer: nn.Module, given: Tensor, device: torch.device) -> Callable[[], object]:
    def run() -> object:
        result = layer(given)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    return run


def _rounded(layer: Layer, dense: Any, given: Tensor, step: int) -> tuple[nn.Module, Tensor] | None:
    """The layer and its inputs with pruned widths rounded up; None where they are even, or where groups tie them."""
    names = ("in_features", "out_features") if isinstance(layer, nn.Linear) else ("in_channels", "out_channels")
    if type(layer) is not type(dense) or getattr(layer, "groups", 1) != 1 or getattr(layer, "transposed", False):
        return None
    widths = [getattr(layer, name) for name in names]
    wide = [
        width if width == getattr(dense, name) else -(-width // step) * step
        for name, width in zip(names, widths, strict=True)
    ]
    if wide == widths:
        return None
    dim = given.dim() - 1 if isinstance(layer, nn.Linear) else given.dim() - len(layer.kernel_size) - 1
    return _wide_layer(layer, *wide), _wide_input(given, dim, wide[0])


def _wide_layer(layer: Layer, inputs: int, outputs: int) -> nn.Module:
    bias, weight = layer.bias is not None, layer.weight
    made: nn.Module
    if isinstance(layer, nn.Linear):
        made = nn.Linear(inputs, outputs, bias=bias)
    else:
        sizes: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        kind: Any = type(layer)
        made = kind(inputs, outputs, layer.kernel_size, bias=bias, padding_mode=layer.padding_mode, **sizes)
    made = made.to(weight.device, weight.dtype).eval()
    last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    return arranged(made, channels_last=last)


def _wide_input(given: Tensor, dim: int, width: int) -> Tensor:
    times = -(-width // given.shape[dim])
    wide = torch.cat([given] * times, dim=dim).narrow(dim, 0, width)
    plain = given.dim() != 4 or given.is_contiguous()
    return wide.contiguous(memory_format=torch.contiguous_format if plain else torch.channels_last)
