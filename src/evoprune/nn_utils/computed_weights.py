"""Weights that a layer computes from parameters before every pass: by `weight_norm`, `spectral_norm` or a parametrization."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList
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


def keep_lengths(changed: nn.Module, dense: nn.Module, kept: Mapping[str, Mapping[int, Any]]) -> None:
    """Give weight norms of a copy the lengths with which they compute the very weights of the dense network.

    A direction that lost some of its entries is shorter, and dividing by that would make the others larger.

    Args:
        changed: Copy of `dense`, cut or with zeros.
        dense: The dense network.
        kept: Indices that tensors of `changed` keep of those of `dense`, by name and dimension; none where it is of full size.
    """
    before, seen = dict(_normed(dense)), set()
    for name, (length, direction) in _normed(changed):
        if id(length) in seen:
            continue
        seen.add(id(length))
        wanted = _lengths(*before[name])
        for dim, indices in kept.get(name, {}).items():
            wanted = wanted.index_select(dim, torch.as_tensor(indices, device=wanted.device))
        found = _lengths(*before[name], of=direction)
        length.data.mul_(torch.where(wanted > 0, found / wanted, torch.ones_like(wanted)))


def _normed(model: nn.Module) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """`(name of the length, (length, direction))` of each weight norm, of either kind."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm):
                length, direction = f"{hook.name}_g", f"{hook.name}_v"
                yield f"{prefix}{length}", (module.get_parameter(length), module.get_parameter(direction))
        if isinstance(module, ParametrizationList) and isinstance(module[0], _WeightNorm):
            yield f"{prefix}original0", (module.get_parameter("original0"), module.get_parameter("original1"))


def _lengths(length: Tensor, direction: Tensor, *, of: Tensor | None = None) -> Tensor:
    """The norms of `of`, or of the direction, over the dimensions that the dense length doesn't have; in the length's layout."""
    values = (direction if of is None else of).detach()
    if length.dim() != direction.dim():
        return values.square().sum().sqrt().reshape(length.shape)
    over = [dim for dim, size in enumerate(length.shape) if size == 1]
    return values.square().sum(over, keepdim=True).sqrt()


def refresh_computed(model: nn.Module) -> None:
    """Give layers with such hooks the weight that their next pass will compute, in evaluation."""
    for module, hook in computing_hooks(model):
        with torch.no_grad():
            if isinstance(hook, SpectralNorm):
                setattr(module, hook.name, hook.compute_weight(module, do_power_iteration=False))
            else:
                setattr(module, hook.name, hook.compute_weight(module))
