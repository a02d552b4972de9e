"""The masked reference: full size, the function of the pruned network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from evoprune.channels.masked_norms import KeptForward, KeptInputs, KeptNorms, PlainForward
from evoprune.channels.surgery import check_fits
from evoprune.nn_utils.calling import named_tensors
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.computed_weights import keep_lengths, refresh_computed
from evoprune.nn_utils.prune_hooks import refresh_masked
from evoprune.plan import Indices, PruningPlan
from evoprune.space.groups import Axis
from evoprune.space.tracing.rules.modules import is_own_norm


@torch.inference_mode(False)
def mask(model: nn.Module, plan: PruningPlan) -> nn.Module:
    """`model` at full size with everything zeroed that `plan` removes, producers and consumers alike.

    Layers that normalise over channels take their statistics over the kept channels only.

    Raises:
        InvalidPlanError: The plan doesn't fit the model.
    """
    return masked_copy(model, plan, only=None)


def masked_copy(model: nn.Module, plan: PruningPlan, only: Collection[Axis] | None) -> nn.Module:
    """Do what `mask` does, but zero just the axes in `only` where that is given."""
    check_fits(model, plan)
    masked = clone(model)
    tensors = named_tensors(masked)
    for name, dimensions in plan.kept.items():
        for dim, indices in dimensions.items():
            if only is None or (name, dim) in only:
                _clear(tensors[name], dim, indices, cleared_to(tensors, name, dim))
    refresh_masked(masked)
    keep_lengths(masked, model, {})
    refresh_computed(masked)
    norms = {name: dims[0] for name, dims in plan.kept.items() if tensors[name].dim() == 1 and 0 in dims}
    _normalise_kept_only(masked, norms)
    for path, indices in plan.normalised.items():
        module = masked.get_submodule(path)
        kept = KeptInputs if isinstance(module, (_ConvNd, nn.Linear)) else PlainForward
        vars(module)["forward"] = kept(module, indices)
    return masked


def cleared_to(tensors: Mapping[str, Tensor], name: str, dim: int) -> float:
    """What stands where something was removed: a variance, or the direction of a weight whose length is zero, mustn't vanish."""
    length = f"{name[:-2]}_g" if name.endswith("_v") else f"{name[:-1]}0" if name.endswith(".original1") else ""
    direction = length in tensors and dim < tensors[length].dim() and tensors[length].shape[dim] > 1
    return 1.0 if direction or name.endswith("running_var") else 0.0


def removed(size: int, kept: Indices) -> Indices:
    """The indices below `size` that are not kept."""
    gone = np.ones(size, dtype=np.bool_)
    gone[kept] = False
    return np.flatnonzero(gone)


def _clear(tensor: Tensor, dim: int, kept: Indices, value: float) -> None:
    gone = torch.as_tensor(removed(tensor.shape[dim], kept), device=tensor.device)
    if gone.numel():
        tensor.data.index_fill_(dim, gone, value)


def _normalise_kept_only(model: nn.Module, norms: dict[str, Indices]) -> None:
    if not norms:
        return
    names = {id(tensor): name for name, tensor in named_tensors(model).items()}
    for module in model.modules():
        if is_own_norm(module) and not isinstance(module, nn.RMSNorm):
            kept = norms.get(names.get(id(module.get_parameter("weight")), ""))
            if kept is not None:
                vars(module)["forward"] = KeptForward(module, kept)
    if not any(isinstance(module, _MIXING) for module in model.modules()):
        return
    active: list[KeptNorms] = []

    def enter(module: nn.Module, _: Any, __: Any) -> None:
        tensors = named_tensors(module)
        active.append(KeptNorms({id(tensors[name]): kept for name, kept in norms.items()}))
        active[-1].__enter__()

    def leave(_: nn.Module, __: Any, ___: Any) -> None:
        active.pop().__exit__(None, None, None)

    model.register_forward_pre_hook(enter, with_kwargs=True)
    model.register_forward_hook(leave, always_call=True)


_MIXING = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
