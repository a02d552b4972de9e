"""A run directory: one run, one writer, nothing overwritten that is not its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from evoprune.errors import ReplayMismatchError, UsageError
from evoprune.store.atomic import write_atomically, write_json
from evoprune.store.claim import Claim
from evoprune.store.journal import Journal
from evoprune.store.manifest import Manifest

CONFIG: Final = "config.yaml"
JOURNAL: Final = "evaluations.jsonl"
EVENTS: Final = "events.jsonl"
LOG: Final = "run.log"
COMPARISON: Final = "comparison.json"
REPORT: Final = "report.html"
BASELINE: Final = "baseline/model.safetensors"
ARTIFACT: Final = "artifact"
_FOLDERS: Final = ("baseline", ARTIFACT, "solutions", "states")

_logger = logging.getLogger("evoprune")


class RunStore:
    """The directory of one run, locked for this process until it is closed.

    Args:
        directory: Created with its manifest when missing or empty; resumed when it holds this very run.
        identity: JSON values that decide the run's result.
        config_yaml: The resolved configuration, kept for people and for resume.

    Raises:
        UsageError: The directory can't be written, is in use by another process or holds something else.
        ReplayMismatchError: It holds a run of another identity; the message names the settings that differ.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any], config_yaml: str) -> None:
        self.directory = directory
        self._claim = Claim(directory, identity, _FOLDERS, (JOURNAL, EVENTS, LOG))
        try:
            if not (directory / CONFIG).exists():
                write_atomically(directory / CONFIG, config_yaml.encode())
            self.journal = Journal(directory / JOURNAL)
            self._log = _log_to(directory / LOG)
        except BaseException:
            self._claim.release()
            raise

    @property
    def manifest(self) -> Manifest:
        """What the run was begun with, and what it has decided since."""
        return self._claim.manifest

    def update(self, manifest: Manifest) -> None:
        """Keep another manifest in its place, on disk before this returns."""
        self._claim.update(manifest)

    def pin(self, key: str, value: Any) -> None:
        """Keep a value that must be the same at every resume.

        Raises:
            ReplayMismatchError: It was another one when the run began.
        """
        known = self.manifest.pinned
        if key in known and known[key] != value:
            raise ReplayMismatchError(
                f"{self.directory} was begun with another {_change(key, known[key], value)}",
                "restore what it was begun with, or start a new run with another --out",
            )
        if key not in known:
            self.update(replace(self.manifest, pinned={**known, key: value}))

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the run, atomically."""
        write_atomically(self.directory / name, content)

    def write_json(self, name: str, document: Any) -> None:
        """Write a JSON file of the run, atomically."""
        write_json(self.directory / name, document)

    def close(self) -> None:
        """Release the directory."""
        self._close(self._claim.release)

    def withdraw(self) -> None:
        """Close, and leave no trace of a run that began here and has nothing yet: its settings can be corrected."""
        nothing_yet = self._claim.fresh and self.manifest.baseline_sha256 is None
        self._close(self._remove if nothing_yet else self._claim.release)

    def _remove(self) -> None:
        self._claim.withdraw((JOURNAL, EVENTS, LOG, CONFIG))

    def _close(self, leave: Callable[[], None]) -> None:
        with ExitStack() as stack:  # whatever fails, the rest is done
            stack.callback(leave)
            stack.callback(self._log.close)
            stack.callback(_logger.removeHandler, self._log)
            self.journal.close()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, UsageError):
            self.withdraw()
        else:
            self.close()


def _change(key: str, old: Any, new: Any) -> str:
    """What is another one, and how; of several things under one key, those that are."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return f"{key}: {old} then, {new} now"
    parts = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    return "; ".join(f"{key}.{name}: {old.get(name)} then, {new.get(name)} now" for name in parts)


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
