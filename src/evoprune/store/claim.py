"""One directory, one writer: a lock that a dead process doesn't keep, and the manifest that says whose the directory is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from filelock import BaseFileLock, FileLock, Timeout

from evoprune.errors import ReplayMismatchError, UsageError
from evoprune.store.atomic import remove_parts, write_json
from evoprune.store.manifest import Manifest, differences, new_manifest, read_manifest

MANIFEST: Final = "manifest.json"
LOCK: Final = ".lock"


class Claim:
    """A directory that is this process's alone until it is released, with its manifest in place.

    Args:
        directory: Created when missing; it is empty, or holds a manifest of this very identity.
        identity: JSON values that decide what will lie in it.
        folders: Folders in it that this process writes to; what a killed one left half-written there is removed.
        lines: Files in it that lines are appended to.

    Raises:
        UsageError: The directory can't be written, is in use by another process or holds something else; it is as it was.
        ReplayMismatchError: Its manifest has another identity; the message names the settings that differ.
    """

    def __init__(
        self, directory: Path, identity: Mapping[str, Any], folders: Sequence[str] = (), lines: Sequence[str] = ()
    ) -> None:
        self.directory = directory
        _refuse_links(directory, (*folders, *lines, LOCK))
        self._lock = _lock(directory, identity)
        self.fresh: Final = not (directory / MANIFEST).exists()
        try:
            for folder in (directory, *(directory / name for name in folders)):
                remove_parts(folder)
            self._manifest = _open_manifest(directory, identity)
        except BaseException:
            self._lock.release()
            raise

    @property
    def manifest(self) -> Manifest:
        """The manifest as it is on disk."""
        return self._manifest

    def update(self, manifest: Manifest) -> None:
        """Keep another manifest in its place, on disk before this returns."""
        write_json(self.directory / MANIFEST, manifest.to_json())
        self._manifest = manifest

    def release(self) -> None:
        """Leave the directory to others."""
        self._lock.release()

    def withdraw(self, names: Iterable[str]) -> None:
        """Remove files of ours, the manifest after all others, and release the directory: nothing has begun here."""
        for name in (*names, MANIFEST):
            (self.directory / name).unlink(missing_ok=True)
        self.release()
        (self.directory / LOCK).unlink(missing_ok=True)


def _refuse_links(directory: Path, names: Iterable[str]) -> None:
    for name in names:
        # All else is put in place by renaming, which replaces a link and not what it leads to.
        if (directory / name).is_symlink():
            raise UsageError(
                f"{directory / name} is a symbolic link, and a run writes to its own directory alone",
                "replace it by what it leads to; the directory itself may be a link",
            )


def _lock(directory: Path, identity: Mapping[str, Any]) -> BaseFileLock:
    lock = FileLock(directory / LOCK)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Before the first write: what is not ours is not touched.
        _refuse_others(directory, identity)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another process is at work in {directory}", "wait for it, or choose another --out"
        ) from error
    except OSError as error:
        raise UsageError(
            f"can't write to the output directory {directory}: {error.strerror}", "choose another --out"
        ) from error
    return lock


def _refuse_others(directory: Path, identity: Mapping[str, Any]) -> None:
    manifest = read_manifest(directory / MANIFEST)
    if manifest is None:
        strangers = sorted(entry.name for entry in directory.iterdir() if not _is_our_beginning(entry.name))
        if strangers:
            raise UsageError(
                f"{directory} is not empty and not a run of evoprune (it holds {', '.join(strangers[:3])})",
                "choose another --out; nothing was changed",
            )
        return
    differing = differences(manifest, new_manifest(identity))
    if differing:
        raise ReplayMismatchError(
            f"{directory} holds another run: {'; '.join(differing)}", "choose another --out; nothing was changed"
        )


def _is_our_beginning(name: str) -> bool:
    # What a process leaves that is killed before its manifest is in place.
    return name == LOCK or name.startswith(f".{MANIFEST}.")


def _open_manifest(directory: Path, identity: Mapping[str, Any]) -> Manifest:
    _refuse_others(directory, identity)
    found = read_manifest(directory / MANIFEST)
    if found is None:
        found = new_manifest(identity)
        write_json(directory / MANIFEST, found.to_json())
    return found
