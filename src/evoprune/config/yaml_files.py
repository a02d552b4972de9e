"""Settings before they are validated: nested mappings from YAML files and from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from evoprune.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `2:4` is text: YAML 1.1 takes it for a number to the base of 60."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class has it
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


MOST_NODES: Final = 10_000
"""Values in a document with every alias written out: ten lines of aliases can stand for more than memory holds."""
MOST_KEYS: Final = 16
"""Parts of a key.path."""


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Values in `node`, those behind aliases as often as they are referred to.

    Raises:
        ValueError: There are too many, or a value contains itself.
    """
    if id(node) in known:
        total = known[id(node)]
        if total is None:
            raise ValueError("a value contains itself")
        return total
    known[id(node)] = None
    total = 1
    for part in node.value if isinstance(node, yaml.CollectionNode) else ():
        total += sum(_count(one, known) for one in (part if isinstance(part, tuple) else (part,)))
    if total > MOST_NODES:
        raise ValueError(f"it holds more than {MOST_NODES:,} values, counting aliases")
    known[id(node)] = total
    return total


def read_config(path: Path) -> dict[str, Any]:
    """A YAML file as nested mappings, not yet validated.

    Raises:
        ConfigError: The file can't be read or is not a YAML mapping.
    """
    try:
        document = _load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read the configuration {path}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold sections such as `training:` and `ga:`, not a {type(document).__name__}")
    return document


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """`["ga.pop_size=10", ...]` as nested mappings; values are read as YAML.

    Raises:
        ConfigError: An assignment is not of the form key.path=value.
    """
    merged: dict[str, Any] = {}
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not separator or not all(keys) or len(keys) > MOST_KEYS:
            raise ConfigError(f"--set {assignment!r} is not of the form key.path=value, such as ga.pop_size=10")
        try:
            value: Any = _load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"--set {assignment!r}: the value is not valid YAML") from error
        for key in reversed(keys):
            value = {key: value}
        merged = merge(merged, value)
    return merged


def merge(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`extra` over `base`, key by key at every depth."""
    merged = dict(base)
    for key, value in extra.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as a YAML file would hold them; any other value stays, for the configuration to refuse by its key."""
    return {str(key): _plain(value) for key, value in settings.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_settings(value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
