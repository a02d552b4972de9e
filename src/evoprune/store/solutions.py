"""Solved layers on disk: `solutions/<layer>.safetensors`, each the masks of one layer as packed bits."""

from __future__ import annotations

import hashlib
from functools import reduce
from pathlib import Path
from typing import Final
from urllib.parse import quote

from evoprune.errors import InvalidPlanError, StoreCorruptedError
from evoprune.mask_plan import MaskPlan
from evoprune.store.atomic import write_atomically

SUFFIX: Final = ".safetensors"
_LONGEST: Final = 150


def solution_path(directory: Path, layer: str) -> Path:
    """The file of a layer, directly in `directory` whatever the layer is called.

    What file systems treat in ways of their own is written as `%` and its code; a very long name is cut and told apart by a hash.
    """
    name = quote(layer, safe="")
    if name.startswith(".") or not name:
        name = "%2E" + name[1:]
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.blake2b(layer.encode(), digest_size=8).hexdigest()}"
    return directory / f"{name}{SUFFIX}"


def write_solution(directory: Path, layer: str, plan: MaskPlan) -> Path:
    """Write the masks of one layer, replacing an earlier solution as a whole; returns the file."""
    path = solution_path(directory, layer)
    write_atomically(path, plan.to_bytes())
    return path


def read_solution(path: Path) -> MaskPlan:
    """Read one file that `write_solution` wrote.

    Raises:
        StoreCorruptedError: The file is missing, truncated or holds something else.
    """
    try:
        return MaskPlan.from_bytes(path.read_bytes())
    except (OSError, InvalidPlanError) as error:
        raise StoreCorruptedError(
            f"can't read the masks in {path}: {error}", "remove the file to have its layer solved again"
        ) from error


def read_solutions(directory: Path) -> MaskPlan | None:
    """All solved layers of a directory as one plan; None when there are none.

    Raises:
        StoreCorruptedError: A file is damaged, or the files are of different networks.
    """
    plans = [read_solution(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]
    try:
        return reduce(MaskPlan.merged, plans) if plans else None
    except InvalidPlanError as error:
        raise StoreCorruptedError(f"the masks in {directory} are of different networks") from error
