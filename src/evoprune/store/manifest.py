"""What a run was begun with, and what it has decided since: `manifest.json`."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

from evoprune.errors import ReplayMismatchError, StoreCorruptedError
from evoprune.store.atomic import read_json
from evoprune.version import __version__

FORMAT: Final = 1
REPLAY_VERSIONS: Final = ("numpy", "pymoo", "torch")
DONE: Final = "done"


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says of a run; the fields stand in the order of the file.

    Times of day are left out on purpose: same run, same manifest. `events.jsonl` has them.

    Attributes:
        format: Version of the file's format.
        status: `running` or `done`.
        evoprune: Version that began the run.
        versions: Versions of Python and of the libraries that decide a result.
        identity: JSON values that decide the run's result.
        pinned: Values that must be the same at every resume.
        channels_last: The memory layout of convolutions that was settled on; None before that.
        baseline_sha256: Digest of the dense network's weights; None before they are kept.
        dense: The dense network's value of each objective, on select where it depends on data.
        generation_s: Seconds that the last generation took; None without a time budget.
        spent_s: Seconds of the time budget that were used; None without one.
        stopped_before_generation: Generation before which the time budget ended the search; None where it didn't.
        epochs_in_time: Epochs that the time budget left to each training, by the training's name.
        test_set_reads: Number of times that the test set was read; None while it is unread.
        crashes: Describes what ran when a training crashed, by the training's name.
    """

    format: int = FORMAT
    status: str = "running"
    evoprune: str = __version__
    versions: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    pinned: Mapping[str, Any] = field(default_factory=dict)
    channels_last: bool | None = None
    baseline_sha256: str | None = None
    dense: Mapping[str, Any] = field(default_factory=dict)
    generation_s: float | None = None
    spent_s: float | None = None
    stopped_before_generation: int | None = None
    epochs_in_time: Mapping[str, float] = field(default_factory=dict)
    test_set_reads: int | None = None
    crashes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the run has ended and everything is written."""
        return self.status == DONE

    def to_json(self) -> dict[str, Any]:
        """The document of the file, without what nothing is known of yet."""
        document: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name == "channels_last" and value is not None:
                document["layout"] = {name: value}
            elif value is not None and (value != {} or name == "identity"):
                document[name] = value
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            ValueError: Values can't be what they say; the message names them.
        """
        wrong = [name for name, sound in _SOUND.items() if name in document and not sound(document[name])]
        wrong += [name for name in ("format", "identity") if name not in document]
        if wrong:
            raise ValueError(", ".join(wrong))
        flat = {**document, **document.get("layout", {})}
        return cls(**{name: flat[name] for name in cls.__dataclass_fields__ if name in flat})


class ManifestKeeper(Protocol):
    """What keeps the manifest of a directory: the store of a run, or a claim."""

    @property
    def manifest(self) -> Manifest:
        """The manifest as it is kept now."""

    def update(self, manifest: Manifest) -> None:
        """Keep another one in its place, on disk before this returns."""


def new_manifest(identity: Mapping[str, Any]) -> Manifest:
    """The manifest of a run that begins now."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in REPLAY_VERSIONS}}
    return Manifest(versions=versions, identity=dict(identity))


def read_manifest(path: Path) -> Manifest | None:
    """The manifest of a run; None where there is no file, or one of something else, without an `identity`.

    Raises:
        StoreCorruptedError: The file is damaged.
        ReplayMismatchError: A newer evoprune has written it.
    """
    if not path.is_file():
        return None
    document = read_json(path)
    if not isinstance(document.get("identity"), dict):
        return None
    _refuse_newer(path, document)
    try:
        return Manifest.from_json(document)
    except ValueError as error:
        raise StoreCorruptedError(
            f"{path} is damaged: {error} can't be what it says", "restore the file from a copy"
        ) from error


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_not_too_deep(value: Any) -> bool:
    try:
        _flat(value)
    except RecursionError:
        return False
    return True


_SOUND: Final[Mapping[str, Callable[[Any], bool]]] = {
    "identity": _is_not_too_deep,
    "format": _is_count,
    "status": _is_text,
    "evoprune": _is_text,
    "versions": _is_object,
    "pinned": _is_object,
    "layout": lambda value: _is_object(value) and type(value.get("channels_last")) is bool,
    "baseline_sha256": _is_text,
    "dense": lambda value: _is_object(value) and all(map(_is_number, value.values())),
    "generation_s": _is_seconds,
    "spent_s": _is_seconds,
    "stopped_before_generation": _is_count,
    "epochs_in_time": lambda value: _is_object(value) and all(map(_is_seconds, value.values())),
    "test_set_reads": _is_count,
    "crashes": _is_object,
}
"""Whether a value from a file can be what its name says."""


def _refuse_newer(path: Path, document: Mapping[str, Any]) -> None:
    found = document.get("format")
    if type(found) is int and found > FORMAT:
        raise ReplayMismatchError(
            f"{path.parent} was written by a newer evoprune, {document.get('evoprune')!s:.20}: its manifest has format "
            f"{found!s:.20}, this one ({__version__}) reads {FORMAT}",
            "use that version, or choose another --out",
        )


def differences(old: Manifest, new: Manifest) -> list[str]:
    """Settings and versions that would give another result, as `key: old there, new here`."""
    problems = []
    if old.format != new.format:
        problems.append(f"manifest format: {old.format} there, {new.format} here")
    there, here = _flat(old.identity), _flat(new.identity)
    problems += [
        f"{key}: {there.get(key)} there, {here.get(key)} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    # What is finished can be looked at with any version; only what is still to be computed needs the same ones.
    versions = new.versions if old.done else old.versions
    problems += [
        f"{name}: {versions.get(name)} there, {new.versions[name]} here"
        for name in REPLAY_VERSIONS
        if versions.get(name) != new.versions[name]
    ]
    return problems


def _flat(document: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(document, Mapping):
        return {prefix: document}
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
