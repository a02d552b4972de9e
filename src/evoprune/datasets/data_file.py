"""One file of a data set: how to recognise it, unpack it and read it."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from evoprune.datasets.idx import Bytes, parse_idx
from evoprune.datasets.records import parse_records
from evoprune.errors import DataError


@dataclass(frozen=True)
class DataFile:
    """A file known by its contents.

    Attributes:
        name: File name without `.gz`.
        shape: Shape of the array inside.
        sha256: Digest of the raw file, in hexadecimal; None where copies with other bytes but the right structure are welcome.
        layout: `idx` as MNIST is, or `records` as CIFAR-10 is.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str | None = None
    layout: Literal["idx", "records"] = "idx"

    @property
    def size_bytes(self) -> int:
        """Length of the raw file."""
        header = 4 + 4 * len(self.shape) if self.layout == "idx" else 0
        return header + math.prod(self.shape)

    def parse(self, data: Bytes, where: str) -> Bytes:
        """The array in `data`, the whole raw file, once it has proved to be the right one.

        Raises:
            DataError: The bytes are damaged, or those of another file; the message says which, naming `where`.
        """
        if self.layout == "records":
            array = parse_records(data, records=self.shape[0], where=where)
        else:
            array = parse_idx(data, rank=len(self.shape), where=where)
        self._check_hash(data, where)
        return array

    def _check_hash(self, data: Bytes, where: str) -> None:
        if self.sha256 is None:
            return
        found = hashlib.sha256(data.data).hexdigest()
        if found != self.sha256:
            raise DataError(
                f"{where} is not the original {self.name}: its SHA-256 is {found}, {self.sha256} expected",
                "replace the file, or remove it and let evoprune fetch the data",
            )

    def open(self, path: Path) -> Bytes:
        """The array in a raw file, mapped copy-on-write, so that all processes that read it share its pages.

        Raises:
            DataError: The file can't be read or is not the right one.
        """
        try:
            if path.stat().st_size == 0:
                raise DataError(f"{path} is empty", "replace the file, or remove it and let evoprune fetch the data")
            data: Bytes = np.memmap(path, dtype=np.uint8, mode="c")
        except OSError as error:
            raise DataError(f"{path} can't be read: {error.strerror or error}", "check its permissions") from error
        return self.parse(data, str(path))

    def unpack(self, packed: bytes, where: str) -> bytes:
        """The raw file from its gzip form; never more than a byte over the right length is unpacked.

        Raises:
            DataError: `packed` is not gzip or is damaged.
        """
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
                return stream.read(self.size_bytes + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{where} is not a sound gzip file: {error}", "replace the file") from error
