"""Normalisation over the kept channels of a full-size tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from evoprune.errors import SurgeryError
from evoprune.plan import Indices
from evoprune.space.tracing.rules.modules import normalised_dim


class KeptNorms(TorchFunctionMode):
    """While active, normalisations whose weight is listed see only the kept channels; the others come out as zero.

    Args:
        kept: `{id of the weight: kept indices}`; that of None for normalisations without one.
    """

    def __init__(self, kept: Mapping[int, Indices]) -> None:
        super().__init__()
        self._kept = kept

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the normalisations, pass on everything else."""
        kwargs = kwargs or {}
        normalise = _REPLACED.get(func)
        if normalise is None:
            return func(*args, **kwargs)
        return normalise(self._kept, func, args, kwargs)


class KeptForward:
    """The forward of a normalisation that the model's author wrote, applied to the kept part of its dimension.

    Args:
        module: The normalisation.
        kept: Indices that stay.
    """

    def __init__(self, module: nn.Module, kept: Indices) -> None:
        self._module, self._kept = module, kept

    def __call__(self, source: Tensor) -> Tensor:
        """Same shape, zero where nothing is kept."""
        parameters = dict(self._module.named_parameters())
        index = torch.as_tensor(self._kept, device=source.device)
        dim = normalised_dim(source, len(parameters["weight"]))
        if dim is None:
            raise SurgeryError(f"{type(self._module).__name__} normalises something else than its weight's dimension")
        own = vars(self._module).pop("forward")
        try:
            part = {name: tensor.index_select(0, index) for name, tensor in parameters.items()}
            result: Tensor = functional_call(self._module, part, (source.index_select(dim, index),))
        finally:
            vars(self._module)["forward"] = own
        return torch.zeros_like(source, dtype=result.dtype).index_copy(dim, index, result)


class PlainForward:
    """The forward of a normalisation layer without weights, in which normalisations see only the kept channels.

    Args:
        module: An `nn.LayerNorm` or `nn.GroupNorm`, or a layer of a class made from one.
        kept: Indices that stay.
    """

    def __init__(self, module: nn.Module, kept: Indices) -> None:
        self._module, self._kept = module, kept

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Same shape, zero where nothing is kept."""
        own = vars(self._module).pop("forward")
        try:
            with KeptNorms({id(None): self._kept}):
                return self._module.forward(*args, **kwargs)
        finally:
            vars(self._module)["forward"] = own


class KeptInputs:
    """The forward of a layer that standardises its weight, reading the kept input channels with the kept part of the weight.

    Args:
        module: A convolution or linear layer with a forward of its own.
        kept: Indices along the weight's second dimension that stay.
    """

    def __init__(self, module: nn.Module, kept: Indices) -> None:
        self._module, self._kept = module, kept

    def __call__(self, source: Tensor) -> Tensor:
        """Same shape as of the whole layer."""
        module, index = self._module, torch.as_tensor(self._kept, device=source.device)
        weight = module.get_parameter("weight")
        parts = int(getattr(module, "groups", 1))
        starts = torch.arange(parts, device=source.device) * weight.shape[1]
        channel = source.dim() - weight.dim() + 1
        read = source.index_select(channel, (starts[:, None] + index).flatten())
        own = vars(module).pop("forward")
        try:
            result: Tensor = functional_call(module, {"weight": weight.index_select(1, index)}, (read,))
        finally:
            vars(module)["forward"] = own
        return result


def _last_dim(kept: Mapping[int, Indices], func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`layer_norm` and `rms_norm`: (input, normalized_shape, weight, [bias,] eps)."""
    names: tuple[str, ...] = ("input", "normalized_shape", "weight", "bias", "eps", "cudnn_enable")
    if "rms_norm" in func.__name__:
        names = ("input", "normalized_shape", "weight", "eps")
    bound = dict(zip(names, args, strict=False)) | kwargs
    source, weight = bound["input"], bound.get("weight")
    if id(weight) not in kept:
        return func(*args, **kwargs)
    index = torch.as_tensor(kept[id(weight)], device=source.device)
    for name in ("weight", "bias"):
        if bound.get(name) is not None:
            bound[name] = bound[name].index_select(0, index)
    bound["input"], bound["normalized_shape"] = source.index_select(-1, index), (len(index),)
    return torch.zeros_like(source).index_copy(-1, index, func(**bound))


def _group(kept: Mapping[int, Indices], func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`group_norm`: (input, num_groups, weight, bias, eps)."""
    bound = dict(zip(("input", "num_groups", "weight", "bias", "eps", "cudnn_enabled"), args, strict=False)) | kwargs
    source, groups, weight = bound["input"], bound["num_groups"], bound.get("weight")
    if id(weight) not in kept:
        return func(*args, **kwargs)
    index = torch.as_tensor(kept[id(weight)], device=source.device)
    groups = len(index) if groups == source.shape[1] else groups
    bias = bound.get("bias")
    result = functional.group_norm(
        source.index_select(1, index),
        groups,
        None if weight is None else weight.index_select(0, index),
        None if bias is None else bias.index_select(0, index),
        bound.get("eps", 1e-5),
    )
    return torch.zeros_like(source).index_copy(1, index, result)


_REPLACED: dict[Any, Callable[..., Tensor]] = {
    functional.layer_norm: _last_dim,
    functional.rms_norm: _last_dim,
    functional.group_norm: _group,
    torch.layer_norm: _last_dim,
    torch.rms_norm: _last_dim,
    torch.group_norm: _group,
}
