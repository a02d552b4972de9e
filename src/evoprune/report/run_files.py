"""What a finished run left in its directory, as figures and tables need it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprune.errors import StoreCorruptedError, UsageError


@dataclass(frozen=True)
class RunFiles:
    """A finished run.

    Attributes:
        evaluations: Complete lines of the journal.
        comparison: The document of `comparison.json`.
        manifest: The document of `manifest.json`.
    """

    evaluations: Sequence[Mapping[str, Any]]
    comparison: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def has_masks(self) -> bool:
        """Whether the run evolved weight masks, and not channels."""
        return "steps" in self.comparison


def read_run(directory: Path) -> RunFiles:
    """Read the files of a finished run.

    Raises:
        UsageError: There is no finished run in the directory.
        StoreCorruptedError: A file is damaged.
    """
    comparison = read_comparison(directory)
    manifest = _read_document(directory / "manifest.json")
    return RunFiles(_read_lines(directory / "evaluations.jsonl"), comparison, manifest)


def read_comparison(directory: Path) -> dict[str, Any]:
    """The document of a run's `comparison.json`.

    Raises:
        UsageError: There is no finished run in the directory.
        StoreCorruptedError: The file is damaged.
    """
    path = directory / "comparison.json"
    if not path.is_file():
        raise UsageError(f"{directory} holds no finished run: it has no {path.name}", "name the directory of one")
    return _read_document(path)


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreCorruptedError(f"can't read {path}: {error}") from error
    return document


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    except (OSError, ValueError, RecursionError) as error:
        raise StoreCorruptedError(f"can't read {path}: {error}") from error
