"""Copies in which no value hides a mistake: constant weights drawn at random, and noise in what is removed."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from evoprune.channels.reference import cleared_to, removed
from evoprune.nn_utils.calling import named_tensors
from evoprune.nn_utils.cloning import clone
from evoprune.plan import PruningPlan
from evoprune.space.pruning_space import PruningSpace

_SEED: Final = 20240807


def generic_copy(model: nn.Module) -> nn.Module:
    """A copy whose constant weights (zero-initialised branches, unit scales) are drawn at random, so that they hide nothing."""
    copied = clone(model)
    generator = torch.Generator().manual_seed(_SEED)
    for name, tensor in named_tensors(copied).items():
        kind = name.rpartition(".")[2]
        if not isinstance(tensor, nn.Parameter) and "running" not in kind:
            continue
        if tensor.is_floating_point() and tensor.numel() > 1 and _is_constant(tensor):
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.data.copy_(noise + 0.5 if kind == "running_var" else noise * 0.8 - 0.3 + tensor.detach().cpu())
    return copied


def _is_constant(tensor: Tensor) -> bool:
    flat = tensor.detach().reshape(-1)
    return bool(flat[0] == flat[-1]) and bool((flat == flat[0]).all())


def disturb(model: nn.Module, space: PruningSpace, plan: PruningPlan) -> None:
    """Fill what the plan removes with noise, except where it is read: with the readers at zero, the output must not change."""
    single = {
        (member.tensor, member.dim)
        for group in space.groups
        if group.name in space.single_sided
        for member in group.members
    }
    generator = torch.Generator().manual_seed(_SEED)
    tensors: dict[str, Tensor] = named_tensors(model)
    for name, dimensions in plan.kept.items():
        tensor = tensors[name]
        readers = [dim for dim in dimensions if (name, dim) in space.consumers]
        for dim, indices in dimensions.items():
            if dim in readers or (name, dim) in single or name.endswith("running_var"):
                continue
            gone = torch.as_tensor(removed(tensor.shape[dim], indices), device=tensor.device)
            shape = [*tensor.shape[:dim], len(gone), *tensor.shape[dim + 1 :]]
            noise = torch.randn(len(gone), generator=generator).to(tensor).view(-1, *[1] * (tensor.dim() - dim - 1))
            tensor.data.index_copy_(dim, gone, noise.expand(shape))
        for dim in readers:
            gone = torch.as_tensor(removed(tensor.shape[dim], dimensions[dim]), device=tensor.device)
            tensor.data.index_fill_(dim, gone, cleared_to(tensors, name, dim))
