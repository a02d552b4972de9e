"""What a run was begun with: versions, settings, fingerprints."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from evoprune import __version__
from evoprune.errors import ReplayMismatchError, StoreCorruptedError
from evoprune.run.files import read_json

FORMAT: Final = 1
REPLAY_VERSIONS: Final = ("numpy", "pymoo", "torch")
_COUNTS: Final = {"stopped_before_generation": int, "test_set_reads": int}


def new_manifest(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a run that begins now.

    The clock is left out on purpose: same run, same manifest. `events.jsonl` has the times.
    """
    return {
        "format": FORMAT,
        "status": "running",
        "evoprune": __version__,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in REPLAY_VERSIONS}},
        "identity": dict(identity),
    }


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a run; that of something else, with no `identity`, comes back as it is.

    Raises:
        StoreCorruptedError: The file is missing or damaged.
        ReplayMismatchError: A newer evoprune has written it.
    """
    document = read_json(path)
    if not isinstance(document.get("identity"), dict):
        return document
    _refuse_newer(path, document)
    kinds = {"versions": dict, "pinned": dict, "dense": dict, "status": str, "baseline_sha256": str, **_COUNTS}
    wrong = [name for name, kind in kinds.items() if name in document and type(document[name]) is not kind]
    wrong += [name for name in _COUNTS if name in document and name not in wrong and document[name] < 0]
    spent = document.get("spent_s", 0.0)
    if type(spent) is not float or not 0 <= spent < float("inf"):
        wrong.append("spent_s")
    epochs = document.get("epochs_in_time", {})
    if type(epochs) is not dict or not all(
        type(one) in (int, float) and 0 <= one < float("inf") for one in epochs.values()
    ):
        wrong.append("epochs_in_time")
    try:
        _flat(document["identity"])
    except RecursionError:
        wrong.append("identity")
    if wrong:
        raise StoreCorruptedError(
            f"{path} is damaged: {', '.join(wrong)} can't be what it says", "restore the file from a copy"
        )
    return document


def _refuse_newer(path: Path, document: Mapping[str, Any]) -> None:
    found = document.get("format")
    if type(found) is int and found > FORMAT:
        raise ReplayMismatchError(
            f"{path.parent} was written by a newer evoprune, {document.get('evoprune')!s:.20}: its manifest has format "
            f"{found!s:.20}, this one ({__version__}) reads {FORMAT}",
            "use that version, or choose another --out",
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Settings and versions that would give another result, as `key: old there, new here`."""
    problems = []
    if old.get("format") != new["format"]:
        problems.append(f"manifest format: {old.get('format')} there, {new['format']} here")
    there, here = _flat(old.get("identity", {})), _flat(new["identity"])
    problems += [
        f"{key}: {there.get(key)} there, {here.get(key)} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    # What is finished can be looked at with any version; only what is still to be computed needs the same ones.
    versions = new["versions"] if old.get("status") == "done" else old.get("versions", {})
    problems += [
        f"{name}: {versions.get(name)} there, {new['versions'][name]} here"
        for name in REPLAY_VERSIONS
        if versions.get(name) != new["versions"][name]
    ]
    return problems


def _flat(document: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(document, Mapping):
        return {prefix: document}
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
