"""Weights that a user brings: safetensors, or a torch state dict read without running code."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from evoprune.artifact import read_weights
from evoprune.errors import DataError, StoreCorruptedError


def read_checkpoint(path: Path, what: str = "data.checkpoint") -> dict[str, Tensor]:
    """Read trained weights, or other tensors by name.

    A `.pth` or `.pt` may hold a state dict, or one under `state_dict`, `model` or `net`; names that begin with `module.`, as
    `DataParallel` writes them, lose that prefix.

    Args:
        path: The file.
        what: How messages call it.

    Raises:
        DataError: The file is missing, damaged, or holds anything but tensors by name.
    """
    if not path.is_file():
        raise DataError(f"{what} {path} does not exist", "name a .safetensors file or a .pth state dict")
    weights = _read_safetensors(path, what) if path.suffix == ".safetensors" else _read_torch(path, what)
    if not weights or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()):
        raise DataError(f"{what} {path} does not hold tensors by name")
    return {name.removeprefix("module."): value for name, value in weights.items()}


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
            "save the state dict alone: torch.save(model.state_dict(), path)",
        ) from error
    for key in ("state_dict", "model", "net"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    return dict(content) if isinstance(content, dict) else {}
