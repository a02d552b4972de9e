"""Surgery: a physically smaller network from a model and a plan, without running it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from evoprune.channels.slim_attention import SlimMultiheadAttention
from evoprune.errors import InvalidPlanError
from evoprune.nn_utils.calling import named_tensors
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.computed_weights import keep_lengths
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.plan import AttributeValue, Indices, PruningPlan


@torch.inference_mode(False)
def prune(model: nn.Module, plan: PruningPlan) -> nn.Module:
    """A smaller network that computes what `model` computes with the removed units masked.

    Args:
        model: The dense network the plan was made for; untouched.
        plan: Says which units stay.

    Returns:
        A new module, sharing nothing with `model`: same classes, dtype, device, memory format, `requires_grad`, gradients, hooks,
        shared parameters and training mode.

    Raises:
        InvalidPlanError: The plan is for another structure, or names tensors, dimensions or indices that the model doesn't have.
    """
    tensors = check_fits(model, plan)
    memo: dict[int, Any] = {}
    for name, tensor in tensors.items():
        memo[id(tensor)] = cut(tensor, plan.kept.get(name, {}))
    smaller = clone(model, memo)
    _set_attributes(smaller, plan.attributes)
    keep_lengths(smaller, model, plan.kept)
    return smaller


def check_fits(model: nn.Module, plan: PruningPlan) -> dict[str, Tensor]:
    """The named tensors of `model`, if `plan` fits them.

    Raises:
        InvalidPlanError: It doesn't.
    """
    if plan.fingerprint != fingerprint(model):
        raise InvalidPlanError(
            f"the plan was made for another structure than this {type(model).__name__}",
            "prune the dense model that was analysed; a pruned one has to be analysed anew",
        )
    tensors = named_tensors(model)
    for name, dimensions in plan.kept.items():
        if name not in tensors:
            raise InvalidPlanError(f"the plan cuts {name!r}, which the model doesn't have")
        for dim, indices in dimensions.items():
            _check_axis(name, tensors[name], dim, indices)
    modules = dict(model.named_modules())
    for path, values in plan.attributes.items():
        if path not in modules:
            raise InvalidPlanError(f"the plan sets attributes of {path!r}, which the model doesn't have")
        for attribute, value in values.items():
            # Nothing but sizes: a plan may come from anyone, and a module has other attributes as well.
            if not _is_size(getattr(modules[path], attribute, None), like=value):
                raise InvalidPlanError(f"the plan sets {path}.{attribute}, which is no size of the model")
    for path, indices in plan.normalised.items():
        size = plain_width(modules.get(path))
        if size is None or int(indices[-1]) >= size:
            raise InvalidPlanError(f"the plan says what {path!r} normalises, which is no layer of that width")
    return tensors


def plain_width(module: nn.Module | None) -> int | None:
    """How many channels a normalisation without weights reads, or a layer whose weight may be standardised; None for others."""
    if isinstance(module, nn.LayerNorm) and module.weight is None and len(module.normalized_shape) == 1:
        return int(module.normalized_shape[0])
    if isinstance(module, nn.GroupNorm) and module.weight is None:
        return int(module.num_channels)
    weight = module._parameters.get("weight") if isinstance(module, (_ConvNd, nn.Linear)) else None
    return None if weight is None else weight.shape[1]


def _is_size(known: object, like: AttributeValue) -> bool:
    if isinstance(like, tuple):
        return isinstance(known, (tuple, list))
    return isinstance(known, Integral) and not isinstance(known, bool)


def _check_axis(name: str, tensor: Tensor, dim: int, indices: Indices) -> None:
    if dim >= tensor.dim():
        raise InvalidPlanError(f"the plan cuts dimension {dim} of {name!r}, which has {tensor.dim()}")
    if int(indices[-1]) >= tensor.shape[dim]:
        raise InvalidPlanError(
            f"the plan keeps index {int(indices[-1])} of {name!r}, whose dimension {dim} has {tensor.shape[dim]}"
        )


def cut(tensor: Tensor, kept: Mapping[int, Indices]) -> Tensor:
    """A copy of a parameter or buffer with only `kept` of it; gradient, layout and kind go along."""
    smaller = _select(tensor.detach(), kept)
    if isinstance(tensor, nn.Parameter):
        smaller = nn.Parameter(smaller, requires_grad=tensor.requires_grad)
    elif tensor.requires_grad:
        smaller.requires_grad_(True)
    if tensor.is_leaf and tensor.grad is not None:
        smaller.grad = _select(tensor.grad, kept)
    for name, value in vars(tensor).items():
        setattr(smaller, name, copy.deepcopy(value))
    return smaller


def _select(tensor: Tensor, kept: Mapping[int, Indices]) -> Tensor:
    if not kept:
        return tensor.clone()
    result = tensor
    for dim, indices in sorted(kept.items()):
        result = result.index_select(dim, torch.as_tensor(indices, device=tensor.device))
    layout = _layout(tensor)
    # `to` and not `contiguous`, which leaves a tensor with a single channel as it is: in either layout it counts as contiguous.
    return result if layout is None else result.to(memory_format=layout)


def _layout(tensor: Tensor) -> torch.memory_format | None:
    """Channels-last layout where the strides say so; convolutions go by them even where a size of 1 makes them ambiguous."""
    layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    if layout is None or tensor.stride() != torch.empty_like(tensor, memory_format=layout, device="meta").stride():
        return None
    plain = torch.empty_like(tensor, memory_format=torch.contiguous_format, device="meta")
    return None if tensor.stride() == plain.stride() else layout


def _set_attributes(model: nn.Module, attributes: Mapping[str, Mapping[str, AttributeValue]]) -> None:
    for path, values in attributes.items():
        module = model.get_submodule(path)
        for name, value in values.items():
            if isinstance(value, tuple) and isinstance(getattr(module, name), list):
                setattr(module, name, list(value))
            else:
                setattr(module, name, value)
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
        if type(module) is nn.MultiheadAttention:
            module.__class__ = SlimMultiheadAttention
            module._qkv_same_embed_dim = False  # keeps `nn.TransformerEncoderLayer` from its fused kernel
            _without_nested_tensors(model)


def _without_nested_tensors(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.enable_nested_tensor = module.use_nested_tensor = False
