"""What is no plain data, in JSON that is equal for equal things as far as that can be told."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from torch import Tensor, nn

from evoprune.store.plain_data import NotPlainError, encode

OPAQUE: Final = "?"
"""A thing of which nothing can be told."""

_DEEPEST: Final = 3
_MOST_FIELDS: Final = 200
_KNOWN: Final = ("torch", "builtins", "math", "numpy")


def describe(value: Any, shared: Collection[int], *, depth: int = _DEEPEST) -> Any:
    """A description of any value.

    Functions and classes that torch and Python have go by their names, those of the user's as `OPAQUE`: they may have other names
    where a network is loaded. Objects are their fields.

    Args:
        value: Anything.
        shared: Addresses of memory that belongs to weights; what is in there is not looked at.
        depth: Number of levels of containers and objects to look into.
    """
    try:
        return encode(value, {}, shared=shared)
    except NotPlainError:
        pass
    if isinstance(value, Enum):
        return {"name": value.name}
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        known = (value.__module__ or "builtins").partition(".")[0] in _KNOWN
        return {"name": f"{value.__module__}.{value.__qualname__}"} if known else OPAQUE
    parts = {} if depth == 0 or isinstance(value, (Tensor, nn.Module, types.ModuleType)) else dict(_parts(value))
    return (
        {"fields": {name: describe(part, shared, depth=depth - 1) for name, part in parts.items()}} if parts else OPAQUE
    )


def identify(value: Any) -> str:
    """Tells the user's functions apart, which `describe` doesn't: where they are from, and their code. Empty for other things."""
    inner = value.__func__ if isinstance(value, types.MethodType) else value
    if not isinstance(inner, types.FunctionType):
        return ""
    code = hashlib.sha256(inner.__code__.co_code + repr(inner.__code__.co_names).encode()).hexdigest()
    return f"{inner.__module__}.{inner.__qualname__} {code}"


def first_difference(ours: Any, theirs: Any, name: str) -> str:
    """Where two descriptions differ, as `name.field`; empty where they don't."""
    if not (_has_fields(ours) and _has_fields(theirs)):
        return "" if repr(ours) == repr(theirs) else name
    mine, other = ours["fields"], theirs["fields"]
    for key in dict.fromkeys((*mine, *other)):
        if key not in mine or key not in other:
            return f"{name}.{key}"
        found = first_difference(mine[key], other[key], f"{name}.{key}")
        if found:
            return found
    return ""


def _has_fields(description: Any) -> bool:
    return isinstance(description, dict) and isinstance(description.get("fields"), dict)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, functools.partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
    elif isinstance(value, Mapping):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((str(place), part) for place, part in enumerate(value))
    else:
        fields = getattr(value, "__dict__", {})
        yield from sorted(fields.items()) if len(fields) <= _MOST_FIELDS else ()
