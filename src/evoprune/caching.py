"""Where files live that can be had again: data sets and trained baselines."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_directory() -> Path:
    """`$EVOPRUNE_CACHE` where set, otherwise `evoprune` in the user's cache directory."""
    chosen = os.environ.get("EVOPRUNE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("evoprune")
