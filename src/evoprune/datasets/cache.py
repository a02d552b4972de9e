"""Verified data files in the user's cache directory."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from evoprune.caching import PART, remove_old_parts
from evoprune.datasets.data_file import DataFile
from evoprune.datasets.idx import Bytes
from evoprune.errors import DataError


@dataclass(frozen=True)
class DataCache:
    """The raw files of one data set.

    A file appears whole or not at all, by renaming, so that several processes may fill the cache at once: the last one wins, and
    all of them wrote the same bytes. Every read is verified.

    Attributes:
        folder: Folder of the files; made when the first one is stored.
    """

    folder: Path

    def read(self, file: DataFile) -> Bytes | None:
        """The mapped array of `file`, or None where it is missing or damaged."""
        remove_old_parts(self.folder)
        try:
            return file.open(self.folder / file.name)
        except DataError:
            return None

    def store(self, file: DataFile, raw: bytes) -> None:
        """Keep the raw contents of `file`; the caller has verified them.

        Raises:
            DataError: The folder can't be written.
        """
        temporary = self._temporary(file.name)
        try:
            with temporary.open("wb") as stream:
                stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(self.folder / file.name)
        except OSError as error:
            raise self._not_writable(error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Find out before a download whether there is a place for it.

        Raises:
            DataError: The folder can't be made or written.
        """
        self._temporary("probe").unlink()

    def _temporary(self, name: str) -> Path:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(prefix=f".{name}-", suffix=PART, dir=self.folder)
        except OSError as error:
            raise self._not_writable(error) from error
        os.close(handle)
        return Path(path)

    def _not_writable(self, error: OSError) -> DataError:
        return DataError(
            f"the data cache {self.folder} can't be written: {error.strerror or error}",
            "set EVOPRUNE_CACHE to a folder that can, or data.dir to a folder with the files",
        )
