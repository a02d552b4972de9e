"""The contract of a place that has data files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from evoprune.datasets.data_file import DataFile
from evoprune.events import Listener


class ProviderError(Exception):
    """This place can't deliver; the message is a short reason, and the next place is asked."""


class Provider(Protocol):
    """A place that has data files.

    A provider fails fast: seconds where nothing answers, never for ever. It need not check what it delivers; the caller
    checks every file by its SHA-256 or, where it has none, by its structure.
    """

    @property
    def name(self) -> str:
        """For messages: a URL or a command."""

    def fetch(self, files: Sequence[DataFile], notify: Listener) -> Iterator[tuple[DataFile, bytes]]:
        """Yield each of `files` with its raw contents, unpacked.

        Raises:
            ProviderError: A file can't be had here.
        """
