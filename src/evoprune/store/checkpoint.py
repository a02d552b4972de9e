"""Weights that a user brings: safetensors, or a torch state dict read without running code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.errors import DataError, StoreCorruptedError
from evoprune.nn_utils.weights import put_weights, read_weights
from evoprune.store.checkpoint_names import fit_names

HOLDERS: Final = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "module")
"""Under which a checkpoint may hold a state dict, beside an optimizer's and so on."""

_DEEPEST: Final = 4
_SAVE_ALONE: Final = "save the state dict alone: torch.save(model.state_dict(), path)"


def put_checkpoint(model: nn.Module, path: Path) -> None:
    """Give `model` the trained weights of a file, in place; wrappers such as `DataParallel` on either side make no difference.

    Raises:
        DataError: The file is missing, damaged, or holds anything but tensors by name.
        UsageError: They are of another architecture.
    """
    put_weights(model, fit_names(read_checkpoint(path), model), str(path))


def read_checkpoint(path: Path, what: str = "data.checkpoint") -> dict[str, Tensor]:
    """Read trained weights, or other tensors by name.

    A `.pth` or `.pt` may hold a state dict, or one under a name of `HOLDERS`. Names stay as they are in the file.

    Args:
        path: The file.
        what: Setting that names the file, for messages.

    Raises:
        DataError: The file is missing, damaged, holds several state dicts, or anything but tensors by name.
    """
    if not path.is_file():
        raise DataError(f"{what} {path} does not exist", "name a .safetensors file or a .pth state dict")
    weights = _read_safetensors(path, what) if path.suffix == ".safetensors" else _read_torch(path, what)
    odd = next((name for name, value in weights.items() if not (isinstance(name, str) and _is_tensor(value))), None)
    if not weights or odd is not None:
        which = "" if odd is None else f": {str(odd)[:80]!r} is a {type(weights[odd]).__name__}"
        raise DataError(f"{what} {path} does not hold tensors by name{which}", _SAVE_ALONE)
    return weights


def _read_safetensors(path: Path, what: str) -> dict[str, Tensor]:
    try:
        return read_weights(path)
    except StoreCorruptedError as error:
        raise DataError(f"{what}: {error.message}") from error


def _refuse_bombs(path: Path) -> None:
    """See that a zip is no longer unpacked than packed: torch stores what it saves without compressing it.

    Raises:
        ValueError: It is.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"it unpacks to {unpacked:,} bytes, {path.stat().st_size:,} is its length")


def _read_torch(path: Path, what: str) -> dict[str, Tensor]:
    try:
        _refuse_bombs(path)
        content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - the one place, weights only
    except Exception as error:  # a damaged file can fail anywhere in the unpickler, with an IndexError for one
        raise DataError(
            f"{what} {path} can't be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            _SAVE_ALONE,
        ) from error
    return _state_dict_in(content, f"{what} {path}")


def _state_dict_in(content: Any, origin: str) -> dict[str, Tensor]:
    for _ in range(_DEEPEST):
        if not isinstance(content, dict) or (content and all(map(_is_tensor, content.values()))):
            break
        holders = [key for key in HOLDERS if isinstance(content.get(key), dict)]
        if len(holders) > 1:
            raise DataError(f"{origin} holds several state dicts: {', '.join(holders)}", _SAVE_ALONE)
        if not holders:
            break
        content = content[holders[0]]
    return dict(content) if isinstance(content, dict) else {}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)
