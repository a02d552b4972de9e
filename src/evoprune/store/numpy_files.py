"""Arrays in files of numpy, read without trusting a size that stands in them."""

from __future__ import annotations

import io
import zipfile
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from evoprune.errors import DataError

_SAVE: Final = "save arrays of numbers or bools"
_READERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_NPY: Final = ".npy"


def read_numpy(path: Path, *, most_bytes: int) -> dict[str, NDArray[Any]]:
    """The arrays of a `.npz` by name, or that of a `.npy` by the name of the file.

    Args:
        path: The file.
        most_bytes: Most bytes that a `.npz` may unpack to; a few compressed bytes can stand for any number.

    Raises:
        DataError: It is missing, damaged, holds objects, or is larger than that.
    """
    try:
        if path.suffix == _NPY:
            # Mapped: a damaged header can't ask for more memory than the file is long.
            return {path.stem: np.array(np.load(path, mmap_mode="r", allow_pickle=False))}
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > most_bytes:
                raise DataError(f"{path} unpacks to {total:,} bytes, at most {most_bytes:,} expected for this network")
            return {member.filename.removesuffix(_NPY): _array(archive.read(member)) for member in members}
    except DataError:
        raise
    except Exception as error:  # damaged archives fail in zipfile, zlib, tokenize and numpy, each in ways of its own
        raise DataError(f"can't read the masks in {path}: {error}", _SAVE) from error


def _array(content: bytes) -> NDArray[Any]:
    """Read an array; `numpy.load` would make room for what the header promises before it looks at how much there is."""
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    if version not in _READERS:
        raise ValueError(f"format {version} is not for arrays of numbers")
    shape, fortran, kind = _READERS[version](stream)
    if kind.hasobject:
        raise ValueError("an array holds objects")
    flat = np.frombuffer(content, kind, prod(shape), stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy()
