"""Data movement: the very same operation is run on the labels, so flatten and transpose are right by construction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evoprune.space.tracing.labels import Split, Vector
from evoprune.space.tracing.rules.call import Call, Dims
from evoprune.space.tracing.rules.registry import rule


@rule("permute", "transpose", "t", "unsqueeze", "squeeze", "alias", "detach", "flip", "repeat", "swapaxes", "movedim",
      "squeeze_", "unsqueeze_", "transpose_", "t_", "squeeze_copy", "permute_copy", "transpose_copy", "unsqueeze_copy", "tile",
      "rot90")  # fmt: skip
def same_operation(call: Call) -> None:
    """Run the operation itself on the labels."""
    name = str(call.func).partition(".")[2].partition(".")[0]
    func = call.func
    if name.endswith("_"):
        func = getattr(torch.ops.aten, name[:-1])
    move(call, lambda plane: func(plane, *call.args[1:], **call.kwargs))


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "view_copy", "unflatten", "flatten")
def view(call: Call) -> None:
    """Reshape the labels to the shape of the result."""
    if isinstance(call.arg("dtype"), torch.dtype):
        call.freeze_dims(call.dims(call.operands[0]), "is reinterpreted as another type")
        return
    move(call, lambda plane: plane.reshape(call.result.shape))
    for dim, atoms in call.dims(call.result).items():
        call.couplings.reshapes.append(Split(atoms, call.tracer.module, call.result.shape[dim]))


@rule("expand", "broadcast_to", "expand_copy")
def expand(call: Call) -> None:
    """Expand the labels to the shape of the result."""
    move(call, lambda plane: plane.expand(call.result.shape))


@rule(
    "clone",
    "_to_copy",
    "contiguous",
    "lift_fresh",
    "lift_fresh_copy",
    "to",
    "view_as_real_copy",
    "dropout",
    "feature_dropout",
    "zero_",
    "fill_",
)
def same_shape(call: Call) -> None:
    """The result has the shape and the labels of the operand."""
    call.put(call.dims(call.operands[0]))


@rule("as_strided_")
def restride(call: Call) -> None:
    """ATen's adaptive pooling rewrites the strides of dimensions of size 1; anything more is not followed."""
    operand = call.operands[0]
    expected = 1
    plain = (
        operand.storage_offset() == 0 and operand.numel() * operand.element_size() == operand.untyped_storage().nbytes()
    )
    for size, stride in zip(reversed(operand.shape), reversed(operand.stride()), strict=True):
        plain = plain and (size == 1 or stride == expected)
        expected *= size
    if not plain:
        call.freeze_dims(call.dims(operand), "is given new strides")
    call.put(call.dims(operand) if plain else {})


def move(call: Call, operation: Callable[[Tensor], Tensor]) -> None:
    """Label the result with each label of the first operand, moved by `operation`.

    A label that comes out along several dimensions is tied until it varies along one; two labels that come out along the same
    dimension can't both be cut, so the inner one is frozen.
    """
    operand = call.operands[0]
    dims: Dims = {}
    for dim, atoms in sorted(call.dims(operand).items()):
        for moved_dim, moved in _moved(call, operand, dim, atoms, operation).items():
            if moved_dim in dims:
                call.freeze(moved, "is merged with another prunable dimension")
            else:
                dims[moved_dim] = moved
    call.put(dims)


def _moved(call: Call, operand: Tensor, dim: int, atoms: Vector, operation: Callable[[Tensor], Tensor]) -> Dims:
    shape = [1] * operand.dim()
    shape[dim] = -1
    plane = operation(torch.from_numpy(atoms).reshape(shape).expand(operand.shape))
    varying = [moved_dim for moved_dim in range(plane.dim()) if _varies(plane, moved_dim)]
    if not varying:
        alone = bool((atoms == atoms[0]).all())
        call.freeze(atoms, "is tied into one inseparable unit" if alone else "is cut at a fixed position")
        return {}
    reading = call.tracer.reading([plane.shape[moved_dim] for moved_dim in varying])
    free = varying[max(reading, -len(varying))]
    if len(varying) > 1:
        call.couplings.splits.append(Split(atoms, call.tracer.module, plane.shape[free], len(varying)))
    return {free: _one_dimension(call, plane, free, varying)}


def _varies(plane: Tensor, dim: int) -> bool:
    if plane.shape[dim] <= 1 or plane.stride(dim) == 0:
        return False
    return bool((plane != plane.narrow(dim, 0, 1)).any())


def _one_dimension(call: Call, plane: Tensor, free: int, varying: list[int]) -> Vector:
    """Tie `plane` along all of `varying` but `free`; -> the label along `free`."""
    for dim in range(plane.dim()):
        if dim not in varying:
            plane = plane.narrow(dim, 0, 1)
    rows: Any = plane.movedim(free, -1).reshape(-1, plane.shape[free]).numpy()
    if len(rows) == 1:
        return np.ascontiguousarray(rows[0])
    return call.couplings.tie_rows(rows, f"is split with fixed positions in {call.where}")
