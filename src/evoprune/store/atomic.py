"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Final

from evoprune.caching import PART
from evoprune.errors import RunError, StoreCorruptedError

_BLOCK: Final = 1 << 20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def telling_of_full_disk(directory: Path) -> Iterator[None]:
    """Turn what the system says of a full disk into an error of ours.

    Args:
        directory: Named where the system doesn't say which file had no room.

    Raises:
        RunError: There was no room for something written within.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        where = error.filename or directory
        raise RunError(
            f"can't write to {where}: {error.strerror}; make room, nothing that was finished is lost"
        ) from error


def open_lines(path: Path) -> FileIO:
    """A file of lines, for `append_line`; created when missing, and without the torn last line that a crash leaves.

    It has no buffer: what had no room on the disk must not be written later, behind our back.
    """
    file = path.open("a+b", buffering=0)
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    complete = 0
    for block in iter(lambda: file.read(_BLOCK), b""):
        if b"\n" in block:
            complete = file.tell() - len(block) + block.rfind(b"\n") + 1
    if complete < end:
        file.truncate(complete)
    return file


def append_line(file: FileIO, line: str, *, sync: bool) -> None:
    """Write a line and its end as a whole, on disk before this returns if `sync`; what fails half-way leaves no trace."""
    length = os.fstat(file.fileno()).st_size
    rest = memoryview(line.encode() + b"\n")
    try:
        while rest:
            rest = rest[os.write(file.fileno(), rest) :]
        if sync:
            os.fsync(file.fileno())
    except BaseException:  # a full disk, or Ctrl-C between two parts of a line
        file.truncate(length)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name beside `path`, sync, and rename: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_parts(folder: Path) -> None:
    """Remove what processes left that were killed in `write_atomically`; for folders where nobody else is writing."""
    for path in folder.glob(f".*{PART}"):
        path.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write `document` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(document, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        StoreCorruptedError: The file is missing, damaged or not an object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreCorruptedError(f"can't read {path}: {error}") from error
    if not isinstance(document, dict):
        raise StoreCorruptedError(f"{path} does not hold a JSON object")
    return document
