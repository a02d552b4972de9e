"""What a finished run left in its directory, as figures and tables need it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    document = _read_document(path)
    with damage_told(path):
        _check_comparison(document)
    return document


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Say which file is damaged, where something that has to be in it is missing or of another kind.

    Raises:
        StoreCorruptedError: It is so.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise StoreCorruptedError(
            f"{path} is damaged: {type(error).__name__}: {error}", "restore the file from a copy"
        ) from error


def _check_comparison(document: Any) -> None:
    """Raise a LookupError, TypeError or ValueError where the tables would."""
    for model in (
        document["baseline"],
        document["pruned"],
        *([document["finetuned"]] if "finetuned" in document else []),
    ):
        _check_numbers({**model, "accuracy": model["accuracy"], "params": model["params"]}, but=("genome",))
    for layer in document.get("layers", []):
        _check_numbers({name: layer[name] for name in ("weights", "kept", "sparsity")})
        if not isinstance(layer["layer"], str) or not isinstance(layer["name"], str):
            raise TypeError("the name of a layer is no text")
    if not all(isinstance(one, dict) for name in ("front", "steps") for one in document.get(name, [])):
        raise TypeError("a point of the front, or a step, is no object")


def _check_numbers(values: Mapping[str, Any], but: tuple[str, ...] = ()) -> None:
    for name, value in values.items():
        if name not in but and (isinstance(value, bool) or not math.isfinite(value)):
            raise ValueError(f"{name} is {value!r:.40}")


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
