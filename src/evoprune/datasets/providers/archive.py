"""Files inside one tarball, read without unpacking it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from evoprune.datasets.data_file import DataFile
from evoprune.datasets.providers.base import ProviderError
from evoprune.datasets.providers.download import check_name_resolves, download
from evoprune.events import Listener


@dataclass(frozen=True)
class Archive:
    """A gzipped tarball on a web server.

    Attributes:
        url: Address of the tarball.
        folder: Folder of the raw files inside.
        size_bytes: Size of the tarball.
        sha256: Digest of the tarball, in hexadecimal.
    """

    url: str
    folder: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    def fetch(self, files: Sequence[DataFile], notify: Listener) -> Iterator[tuple[DataFile, bytes]]:
        """Download the tarball, compare its hash, and read the files out of it; see `Provider`."""
        check_name_resolves(self.url)
        title = self.url.rpartition("/")[2]
        packed = download(self.url, name=title, limit_bytes=self.size_bytes, source=self.url, notify=notify)
        found = hashlib.sha256(packed).hexdigest()
        if found != self.sha256:
            raise ProviderError(f"delivers another {title}: its SHA-256 is {found}, {self.sha256} expected")
        for file in files:
            yield file, read_member(io.BytesIO(packed), f"{self.folder}/{file.name}", file)


def read_member(tarball: IO[bytes], member: str, file: DataFile) -> bytes:
    """The contents of one member, a byte more than `file` has at most; nothing is extracted, so nothing chooses where it lands.

    Raises:
        ProviderError: There is no such member, or the tarball is damaged.
    """
    try:
        with tarfile.open(fileobj=tarball) as archive:
            stream = archive.extractfile(member)
            if stream is None:
                raise ProviderError(f"the package has no file {member}")
            return stream.read(file.size_bytes + 1)
    except (KeyError, tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ProviderError(f"the package has no sound {member}") from error
