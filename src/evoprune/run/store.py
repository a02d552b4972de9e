"""A run directory: one run, one writer, nothing overwritten that is not its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from filelock import FileLock, Timeout

from evoprune.errors import ReplayMismatchError, StoreCorruptedError, UsageError
from evoprune.run.files import read_json, write_atomically, write_json
from evoprune.run.journal import Journal
from evoprune.run.manifest import differences, new_manifest

MANIFEST: Final = "manifest.json"
CONFIG: Final = "config.yaml"
JOURNAL: Final = "evaluations.jsonl"
EVENTS: Final = "events.jsonl"
LOG: Final = "run.log"
COMPARISON: Final = "comparison.json"
BASELINE: Final = "baseline/model.safetensors"
ARTIFACT: Final = "artifact"
LOCK: Final = ".lock"

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
        _make_directory(directory)
        self._lock = FileLock(directory / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(
                f"another process is at work in {directory}", "wait for it, or choose another --out"
            ) from error
        try:
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
        self.journal.close()
        _logger.removeHandler(self._log)
        self._log.close()
        self._lock.release()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"can't write to the output directory {directory}: {error.strerror}", "choose another --out"
        ) from error


def _open_manifest(directory: Path, identity: Mapping[str, Any], config_yaml: str) -> dict[str, Any]:
    path = directory / MANIFEST
    if not path.exists():
        strangers = sorted(entry.name for entry in directory.iterdir() if not entry.name.startswith("."))
        if strangers:
            raise UsageError(
                f"{directory} is not empty and not a run of evoprune (it holds {', '.join(strangers[:3])})",
                "choose another --out; nothing was changed",
            )
        write_json(path, new_manifest(identity))
    manifest = read_json(path)
    if not isinstance(manifest.get("identity"), dict):
        raise StoreCorruptedError(f"{path} is not the manifest of a run")
    differing = differences(manifest, new_manifest(identity))
    if differing:
        raise ReplayMismatchError(
            f"{directory} holds another run: {'; '.join(differing)}", "choose another --out; nothing was changed"
        )
    if not (directory / CONFIG).exists():
        write_atomically(directory / CONFIG, config_yaml.encode())
    return manifest


def _log_to(path: Path) -> logging.Handler:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    _logger.addHandler(handler)
    if _logger.level == logging.NOTSET:
        _logger.setLevel(logging.INFO)
    return handler
