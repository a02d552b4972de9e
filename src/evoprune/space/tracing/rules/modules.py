"""Modules that are understood as a whole: recurrent layers, multi-head attention, hand-written normalisations."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrizations import _SpectralNorm

from evoprune.space.tracing.rules.call import Call
from evoprune.space.tracing.rules.computed import spectral_norm
from evoprune.space.tracing.rules.multi_head import multi_head_attention
from evoprune.space.tracing.rules.recurrent import recurrent, recurrent_cell

ModuleRule = Callable[[Call, Any], None]


def module_rule(module: nn.Module) -> ModuleRule | None:
    """The rule for a module as a whole, if it has one."""
    if isinstance(module, nn.RNNBase):
        return recurrent
    if isinstance(module, nn.RNNCellBase):
        return recurrent_cell
    if type(module) is nn.MultiheadAttention:
        return multi_head_attention
    if isinstance(module, _SpectralNorm):
        return spectral_norm
    return own_norm if is_own_norm(module) else None


def is_own_norm(module: nn.Module) -> bool:
    """Whether a module is a normalisation of one dimension that the model's author wrote, as its class name says.

    Its parameters are `weight` and perhaps `bias`, one value per position. The self-check finds out if the name deceives.
    """
    if "norm" not in type(module).__name__.lower() or isinstance(module, _FOLLOWED):
        return False
    parameters = dict(module.named_parameters(recurse=False))
    plain = next(module.children(), None) is None and next(module.buffers(), None) is None
    shapes = {tensor.shape for tensor in parameters.values()}
    return plain and "weight" in parameters and parameters.keys() <= {"weight", "bias"} and len(shapes) == 1 and (
        len(next(iter(shapes))) == 1
    )  # fmt: skip


def normalised_dim(source: Tensor, size: int) -> int | None:
    """Which dimension of `source` a normalisation with `size` weights is about: the last, or else that of the channels."""
    if source.dim() and source.shape[-1] == size:
        return source.dim() - 1
    return 1 if source.dim() > 2 and source.shape[1] == size else None


def own_norm(call: Call, module: nn.Module) -> None:
    """The dimension is normalised over what is kept of it."""
    parameters = list(module.parameters())
    source, size = call.operands[0], len(parameters[0])
    dim = normalised_dim(source, size)
    dims = call.dims(source)
    alone = len(call.operands) == 1 and dim is not None and isinstance(call.result, Tensor)
    if dim is None or not alone or not _treats_positions_alike(call, module, dim):
        for tensor in [*call.operands, *parameters]:
            call.freeze_dims(call.dims(tensor), "is normalised")
        return
    if size > 1:
        atoms = call.join([(dims.pop(dim, None), size), *((call.dims(tensor).get(0), size) for tensor in parameters)])
        if atoms is not None:
            dims[dim] = atoms
    call.put(dims)


def _treats_positions_alike(call: Call, module: nn.Module, dim: int) -> bool:
    """Whether permuting the positions of input and parameters permutes the output, as statistics over all of them do."""
    source = call.operands[0]
    copied = copy.deepcopy(module)
    vars(copied).pop("forward", None)
    order = torch.from_numpy(np.random.default_rng(0).permutation(source.shape[dim])).to(source.device)
    with call.tracer.pausing():
        for parameter in copied.parameters():
            parameter.data = parameter.data.index_select(0, order)
        found, expected = copied(source.index_select(dim, order)), call.result.index_select(dim, order)
        coarse = source.dtype in {torch.float16, torch.bfloat16}
        return torch.allclose(found, expected, rtol=1e-1 if coarse else 1e-3, atol=1e-1 if coarse else 1e-4)


_FOLLOWED = (nn.LayerNorm, nn.GroupNorm, _NormBase, nn.LocalResponseNorm, nn.CrossMapLRN2d)
