"""Gzipped files below a URL."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from evoprune.errors import DataError
from evoprune.events import DataProgress, Listener
from evoprune.recipes.data_file import DataFile
from evoprune.recipes.providers.base import ProviderError

CONNECT_S: Final = 4.0
READ_S: Final = 8.0
GRACE_S: Final = 15.0
MIN_BYTES_PER_S: Final = 20_000


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
        _check_name_resolves(urlsplit(self.url).hostname or "")
        for file in files:
            packed = _download(f"{self.url}{file.name}.gz", _Progress(file, self.url, notify))
            try:
                yield file, file.unpack(packed, f"{file.name}.gz")
            except DataError as error:
                raise ProviderError(error.message) from error


class _Progress:
    """What pooch wants of a progress bar; ends a download that crawls or never stops."""

    def __init__(self, file: DataFile, source: str, notify: Listener) -> None:
        self.total = 0
        self._done = 0
        self._file, self._source, self._notify = file, source, notify
        self._started = time.monotonic()

    def update(self, size: int) -> None:
        """Count `size` more bytes."""
        self._done += size
        elapsed = time.monotonic() - self._started
        if elapsed > GRACE_S and self._done < elapsed * MIN_BYTES_PER_S:
            raise ProviderError(f"too slow: {self._done:,} bytes in {elapsed:.0f} s")
        if self._done > 2 * self._file.size_bytes + 2**20:
            raise ProviderError(f"{self._file.name}.gz does not end where it should")
        done = min(self._done, self.total) if self.total else self._done
        self._notify(DataProgress(self._file.name, self._source, done, self.total))

    def reset(self) -> None:
        """Called before a last `update` with the whole size; there is nothing to rewind."""

    def close(self) -> None:
        """There is nothing to close."""


def _download(url: str, progress: _Progress) -> bytes:
    # Both are slow to import and needed only until the cache is filled.
    import pooch
    import requests

    fetch = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**16, timeout=(CONNECT_S, READ_S))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "download"
        try:
            fetch(url, str(path), None)
            return path.read_bytes()
        except requests.HTTPError as error:
            status = "an error" if error.response is None else error.response.status_code
            raise ProviderError(f"answers {status} for {url.rpartition('/')[2]}") from error
        except requests.Timeout as error:
            raise ProviderError(f"no answer within {READ_S:.0f} s") from error
        except requests.RequestException as error:
            raise ProviderError("can't be reached") from error
        except OSError as error:
            raise ProviderError(f"can't be stored: {error.strerror or error}") from error


def _check_name_resolves(host: str) -> None:
    """Fail in seconds where a firewall swallows name look-ups, which no timeout of requests covers."""
    if {"http", "https", "all"} & urllib.request.getproxies().keys():
        return  # the proxy resolves it
    answers: list[object] = []

    def resolve() -> None:
        try:
            answers.append(socket.getaddrinfo(host, None))
        except OSError as error:
            answers.append(error)

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(CONNECT_S)
    if not answers or isinstance(answers[0], OSError):
        raise ProviderError("can't be reached: its name does not resolve")
