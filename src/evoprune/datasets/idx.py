"""The IDX format of MNIST: two zero bytes, element type, rank, big-endian sizes, then the elements."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import DataError

Bytes = NDArray[np.uint8]

UNSIGNED_BYTE: Final = 0x08
GZIP_MAGIC: Final = b"\x1f\x8b"
_REPLACE: Final = "replace the file, or remove it and let evoprune fetch the data"


def parse_idx(data: Bytes, *, rank: int, where: str) -> Bytes:
    """The array inside an IDX file, as a view of `data`: nothing is copied, and no size in the file is trusted.

    Args:
        data: [bytes] the whole file.
        rank: Dimensions the array must have: 3 for images, 1 for labels.
        where: The file's name for error messages.

    Returns:
        [sizes of the header] uint8.

    Raises:
        DataError: The bytes are not an IDX file of unsigned bytes with that rank, or are cut short or too many.
    """
    _check_magic(data, rank, where)
    header = 4 + 4 * rank
    sizes = [int.from_bytes(data[start : start + 4].tobytes(), "big") for start in range(4, header, 4)]
    found, promised = len(data) - header, math.prod(sizes)
    if len(data) < header or found < promised:
        raise DataError(f"{where} is cut short: {max(found, 0):,} bytes of data, {promised:,} expected", _REPLACE)
    if found > promised:
        raise DataError(f"{where} has {found - promised:,} bytes more than its header says", _REPLACE)
    if promised == 0:
        raise DataError(f"{where} holds no items", _REPLACE)
    return data[header:].reshape(sizes)


def _check_magic(data: Bytes, rank: int, where: str) -> None:
    magic = data[:4].tobytes()
    if magic.startswith(GZIP_MAGIC):
        raise DataError(f"{where} is gzip-compressed", "give it a name that ends in .gz, or unpack it")
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(f"{where} is not an IDX file: it begins with {magic.hex() or 'nothing'}", _REPLACE)
    if magic[2] != UNSIGNED_BYTE:
        raise DataError(f"{where} has element type 0x{magic[2]:02x}, 0x08 (unsigned bytes) expected", _REPLACE)
    if magic[3] != rank:
        raise DataError(
            f"{where} has {magic[3]} dimensions, {rank} expected (3 in images, 1 in labels)",
            "check that image and label files have not been swapped",
        )
