"""Settings as callers from Python give them: a `Config`, a mapping or a file, and single values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprune.config.schema import Config
from evoprune.config.yaml_files import plain_settings, read_config
from evoprune.errors import ConfigError

Settings = Config | Mapping[str, Any] | Path | str


def given(**values: Any) -> dict[str, Any]:
    """The settings that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def as_mapping(settings: Settings | None) -> Mapping[str, Any]:
    """What was set, as nested mappings.

    Raises:
        ConfigError: These are no settings, or the file can't be read.
    """
    if settings is None:
        return {}
    if isinstance(settings, Config):
        return settings.model_dump(mode="json", exclude_unset=True)
    if isinstance(settings, (str, Path)):
        return read_config(Path(settings))
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f"config is a {type(settings).__name__}, which holds no settings",
            'pass a mapping such as {"ga": {"pop_size": 10}}, a YAML file, or a Config',
        )
    return plain_settings(settings)
