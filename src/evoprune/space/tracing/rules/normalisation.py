"""Normalisation layers: statistics per channel pass; those that mix channels are recomputed over what is kept."""

from __future__ import annotations

import numpy as np
from torch import nn

from evoprune.space.tracing.labels import PlainNorm, Sizing, Vector
from evoprune.space.tracing.rules.call import Call, Dims
from evoprune.space.tracing.rules.computed import passes_statistics
from evoprune.space.tracing.rules.registry import rule


@rule("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "_native_batch_norm_legit", "batch_norm",
      "_native_batch_norm_legit_no_training", "_batch_norm_no_update", "_batch_norm_with_update")  # fmt: skip
def batch_norm(call: Call) -> None:
    """Affine parameters and statistics go with their channel."""
    source = call.operands[0]
    dims = call.dims(source)
    averaged = {dim: atoms for dim, atoms in dims.items() if dim != 1} if call.arg("training") else {}
    if averaged and not passes_statistics(call, averaged):
        for dim in averaged:
            call.freeze(dims.pop(dim), "is averaged over")
    size = source.shape[1]
    atoms = call.join([
        (dims.pop(1, None), size),
        *((call.dims(other).get(0), size) for other in call.operands[1:] if size > 1),
    ])  # fmt: skip
    if atoms is not None:
        dims[1] = atoms
    call.put(dims, call.result[0])


@rule("native_layer_norm", "layer_norm")
def layer_norm(call: Call) -> None:
    """The last dimension is normalised over what is kept of it; without a weight only a layer is recognised in the reference."""
    source, weight, bias = call.arg("input"), call.arg("weight"), call.arg("bias")
    dims = call.dims(source)
    normalised = range(source.dim() - len(call.arg("normalized_shape")), source.dim())
    if len(normalised) == 1 and weight is None and call.tracer.runs(nn.LayerNorm):
        _plain(call, dims.get(source.dim() - 1))
    elif len(normalised) > 1 or weight is None:
        for dim in [dim for dim in dims if dim in normalised]:
            what = "is normalised over several dimensions" if weight is not None else "is normalised without a weight"
            call.freeze(dims.pop(dim), what)
        for other in (weight, bias):
            call.freeze_dims(call.dims(other), "is normalised with several dimensions")
    else:
        _affine(call, dims, source.dim() - 1, source.shape[-1])
    call.put(dims, call.result[0])


@rule("native_group_norm", "group_norm")
def group_norm(call: Call) -> None:
    """Every group gives up the same positions, and is normalised over what is kept."""
    source, groups = call.arg("input"), int(call.arg("group"))
    dims = call.dims(source)
    for dim in [dim for dim in dims if dim > 1]:
        call.freeze(dims.pop(dim), "is averaged over")
    if call.arg("weight") is None:
        if call.tracer.runs(nn.GroupNorm):
            _plain(call, dims.get(1))
        elif 1 in dims:
            call.freeze(dims.pop(1), "is normalised without a weight")
    else:
        _affine(call, dims, 1, source.shape[1])
    if 1 in dims and 1 < groups < len(dims[1]):
        dims[1] = _balanced(call, dims[1], groups)
    call.put(dims, call.result[0])


def _plain(call: Call, atoms: Vector | None) -> None:
    """Note what a layer without weights normalises; what it normalises at another time is cut alike."""
    module = call.tracer.module
    known = next((norm.atoms for norm in call.couplings.plain_norms if norm.module == module), None)
    if known is not None and (atoms is None or len(atoms) != len(known)):
        call.freeze(known, "is normalised along with a fixed size")
    elif atoms is not None:
        if known is not None:
            call.couplings.tie(known, atoms, f"is normalised along with a fixed size in {call.where}")
        call.couplings.plain_norms.append(PlainNorm(module, atoms))
        own = call.tracer.attributes()
        for name, several in (("normalized_shape", True), ("num_channels", False), ("num_groups", False)):
            if name in own and (name != "num_groups" or own[name] == len(atoms)):
                call.couplings.sizings.append(Sizing(module, name, (atoms,), several))


def _affine(call: Call, dims: Dims, dim: int, size: int) -> None:
    atoms = call.join([
        (dims.pop(dim, None), size),
        *((call.dims(call.arg(name)).get(0), size) for name in ("weight", "bias") if call.arg(name) is not None),
    ])  # fmt: skip
    if atoms is not None:
        dims[dim] = atoms


def _balanced(call: Call, atoms: Vector, groups: int) -> Vector:
    row = call.couplings.tie_rows(atoms.reshape(groups, -1), f"is grouped with fixed positions in {call.where}")
    return np.tile(row, groups)
