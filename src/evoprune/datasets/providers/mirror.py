"""Gzipped files below a URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evoprune.datasets.data_file import DataFile
from evoprune.datasets.providers.base import ProviderError
from evoprune.datasets.providers.download import check_name_resolves, download
from evoprune.errors import DataError
from evoprune.events import Listener


@dataclass(frozen=True)
class Mirror:
    """A web server with `<file name>.gz` below `url`, which ends in a slash."""

    url: str

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    def fetch(self, files: Sequence[DataFile], notify: Listener) -> Iterator[tuple[DataFile, bytes]]:
        """Download and unpack one file after the other; see `Provider`."""
        check_name_resolves(self.url)
        for file in files:
            packed = download(
                f"{self.url}{file.name}.gz",
                name=file.name,
                limit_bytes=2 * file.size_bytes + 2**20,
                source=self.url,
                notify=notify,
            )
            try:
                yield file, file.unpack(packed, f"{file.name}.gz")
            except DataError as error:
                raise ProviderError(error.message) from error
