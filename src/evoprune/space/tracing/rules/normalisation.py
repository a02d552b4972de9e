"""Normalisation layers: statistics per channel pass; those that mix channels are recomputed over what is kept."""

from __future__ import annotations

import numpy as np

from evoprune.space.tracing.labels import Vector
from evoprune.space.tracing.rules.call import Call, Dims
from evoprune.space.tracing.rules.registry import rule


@rule("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "_native_batch_norm_legit", "batch_norm",
      "_native_batch_norm_legit_no_training", "_batch_norm_no_update", "_batch_norm_with_update")  # fmt: skip
def batch_norm(call: Call) -> None:
    """Affine parameters and statistics go with their channel."""
    source = call.operands[0]
    dims = call.dims(source)
    if call.arg("training"):
        for dim in [dim for dim in dims if dim != 1]:
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
    """The last dimension is normalised over what is kept of it; only an affine one is recognised in the masked reference."""
    source, weight, bias = call.arg("input"), call.arg("weight"), call.arg("bias")
    dims = call.dims(source)
    normalised = range(source.dim() - len(call.arg("normalized_shape")), source.dim())
    if len(normalised) > 1 or weight is None:
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
        if 1 in dims:
            call.freeze(dims.pop(1), "is normalised without a weight")
    else:
        _affine(call, dims, 1, source.shape[1])
    if 1 in dims and 1 < groups < len(dims[1]):
        dims[1] = _balanced(call, dims[1], groups)
    call.put(dims, call.result[0])


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
