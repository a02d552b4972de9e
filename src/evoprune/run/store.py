"""A run directory: one run, one writer, nothing overwritten that is not its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from filelock import BaseFileLock, FileLock, Timeout

from evoprune.errors import ReplayMismatchError, UsageError
from evoprune.run.files import remove_parts, write_atomically, write_json
from evoprune.run.journal import Journal
from evoprune.run.manifest import differences, new_manifest, read_manifest

MANIFEST: Final = "manifest.json"
CONFIG: Final = "config.yaml"
JOURNAL: Final = "evaluations.jsonl"
EVENTS: Final = "events.jsonl"
LOG: Final = "run.log"
COMPARISON: Final = "comparison.json"
BASELINE: Final = "baseline/model.safetensors"
ARTIFACT: Final = "artifact"
LOCK: Final = ".lock"
_FOLDERS: Final = ("baseline", ARTIFACT, "solutions", "states")

_logger = logging.getLogger("evoprune")


class RunStore:
    """The directory of one run, locked for this process until it is closed.

    Args:
        directory: Created with its manifest when missing or empty; resumed when it holds this very run.
        identity: Everything that decides the run's result, as JSON values.
        config_yaml: The resolved configuration, kept for people and for resume.

    Raises:
        UsageError: The directory can't be written, is in use by another process or holds something else.
        ReplayMismatchError: It holds a run of another identity; the message names the settings that differ.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any], config_yaml: str) -> None:
        self.directory = directory
        self._fresh = not (directory / MANIFEST).exists()
        self._lock = _lock(directory, identity)
        try:
            for folder in (directory, *(directory / name for name in _FOLDERS)):
                remove_parts(folder)
            self._manifest = _open_manifest(directory, identity, config_yaml)
            self.journal = Journal(directory / JOURNAL)
            self._log = _log_to(directory / LOG)
        except BaseException:
            self._lock.release()
            raise

    @property
    def done(self) -> bool:
        """Whether the run has ended and everything is written."""
        return self._manifest.get("status") == "done"

    def recall(self, key: str) -> Any:
        """A value that `remember` wrote, in this process or an earlier one; None when there is none."""
        return self._manifest.get(key)

    def remember(self, key: str, value: Any) -> None:
        """Keep a JSON value in the manifest."""
        self._manifest[key] = value
        write_json(self.directory / MANIFEST, self._manifest)

    def pin(self, key: str, value: Any) -> None:
        """Keep a value that must be the same at every resume.

        Raises:
            ReplayMismatchError: It was another one when the run began.
        """
        known = self._manifest.get("pinned", {})
        if key in known and known[key] != value:
            raise ReplayMismatchError(
                f"{self.directory} was begun with another {key}: {known[key]} then, {value} now",
                "restore what it was begun with, or start a new run with another --out",
            )
        if key not in known:
            self.remember("pinned", {**known, key: value})

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the run, atomically."""
        write_atomically(self.directory / name, content)

    def write_json(self, name: str, document: Any) -> None:
        """Write a JSON file of the run, atomically."""
        write_json(self.directory / name, document)

    def close(self) -> None:
        """Release the directory."""
        with ExitStack() as stack:  # whatever fails, the rest is done
            stack.callback(self._lock.release)
            stack.callback(self._log.close)
            stack.callback(_logger.removeHandler, self._log)
            self.journal.close()

    def withdraw(self) -> None:
        """Close, and leave no trace of a run that began here and has nothing yet: its settings can be corrected."""
        self.close()
        if self._fresh and self.recall("baseline_sha256") is None:
            for name in (JOURNAL, EVENTS, LOG, CONFIG, MANIFEST, LOCK):
                (self.directory / name).unlink(missing_ok=True)

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, UsageError):
            self.withdraw()
        else:
            self.close()


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
    path = directory / MANIFEST
    manifest = read_manifest(path) if path.exists() else {}
    if not isinstance(manifest.get("identity"), dict):
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


def _open_manifest(directory: Path, identity: Mapping[str, Any], config_yaml: str) -> dict[str, Any]:
    _refuse_others(directory, identity)
    if not (directory / MANIFEST).exists():
        write_json(directory / MANIFEST, new_manifest(identity))
    if not (directory / CONFIG).exists():
        write_atomically(directory / CONFIG, config_yaml.encode())
    return read_manifest(directory / MANIFEST)


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as the base class has it
        """Go on without the line: on a full disk the run's own files say what happened, and no page of code on the terminal."""
        del record

    def close(self) -> None:
        """Close the file, whether or not there is room for what is left to write."""
        with suppress(OSError):
            super().close()


def _log_to(path: Path) -> logging.Handler:
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    _logger.addHandler(handler)
    if _logger.level == logging.NOTSET:
        _logger.setLevel(logging.INFO)
    return handler
