"""Weights that a layer computes from parameters before every pass: by `weight_norm`, `spectral_norm` or a parametrization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def stored_weight(module: nn.Module, name: str) -> Tensor | None:
    """The parameter of the shape of a module's tensor `name` that it is, or is computed from; None where there is none."""
    own = module._parameters
    for known in (name, f"{name}_orig", f"{name}_v"):
        if own.get(known) is not None:
            return own[known]
    lists = getattr(module, "parametrizations", None)
    if not isinstance(lists, nn.ModuleDict) or name not in lists:
        return None
    originals = list(lists[name].parameters(recurse=False))
    return max(originals, key=Tensor.numel, default=None)


def computing_hooks(model: nn.Module) -> Iterator[tuple[nn.Module, Any]]:
    """`(module, hook)` of each weight norm and spectral norm of the old kind, which keep the weight as a plain attribute."""
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, (WeightNorm, SpectralNorm)):
                yield module, hook


def refresh_computed(model: nn.Module) -> None:
    """Give layers with such hooks the weight that their next pass will compute, in evaluation."""
    for module, hook in computing_hooks(model):
        with torch.no_grad():
            if isinstance(hook, SpectralNorm):
                setattr(module, hook.name, hook.compute_weight(module, do_power_iteration=False))
            else:
                setattr(module, hook.name, hook.compute_weight(module))
