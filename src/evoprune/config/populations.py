"""Defaults of weight masks that an inheriting population evolves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evoprune.config.presets import MASK_ENCODINGS, preset_of
from evoprune.config.yaml_files import merge

# Few members, because each is a training; and scored on all of select, which costs little beside it.
POPULATION: Final[dict[str, Any]] = {"ga": {"pop_size": 4, "elitism": 1}, "fidelity": {"select_samples": None}}


def defaults_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What lies under `settings`: their preset, with few members where a population is asked for."""
    preset = preset_of(settings)
    search, masks = (settings.get(name) for name in ("search", "masks"))
    if not isinstance(search, Mapping) or not isinstance(masks, Mapping):
        return preset
    encoding = search.get("encoding")
    inherits = isinstance(encoding, str) and encoding in MASK_ENCODINGS and masks.get("mode") == "population"
    return merge(preset, POPULATION) if inherits else preset
