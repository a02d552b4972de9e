"""Where files live that can be had again: data sets and trained baselines."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import platformdirs

PART: Final = ".part"
"""Ends the name of a hidden file that is being written."""
_DAY_S: Final = 86_400.0


def cache_directory() -> Path:
    """`$EVOPRUNE_CACHE` where set, otherwise `evoprune` in the user's cache directory."""
    chosen = os.environ.get("EVOPRUNE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("evoprune")


def remove_old_parts(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote; others may be writing, which takes far less than a day."""
    for path in folder.glob(f".*{PART}"):
        with suppress(OSError):  # somebody else has removed it, or the cache is not ours to change
            if time.time() - path.lstat().st_mtime > _DAY_S:
                path.unlink()
