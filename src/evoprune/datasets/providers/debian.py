"""Gzipped files inside a Debian package."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evoprune.datasets.data_file import DataFile
from evoprune.datasets.providers.base import ProviderError
from evoprune.datasets.providers.command import run_tool
from evoprune.errors import DataError
from evoprune.events import DataProgress, Listener


@dataclass(frozen=True)
class DebianPackage:
    """A package of the distribution that is read, never installed; needs no root.

    Attributes:
        package: Name of the package.
        folder: Folder of the files inside it, without a leading slash.
    """

    package: str
    folder: str

    @property
    def name(self) -> str:
        """The command a person would type."""
        return f"apt-get download {self.package}"

    def fetch(self, files: Sequence[DataFile], notify: Listener) -> Iterator[tuple[DataFile, bytes]]:
        """Fetch the package and read the files out of it; see `Provider`."""
        notify(DataProgress(self.package, self.name, 0, 0))
        with tempfile.TemporaryDirectory() as folder:
            patience = ["-o", "Acquire::http::Timeout=8", "-o", "Acquire::Retries=1"]
            run_tool(["apt-get", "download", self.package, "-q", *patience], cwd=Path(folder))
            package = next(Path(folder).glob("*.deb"), None)
            if package is None:
                raise ProviderError("apt-get left no package")
            size = package.stat().st_size
            notify(DataProgress(self.package, self.name, size, size))
            run_tool(["dpkg-deb", "--extract", package.name, "contents"], cwd=Path(folder))
            yield from (_read(Path(folder) / "contents" / self.folder, file) for file in files)


def _read(folder: Path, file: DataFile) -> tuple[DataFile, bytes]:
    try:
        return file, file.unpack((folder / f"{file.name}.gz").read_bytes(), f"{file.name}.gz")
    except (OSError, DataError) as error:
        raise ProviderError(f"the package has no sound {file.name}.gz") from error
