"""Rows that are gathered, scattered and added up by index, as graph networks and mixtures of experts do."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from evoprune.space.tracing.labels import Vector
from evoprune.space.tracing.rules.call import Call, Dims
from evoprune.space.tracing.rules.pointwise import follow_fresh, part
from evoprune.space.tracing.rules.registry import rule

_STEP: Final = 8


@rule(
    "scatter_add",
    "scatter_add_",
    "scatter_reduce",
    "scatter_reduce_",
    "index_add",
    "index_add_",
    "index_reduce",
    "index_reduce_",
)
def add_by_index(call: Call) -> None:
    """Values go to rows by index; the other dimensions meet position by position."""
    target = call.arg("self")
    values = call.arg("src") if call.arg("src") is not None else call.arg("source")
    index = call.arg("index")
    along = int(call.arg("dim")) % max(1, target.dim())
    for tensor in (target, values, index):
        call.freeze_dims({dim: atoms for dim, atoms in call.dims(tensor).items() if dim == along}, "is scattered over")
    meeting = [target, values] if index.dim() < values.dim() or index.dim() == 1 else [target, values, index]
    dims: Dims = {}
    for dim in range(target.dim()):
        if dim != along:
            joined = call.join([part(call, tensor, dim - tensor.dim()) for tensor in meeting])
            if joined is not None and len(joined) == target.shape[dim]:
                dims[dim] = joined
                follow_fresh(call, [target], joined, dim - target.dim())
            elif joined is not None:
                call.freeze(joined, "is scattered over a part")
    call.put(dims)


@rule("gather")
def gather(call: Call) -> None:
    """Rows by index; other dimensions go on where all of their positions are read, in order."""
    source, index = call.arg("self"), call.arg("index")
    along = int(call.arg("dim")) % max(1, source.dim())
    dims: Dims = {}
    for dim in range(source.dim()):
        atoms, read = call.dims(source).get(dim), call.dims(index).get(dim)
        whole = dim != along and source.shape[dim] == index.shape[dim]
        if whole:
            joined = call.join([(atoms, source.shape[dim]), part(call, index, dim - index.dim())])
            if joined is not None:
                dims[dim] = joined
            continue
        for vector in (atoms, read):
            if vector is not None:
                call.freeze(vector, "is gathered by an index")
    call.put(dims)


@rule("_grouped_mm")
def grouped_product(call: Call) -> None:
    """Each group of rows times a matrix of its own, [tokens, k] with [groups, k, n], as experts are run."""
    first, second = call.arg("self"), call.arg("mat2")
    if first.dim() != 2 or second.dim() != 3 or call.arg("bias") is not None:
        for tensor in call.operands:
            call.freeze_dims(call.dims(tensor), "is used in a way evoprune has no rule for,")
        return
    one, two = call.labels(first), call.labels(second)
    if 0 in two.dims:
        call.freeze(two.dims[0], "is chosen by index")
    call.contract((one.dims.get(1), one.active), (two.dims.get(1), two.active), first.shape[1])
    for atoms in (one.dims.get(1), two.dims.get(2)):
        if atoms is not None:
            _in_steps(call, atoms)
    dims: Dims = {}
    if 0 in one.dims:
        dims[0] = one.dims[0]
    if 2 in two.dims:
        dims[1] = two.dims[2]
        if not two.active:
            call.produce(two.dims[2], "linear")
    assert isinstance(call.result, Tensor)
    call.put(dims)


def _in_steps(call: Call, atoms: Vector) -> None:
    """The kernel wants rows of multiples of 16 bytes, in half precision as well: neighbours go together."""
    if len(atoms) % _STEP:
        call.freeze(atoms, f"has no length that is a multiple of {_STEP}, as is needed")
    else:
        call.couplings.tie_rows(atoms.reshape(-1, _STEP).T, f"goes in steps with fixed positions in {call.where}")


@rule("index_put", "index_put_", "_unsafe_index_put")
def put_by_index(call: Call) -> None:
    """Values go to rows that indices of the first dimensions choose; the other dimensions meet position by position."""
    target, values = call.arg("self"), call.arg("values")
    indices = call.arg("indices")
    masks = [index.dim() if index.dtype in {torch.bool, torch.uint8} else 1 for index in indices if index is not None]
    rows = sum(masks)
    if any(index is None or call.dims(index) for index in indices) or values.dim() > target.dim() - rows + 1:
        for tensor in call.operands:
            call.freeze_dims(call.dims(tensor), "is written to by an index")
        call.put({})
        return
    dims: Dims = {}
    for dim, atoms in call.dims(target).items():
        if dim < rows:
            call.freeze(atoms, "is written to by an index")
    for dim in range(rows, target.dim()):
        joined = call.join([part(call, tensor, dim - target.dim()) for tensor in (target, values)])
        if joined is not None:
            dims[dim] = joined
            follow_fresh(call, [target], joined, dim - target.dim())
    if values.dim() == target.dim() - rows + 1:
        call.freeze_dims({dim: atoms for dim, atoms in call.dims(values).items() if dim == 0}, "is written by an index")
    call.put(dims)
