"""Download one URL, with limits on time and size."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from evoprune.datasets.providers.base import ProviderError
from evoprune.events import DataProgress, Listener

CONNECT_S: Final = 4.0
READ_S: Final = 8.0
GRACE_S: Final = 15.0
MIN_BYTES_PER_S: Final = 20_000
CHUNK_BYTES: Final = 2**16


def download(url: str, *, name: str, limit_bytes: int, source: str, notify: Listener) -> bytes:
    """The contents of `url`.

    Args:
        url: Address to fetch.
        name: Name of the file in progress events.
        limit_bytes: A longer file is not waited for.
        source: Name of the server in progress events.
        notify: Called with the progress.

    Raises:
        ProviderError: Nothing answers, the answer is an error, too slow or too long.
    """
    # Both are slow to import and needed only until the cache is filled.
    import pooch
    import requests

    progress = _Progress(name, limit_bytes, source, notify)
    fetch = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK_BYTES, timeout=(CONNECT_S, READ_S))
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


class _Progress:
    """What pooch wants of a progress bar; ends a download that crawls or never stops."""

    def __init__(self, name: str, limit_bytes: int, source: str, notify: Listener) -> None:
        self.total = 0
        self._done = 0
        self._name, self._limit, self._source, self._notify = name, limit_bytes, source, notify
        self._started = time.monotonic()

    def update(self, size: int) -> None:
        """Count `size` more bytes."""
        self._done += size
        elapsed = time.monotonic() - self._started
        if elapsed > GRACE_S and self._done < elapsed * MIN_BYTES_PER_S:
            raise ProviderError(f"too slow: {self._done:,} bytes in {elapsed:.0f} s")
        # pooch counts whole chunks.
        if self._done > self._limit + CHUNK_BYTES:
            raise ProviderError(f"{self._name} does not end where it should")
        done = min(self._done, self.total) if self.total else self._done
        self._notify(DataProgress(self._name, self._source, done, self.total))

    def reset(self) -> None:
        """Begin anew: a last `update` with the whole size follows."""
        self._done = 0

    def close(self) -> None:
        """There is nothing to close."""


def check_name_resolves(url: str) -> None:
    """Fail in seconds where a firewall swallows name look-ups, which no timeout of requests covers.

    Raises:
        ProviderError: The host of `url` has no address, or no name server answers.
    """
    if {"http", "https", "all"} & urllib.request.getproxies().keys():
        return  # the proxy resolves it
    answers: list[object] = []
    host = urlsplit(url).hostname or ""

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
