"""Taking parts and putting parts together: cat, stack, split, slice, pad, shuffle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from evoprune.data.trees import tensors_in
from evoprune.space.tracing.labels import FIXED, Split, Vector
from evoprune.space.tracing.rules.call import Call, Dims
from evoprune.space.tracing.rules.movement import move
from evoprune.space.tracing.rules.pointwise import follow_fresh, part
from evoprune.space.tracing.rules.registry import rule
from evoprune.space.tracing.rules.sizes import cut_by_attributes, split_by_attributes


@rule("cat", "concat", "concatenate")
def cat(call: Call) -> None:
    """Labels one after the other; parts without a label can't be cut."""
    parts = [tensor for tensor in call.arg("tensors") if tensor.dim() == call.result.dim()]
    along = call.arg("dim", 0) % call.result.dim()
    dims = _shared(call, parts, [along])
    pieces = [call.dims(part).get(along) for part in parts]
    if any(piece is not None for piece in pieces):
        dims[along] = np.concatenate([
            np.full(part.shape[along], FIXED) if piece is None else piece for part, piece in zip(parts, pieces, strict=True)
        ])  # fmt: skip
    call.put(dims)


@rule("stack")
def stack(call: Call) -> None:
    """All parts share their labels; the new dimension has none."""
    along = call.arg("dim", 0) % call.result.dim()
    shared = _shared(call, list(call.arg("tensors")), [])
    call.put({dim + (dim >= along): atoms for dim, atoms in shared.items()})


def _shared(call: Call, parts: list[Tensor], skip: list[int]) -> Dims:
    dims: Dims = {}
    for dim in range(parts[0].dim()):
        if dim not in skip:
            joined = call.join([part(call, one, dim - one.dim()) for one in parts])
            if joined is not None:
                dims[dim] = joined
                follow_fresh(call, parts, joined, dim - parts[0].dim())
    return dims


@rule("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk", "unsafe_chunk", "split_copy",
      "split_with_sizes_copy", "tensor_split")  # fmt: skip
def split(call: Call) -> None:
    """Equal parts of a labelled dimension are cut alike; unequal ones need attributes that hold their sizes."""
    operand = call.operands[0]
    along = call.arg("dim", 0) % operand.dim()
    dims = call.dims(operand)
    atoms = dims.pop(along, None)
    if atoms is not None and len(call.result) == 1:
        dims[along] = atoms
    elif atoms is not None and len({part.shape[along] for part in call.result}) == 1:
        dims[along] = _alike(call, atoms.reshape(len(call.result), -1))
        call.couplings.reshapes.append(Split(atoms, call.tracer.module, call.result[0].shape[along]))
    elif atoms is not None:
        sizes = [part.shape[along] for part in call.result]
        if split_by_attributes(call, atoms, sizes):
            for part, start in zip(call.result, np.cumsum([0, *sizes]).tolist(), strict=False):
                call.put({**dims, along: atoms[start : start + part.shape[along]]}, part)
            return
        call.freeze(atoms, "is split into parts of unequal size, which no attribute of the module names,")
    call.put_all(dims)


@rule("slice", "narrow", "narrow_copy", "slice_copy")
def take_slice(call: Call) -> None:
    """A slice that is one of several equal parts is treated as a split; others need attributes that say where they are."""
    operand = call.operands[0]
    along = call.arg("dim", 0) % operand.dim()
    dims = call.dims(operand)
    atoms = dims.pop(along, None)
    if atoms is not None:
        size, length = operand.shape[along], call.result.shape[along]
        start = min(max(_start(call, size), 0), size)
        edges = [edge for edge in (start, start + length) if 0 < edge < size]
        plain = call.arg("step", 1) == 1 and length > 0
        if length == size:
            dims[along] = atoms
        elif plain and size % length == 0 and start % length == 0:
            dims[along] = _alike(call, atoms.reshape(-1, length))
            cut_by_attributes(call, atoms, edges, named=True)
        elif plain and cut_by_attributes(call, atoms, edges):
            dims[along] = atoms[start : start + length]
        else:
            call.freeze_where_read(atoms, "is sliced at fixed positions")
    call.put(dims)


def _start(call: Call, size: int) -> int:
    start = int(call.arg("start") or 0)
    return start + size if start < 0 else start


def _alike(call: Call, rows: Vector) -> Vector:
    return call.couplings.tie_rows(rows, f"is split with fixed positions in {call.where}")


@rule("select", "unbind", "select_copy", "unbind_copy")
def select(call: Call) -> None:
    """Single positions of a labelled dimension are fixed in the model's code."""
    operand = call.operands[0]
    along = call.arg("dim", 0) % operand.dim()
    dims = call.dims(operand)
    atoms = dims.pop(along, None)
    call.put_all({dim - (dim > along): atoms for dim, atoms in dims.items()})
    if atoms is not None:
        call.freeze_where_read(atoms, "is read one position at a time")


@rule("index", "index_select", "roll", "_unsafe_index")
def index(call: Call) -> None:
    """Labelled dimensions that are indexed or rolled by numbers are frozen; others move along."""
    operand = call.operands[0]
    touched = _indexed_dims(call, operand)
    dims = call.dims(operand)
    for dim in touched & dims.keys():
        call.freeze(dims[dim], "is indexed by fixed positions")
    for other in call.operands[1:]:
        call.freeze_dims(call.dims(other), "is used as an index")
    call.tracer.put(
        operand, {dim: atoms for dim, atoms in dims.items() if dim not in touched}, active=call.labels(operand).active
    )
    move(call, lambda plane: call.func(plane, *call.args[1:], **call.kwargs))
    call.tracer.put(operand, dims, active=call.labels(operand).active)


def _indexed_dims(call: Call, operand: Tensor) -> set[int]:
    indices = call.arg("indices")
    if indices is not None:
        touched: set[int] = set()
        position = 0
        for item in indices:
            width = item.dim() if item is not None and item.dtype.is_floating_point is False and _mask(item) else 1
            if item is not None:
                touched |= set(range(position, position + width))
            position += width
        return touched
    along = call.arg("dims", call.arg("dim"))
    if isinstance(along, Sequence):
        return {dim % operand.dim() for dim in along} if along else set(range(operand.dim()))
    return {along % operand.dim()}


def _mask(item: Tensor) -> bool:
    return str(item.dtype) in {"torch.bool", "torch.uint8"}


@rule("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d",
      "replication_pad3d", "_pad_circular")  # fmt: skip
def pad(call: Call) -> None:
    """Padded positions are fixed; only constants may be put beside a labelled dimension."""
    operand = call.operands[0]
    widths = list(call.arg("pad", call.arg("padding")))
    constant = "constant" in str(call.func)
    dims: Dims = {}
    for dim, atoms in call.dims(operand).items():
        place = 2 * (operand.dim() - 1 - dim)
        before, after = (widths[place], widths[place + 1]) if place < len(widths) else (0, 0)
        if (before or after) and (not constant or before < 0 or after < 0):
            call.freeze(atoms, "is padded or cropped")
        else:
            dims[dim] = np.pad(atoms, (before, after), constant_values=FIXED)
    call.put(dims)


@rule("pixel_shuffle", "pixel_unshuffle")
def pixel_shuffle(call: Call) -> None:
    """Channels become pixels in blocks of factor x factor, or the other way round."""
    operand = call.operands[0]
    block = (call.arg("upscale_factor") or call.arg("downscale_factor")) ** 2
    dims = call.dims(operand)
    last = operand.dim() - 1
    for dim in (last - 1, last):
        if dim in dims:
            call.freeze(dims.pop(dim), "is folded into channels")
    atoms = dims.get(last - 2)
    if atoms is not None:
        shuffle = call.arg("upscale_factor") is not None
        dims[last - 2] = _alike(call, atoms.reshape(-1, block).T) if shuffle else np.repeat(atoms, block)
    call.put(dims)


@rule("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(call: Call) -> None:
    """Every group gives up the same channels."""
    dims = call.dims(call.operands[0])
    if 1 in dims:
        groups = call.arg("groups")
        dims[1] = np.repeat(_alike(call, dims[1].reshape(groups, -1)), groups)
    call.put(dims)


@rule("im2col", "col2im")
def unfold(call: Call) -> None:
    """Patches: a channel becomes kernel-size many rows, or the other way round."""
    operand = call.operands[0]
    channel = operand.dim() - 3 if "im2col" in str(call.func) else operand.dim() - 2
    dims = call.dims(operand)
    atoms = dims.pop(channel, None)
    for dim in [dim for dim in dims if dim > channel]:
        call.freeze(dims.pop(dim), "is unfolded into patches")
    if atoms is not None:
        taps = int(np.prod(call.arg("kernel_size")))
        dims[channel] = (
            np.repeat(atoms, taps) if "im2col" in str(call.func) else _alike(call, atoms.reshape(-1, taps).T)
        )
    call.put(dims)


@rule("glu")
def glu(call: Call) -> None:
    """Two halves are multiplied position by position."""
    operand = next(tensors_in(call.args))
    along = call.arg("dim", -1) % operand.dim()
    dims = call.dims(operand)
    if along in dims:
        dims[along] = _alike(call, dims[along].reshape(2, -1))
    call.put(dims)
