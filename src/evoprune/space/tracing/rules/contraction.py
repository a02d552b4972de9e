"""Convolutions, matrix products and table look-ups: the summed dimension is matched, the other dimensions go on."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from evoprune.space.tracing.labels import Labels, Vector
from evoprune.space.tracing.rules.call import Call, Dims
from evoprune.space.tracing.rules.registry import rule


@rule("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution")
def convolution(call: Call) -> None:
    """Ordinary, grouped, depthwise and transposed convolution in any number of dimensions."""
    source, weight, bias = call.arg("input"), call.arg("weight"), call.arg("bias")
    transposed, groups = bool(call.arg("transposed", False)), int(call.arg("groups", 1))
    spatial = weight.dim() - 2
    channel = source.dim() - spatial - 1
    source_dims, weight_dims = call.dims(source), call.dims(weight)
    given = source_dims.pop(channel, None)
    for dim in [dim for dim in source_dims if dim > channel]:
        call.freeze(source_dims.pop(dim), "is convolved over")
    for dim in [dim for dim in weight_dims if dim > 1]:
        call.freeze(weight_dims[dim], "is a kernel's extent")
    into, out = (1, 0) if not transposed else (0, 1)
    shape = weight.shape
    if groups == 1:
        call.contract(
            (given, call.labels(source).active),
            (weight_dims.get(into), call.labels(weight).active),
            source.shape[channel],
        )
        made = weight_dims.get(out)
        call.produce(made, "conv_transpose" if transposed else "conv")
    elif shape[1] == 1 and (not transposed or shape[0] == groups):
        made = _depthwise(call, given, weight_dims.get(0), groups)
    else:
        made = _grouped(call, given, weight_dims, groups, transposed=transposed)
    if bias is not None and bias.shape[0] > 1:
        made = call.join([(made, bias.shape[0]), (call.dims(bias).get(0), bias.shape[0])])
    if made is not None:
        source_dims[channel] = made
    call.put(source_dims)


def _depthwise(call: Call, given: Vector | None, weight: Vector | None, groups: int) -> Vector | None:
    """One input channel per group: the weight goes with the channel, `multiplier` outputs each."""
    if given is None or weight is None:
        _freeze_present(call, given, weight)
        return None
    call.produce(weight, "conv")
    spread = np.repeat(given, len(weight) // groups)
    call.couplings.tie(spread, weight, f"is filtered at fixed positions in {call.where}")
    return call.join([(weight, len(weight)), (spread, len(weight))])


def _grouped(call: Call, given: Vector | None, weight: Dims, groups: int, *, transposed: bool) -> Vector | None:
    """Every group gives up the same positions, of its input and of its output."""
    full, part = weight.get(0), weight.get(1)
    tied: dict[int, Vector] = {}
    for key, atoms in ((0, full), (2, given)):
        if atoms is not None:
            tied[key] = call.couplings.tie_rows(
                atoms.reshape(groups, -1), f"is grouped with fixed positions in {call.where}"
            )
    into, out = (tied.get(0), part) if transposed else (part, tied.get(0))
    if into is None or 2 not in tied:
        _freeze_present(call, into, tied.get(2))
    else:
        call.couplings.tie(tied[2], into, f"is matched with fixed positions in {call.where}")
        call.couplings.consumed.append(into)
    if out is None:
        return None
    made = np.tile(out, groups)
    call.produce(made if transposed else full, "conv_transpose" if transposed else "conv")
    return made


def _freeze_present(call: Call, *labels: Vector | None) -> None:
    for atoms in labels:
        if atoms is not None:
            call.freeze(atoms, "is matched with a fixed size (an input, or a computed tensor)")


@rule("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "vdot", "addmm_", "addbmm")
def matrix_product(call: Call) -> None:
    """Products of matrices, of batches of them, and of matrices with vectors."""
    operands = list(call.operands)
    added = operands.pop(0) if len(operands) == 3 else None
    first, second = operands
    batched = first.dim() == 3
    dims = _product(call, first, second, batched=batched)
    if str(call.func).startswith("aten.addbmm"):
        call.freeze_dims(dims, "is summed over a batch")
        dims = {}
    if added is not None:
        dims = _add(call, dims, added)
    call.put(dims)


def _product(call: Call, first: Tensor, second: Tensor, *, batched: bool) -> Dims:
    one, two = call.labels(first), call.labels(second)
    inner = first.dim() - 1
    call.contract((one.dims.get(inner), one.active), (two.dims.get(int(batched)), two.active), first.shape[inner])
    dims: Dims = {}
    if batched:
        batch = call.join([(one.dims.get(0), first.shape[0]), (two.dims.get(0), second.shape[0])])
        if batch is not None:
            dims[0] = batch
    if first.dim() >= 2:
        _free_dim(call, dims, one, (first.dim() - 2, first.dim() - 2))
    if second.dim() >= 2:
        _free_dim(call, dims, two, (second.dim() - 1, call.result.dim() - 1))
    return dims


def _free_dim(call: Call, dims: Dims, labels: Labels, places: tuple[int, int]) -> None:
    operand_dim, result_dim = places
    atoms = labels.dims.get(operand_dim)
    if atoms is not None:
        dims[result_dim] = atoms
        if not labels.active:
            call.produce(atoms, "linear")
    elif not labels.active and call.result.shape[result_dim] > 1 and call.tracer.runs(nn.Linear):
        call.produce(None, "linear")


def _add(call: Call, dims: Dims, added: Tensor) -> Dims:
    joined: Dims = {}
    rank = call.result.dim()
    for dim in range(rank):
        place = added.dim() - rank + dim
        part = (None, 1) if place < 0 else (call.dims(added).get(place), added.shape[place])
        atoms = call.join([(dims.get(dim), call.result.shape[dim]), part])
        if atoms is not None:
            joined[dim] = atoms
    return joined


@rule("embedding", "_embedding_bag", "_embedding_bag_forward_only")
def embedding(call: Call) -> None:
    """Rows of a table: the features go on, the vocabulary stays."""
    table = call.arg("weight")
    dims = call.dims(table)
    if 0 in dims:
        call.freeze(dims[0], "is looked up")
    call.freeze_dims(call.dims(call.arg("indices")), "is used as an index")
    features = dims.get(1)
    if features is not None:
        call.produce(features, "embedding")
        looked_up = call.result if isinstance(call.result, Tensor) else call.result[0]
        call.put({looked_up.dim() - 1: features}, looked_up, active=True)
