"""A model with weight masks as one small safetensors file: of each masked tensor its positions and the values that stay."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from evoprune.errors import InvalidPlanError, StoreCorruptedError
from evoprune.mask_plan import BoolMask, MaskPlan, PackedMask, metadata_of, read_shape
from evoprune.masks.apply import check_masks_fit
from evoprune.nn_utils.weights import load_tensors, save_tensors, weights_of

FORMAT: Final = 1
HEADER: Final = "evoprune.sparse"
VALUES: Final = ":values"
BITS: Final = ":bits"
GAPS: Final = ":gaps"

_FAR: Final = 255
"""In a list of gaps: skip 255 weights, none of which stays."""


def sparse_weight_bytes(model: nn.Module, plan: MaskPlan) -> bytes:
    """The weights of a masked model as a safetensors file, the same for equal weights.

    A masked tensor `w` becomes `w:values`, those that stay in C order, and their positions in the shorter of two forms:
    `w:bits`, the packed mask, or `w:gaps`, the number of pruned weights before each one that stays (and before the end) as uint8,
    255 standing for 255 pruned ones and no value. All other tensors are stored whole.

    Args:
        model: Network whose weights are zero wherever `plan` prunes. A negative zero there comes back as zero.
        plan: Masks of the network.

    Raises:
        InvalidPlanError: The plan doesn't fit the model, or a pruned weight is not zero.
    """
    check_masks_fit(model, plan)
    weights = weights_of(model)
    stored: dict[str, Tensor] = {name: value for name, value in weights.items() if name not in plan.masks}
    for name, mask in plan.masks.items():
        keep = mask.bools
        _check_zero(name, weights[name], keep)
        stored[name + VALUES] = _select(weights[name], keep)
        gaps = _gaps(np.flatnonzero(keep), mask.size, shorter_than=len(mask.packed))
        stored[name + (BITS if gaps is None else GAPS)] = torch.from_numpy(mask.packed.copy() if gaps is None else gaps)
    header = {"format": FORMAT, "shapes": {name: list(mask.shape) for name, mask in sorted(plan.masks.items())}}
    return save_tensors(stored, {HEADER: json.dumps(header)})


def read_sparse_weights(content: bytes, *, most_weights: int) -> dict[str, Tensor]:
    """All tensors of the model by name, as they were, bit for bit.

    Args:
        content: Bytes that `sparse_weight_bytes` returned.
        most_weights: Most weights of the masked tensors together: zeros take no room in the file, but they do in memory.

    Raises:
        StoreCorruptedError: The bytes are damaged, of another kind, of a newer format, or of a larger network.
    """
    try:
        stored = load_tensors(content)
        header = json.loads(metadata_of(content)[HEADER])
        if header["format"] != FORMAT:
            raise StoreCorruptedError(f"sparse weights have format {header['format']!r}, this evoprune reads {FORMAT}")
        promised = sum(_size(shape) for shape in header["shapes"].values())
        if promised > most_weights:
            raise StoreCorruptedError(f"the sparse weights are {promised:,}, at most {most_weights:,} expected")
        for name, shape in header["shapes"].items():
            stored[name] = _whole(stored, name, shape)
    except (
        SafetensorError,
        InvalidPlanError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RuntimeError,
    ) as error:
        raise StoreCorruptedError(f"can't read the sparse weights: {type(error).__name__}: {error}") from error
    return stored


def read_sparse_file(path: Path, *, most_weights: int) -> dict[str, Tensor]:
    """Read what `read_sparse_weights` does, from a file.

    Raises:
        StoreCorruptedError: It is missing or damaged.
    """
    try:
        return read_sparse_weights(path.read_bytes(), most_weights=most_weights)
    except (OSError, StoreCorruptedError) as error:
        raise StoreCorruptedError(f"can't read the weights in {path}: {error}") from error


def _check_zero(name: str, weight: Tensor, keep: BoolMask) -> None:
    wide = weight.to(torch.complex128 if weight.is_complex() else torch.float64)
    wrong = int(wide[torch.from_numpy(~keep)].count_nonzero())
    if wrong:
        raise InvalidPlanError(f"{wrong} weights of {name!r} are not zero although their mask prunes them")


def _select(weight: Tensor, keep: BoolMask) -> Tensor:
    """The kept values as bytes would copy them: not a bit of nan or -0.0 changes, whatever the type."""
    rows = _as_rows(weight)[keep.reshape(-1)]
    return torch.from_numpy(rows.reshape(-1)).view(weight.dtype)


def _gaps(positions: NDArray[np.int64], size: int, *, shorter_than: int) -> NDArray[np.uint8] | None:
    gaps = np.diff(positions, prepend=-1, append=size) - 1
    skips = gaps // _FAR
    length = len(gaps) + int(skips.sum())
    if length >= shorter_than:
        return None
    codes = np.full(length, _FAR, dtype=np.uint8)
    codes[np.cumsum(skips + 1) - 1] = gaps % _FAR
    return codes


def _positions(codes: NDArray[np.uint8], size: int) -> NDArray[np.int64]:
    ends = np.flatnonzero(codes != _FAR)
    positions = np.cumsum(codes + (codes != _FAR), dtype=np.int64)[ends] - 1
    if not len(codes) or codes[-1] == _FAR or positions[-1] != size:
        raise ValueError("the gaps don't add up to the weights")
    return positions[:-1]


def _whole(stored: dict[str, Tensor], name: str, shape: Any) -> Tensor:
    size, values = _size(shape), stored.pop(name + VALUES)
    coding = GAPS if name + GAPS in stored else BITS
    code = stored.pop(name + coding).numpy()
    if code.dtype != np.uint8 or code.ndim != 1:
        raise TypeError(f"the positions of {name!r} are no bytes")
    # Either proves `size` before anything of that size is made.
    mask = PackedMask(code, tuple(shape)) if coding == BITS else None
    positions = np.flatnonzero(mask.bools) if mask is not None else _positions(code, size)
    if values.shape != positions.shape:
        raise ValueError(f"{len(positions)} weights of {name!r} stay, but there are {list(values.shape)} values")
    rows = np.zeros((size, values.element_size()), dtype=np.uint8)
    rows[positions] = _as_rows(values)
    return torch.from_numpy(rows.reshape(-1)).view(values.dtype).reshape(shape)


def _size(shape: Any) -> int:
    return prod(read_shape(shape))


def _as_rows(tensor: Tensor) -> NDArray[np.uint8]:
    """[elements, bytes of one]; numpy has no bfloat16."""
    return tensor.reshape(-1).view(torch.uint8).numpy().reshape(tensor.numel(), tensor.element_size())
