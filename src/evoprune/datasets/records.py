"""The binary layout of CIFAR-10: records of one label byte and 3,072 pixel bytes, the red, green and blue plane row by row."""

from __future__ import annotations

import math
from typing import Final

from evoprune.datasets.idx import GZIP_MAGIC, Bytes
from evoprune.errors import DataError

CLASSES: Final = 10
IMAGE_SHAPE: Final = (3, 32, 32)
RECORD_BYTES: Final = 1 + math.prod(IMAGE_SHAPE)
_REPLACE: Final = "take the binary version of CIFAR-10 (cifar-10-binary.tar.gz), not the one for Python"


def parse_records(data: Bytes, *, records: int, where: str) -> Bytes:
    """The records of a whole file, as a view of `data`: nothing is copied.

    Args:
        data: [bytes] the whole file.
        records: Number of records that it must hold.
        where: The file's name for error messages.

    Returns:
        [records, 3073] uint8, the label first.

    Raises:
        DataError: The length is not that of so many records, or a label is not 0 to 9.
    """
    if data[:2].tobytes() == GZIP_MAGIC:
        raise DataError(f"{where} is gzip-compressed", "give it a name that ends in .gz, or unpack it")
    expected = records * RECORD_BYTES
    if len(data) != expected:
        problem = "is cut short" if len(data) < expected else "is too long"
        raise DataError(
            f"{where} {problem}: {len(data):,} bytes, {expected:,} expected ({records:,} records of {RECORD_BYTES:,})",
            _REPLACE,
        )
    rows = data.reshape(records, RECORD_BYTES)
    largest = int(rows[:, 0].max())
    if largest >= CLASSES:
        row = int((rows[:, 0] >= CLASSES).argmax())
        raise DataError(f"{where} has the label {rows[row, 0]} in record {row}, 0 to {CLASSES - 1} accepted", _REPLACE)
    return rows
