"""Data files in a folder that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from evoprune.datasets.cache import DataCache
from evoprune.datasets.data_file import DataFile
from evoprune.datasets.idx import Bytes
from evoprune.errors import DataError

# As downloaded, as torchvision lays them out, as npm and git copies do.
SUBFOLDERS: Final = ("", "raw", "MNIST/raw", "FashionMNIST/raw", "data", "package/data", "cifar-10-batches-bin")


def open_user_file(directory: Path, file: DataFile, cache: DataCache) -> Bytes:
    """The array of `file` from the user's folder, raw or gzipped.

    What the user named is used or refused, never silently replaced by another copy.

    Args:
        directory: The user's folder; common sub-folders are looked into.
        file: File to look for.
        cache: Takes the unpacked form of a gzipped file, so that processes can share it.

    Raises:
        DataError: The file is missing, damaged or another one.
    """
    path = _find(directory, file)
    if path.suffix != ".gz":
        return file.open(path)
    try:
        raw = file.unpack(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}", "check its permissions") from error
    # A bytearray, since tensors want memory that can be written.
    array = file.parse(np.frombuffer(bytearray(raw), dtype=np.uint8), str(path))
    return _shared(file, raw, cache, array)


def _shared(file: DataFile, raw: bytes, cache: DataCache, unshared: Bytes) -> Bytes:
    mapped = cache.read(file)
    if mapped is not None:
        return mapped
    try:
        cache.store(file, raw)
    except DataError:
        return unshared
    stored = cache.read(file)
    return unshared if stored is None else stored


def _find(directory: Path, file: DataFile) -> Path:
    directory = directory.expanduser()
    if not directory.is_dir():
        problem = "is not a folder" if directory.exists() else "does not exist"
        raise DataError(f"the data directory {directory} {problem}", "correct data.dir, or leave it out")
    # Some copies on the web write `train-images.idx3-ubyte`.
    spellings = (file.name, file.name.replace("-idx", ".idx"))
    for folder in SUBFOLDERS:
        for suffix in ("", ".gz"):
            for spelling in spellings:
                path = directory / folder / f"{spelling}{suffix}"
                if path.is_file():
                    return path
    raise DataError(
        f"the data directory {directory} has no {file.name}, raw or with .gz",
        "put the file there, or leave data.dir out and let evoprune fetch the data",
    )
