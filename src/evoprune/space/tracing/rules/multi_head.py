"""`nn.MultiheadAttention`: whole heads, and the width it reads and writes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from evoprune.data.trees import tensors_in
from evoprune.space.tracing.labels import Production, Vector
from evoprune.space.tracing.rules.call import Call

_NAMES = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal")


def multi_head_attention(call: Call, module: nn.MultiheadAttention) -> None:
    """Tie the three projections head by head; the averaged attention weights, if anything reads them, freeze the heads."""
    bound: dict[str, Any] = dict(zip(_NAMES, call.args, strict=False)) | call.kwargs
    weights = (module.in_proj_weight, module.out_proj.weight)
    supported = (
        module._qkv_same_embed_dim
        and module.bias_k is None
        and not module.add_zero_attn
        and module.embed_dim > 1
        and all(tensor is not None and call.tracer.is_named(tensor) for tensor in weights)
    )
    if not supported:
        for tensor in call.operands:
            call.freeze_dims(call.dims(tensor), "is used in a way evoprune has no rule for,")
        return
    for name in ("query", "key", "value"):
        _read(call, module, bound[name])
    heads = _heads(call, module)
    mask = bound.get("attn_mask")
    if heads is not None and mask is not None and mask.dim() == 3:
        call.freeze(heads, "has a mask of its own for every head")
    _write(call, module, heads, average=bool(bound.get("average_attn_weights", True)))


def _read(call: Call, module: nn.MultiheadAttention, source: Tensor) -> None:
    dims = call.dims(source)
    atoms = dims.pop(source.dim() - 1, None)
    call.freeze_dims(dims, "is attended over")
    weight = call.dims(module.in_proj_weight).get(1)
    call.contract((atoms, call.labels(source).active), (weight, False), module.embed_dim)


def _heads(call: Call, module: nn.MultiheadAttention) -> Vector | None:
    """Tie everything that belongs to a head; -> [heads] atoms."""
    heads = module.num_heads
    reason = f"is fixed in {call.where}"
    found: list[Vector] = []
    for tensor, dim in ((module.in_proj_weight, 0), (module.in_proj_bias, 0), (module.out_proj.weight, 1)):
        atoms = call.dims(tensor).get(dim) if tensor is not None else None
        if atoms is not None:
            rows = atoms.reshape(-1, heads, module.head_dim).transpose(0, 2, 1).reshape(-1, heads)
            found.append(call.couplings.tie_rows(rows, reason))
    for other in found[1:]:
        call.couplings.tie(found[0], other, reason)
    call.couplings.consumed.append(call.dims(module.out_proj.weight)[1])
    if heads == 1:
        call.freeze(found[0], "has a single head")
        return None
    call.produce(call.dims(module.in_proj_weight)[0], "attention")
    return found[0]


def _write(call: Call, module: nn.MultiheadAttention, heads: Vector | None, *, average: bool) -> None:
    output, *attention = tensors_in(call.result)
    atoms = call.dims(module.out_proj.weight)[0]
    bias = module.out_proj.bias
    if bias is not None:
        call.couplings.tie(atoms, call.dims(bias)[0], "has a fixed bias")
    path = f"{call.tracer.module}.out_proj".removeprefix(".")
    call.couplings.productions.append(Production(atoms, "linear", path))
    call.put({output.dim() - 1: atoms}, output, active=True)
    for tensor in attention:
        if heads is not None and average:
            call.tracer.taint(tensor, heads, f"is averaged in the attention weights of {call.tracer.module}")
        elif heads is not None:
            call.put({tensor.dim() - 3: heads}, tensor, active=True)
