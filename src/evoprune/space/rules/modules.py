"""Modules that are understood as a whole: recurrent layers, multi-head attention, RMS normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from evoprune.space.rules.call import Call
from evoprune.space.rules.multi_head import multi_head_attention
from evoprune.space.rules.recurrent import recurrent, recurrent_cell

ModuleRule = Callable[[Call, Any], None]


def module_rule(module: nn.Module) -> ModuleRule | None:
    """The rule for a module as a whole, if it has one."""
    if isinstance(module, nn.RNNBase):
        return recurrent
    if isinstance(module, nn.RNNCellBase):
        return recurrent_cell
    if type(module) is nn.MultiheadAttention:
        return multi_head_attention
    return rms_norm if is_rms_norm(module) else None


def is_rms_norm(module: nn.Module) -> bool:
    """Whether a module is an RMS normalisation of the last dimension, torch's own or a model's (by its class name).

    The self-check finds out if the name deceives.
    """
    if "rmsnorm" not in type(module).__name__.lower() or next(module.children(), None) is not None:
        return False
    parameters = dict(module.named_parameters())
    return parameters.keys() == {"weight"} and parameters["weight"].dim() == 1 and not list(module.buffers())


def rms_norm(call: Call, module: nn.Module) -> None:
    """The last dimension is normalised over what is kept of it."""
    source, weight = call.operands[0], module.weight
    dims = call.dims(source)
    last = source.dim() - 1
    if len(call.operands) > 1 or not isinstance(weight, Tensor) or source.shape[-1] != len(weight):
        for tensor in call.operands:
            call.freeze_dims(call.dims(tensor), "is normalised")
        return
    size = len(weight)
    atoms = call.join([(dims.pop(last, None), size), (call.dims(weight).get(0), size)]) if size > 1 else None
    if atoms is not None:
        dims[last] = atoms
    call.put(dims)
