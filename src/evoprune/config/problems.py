"""What is wrong with a configuration, in words."""

from __future__ import annotations

import difflib
import reprlib
from typing import Any

from pydantic import BaseModel, ValidationError


class _Short(reprlib.Repr):
    """Values as Python writes them, cut where they are long or deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 120


_SHORT = _Short()


def explain(error: ValidationError, tree: type[BaseModel]) -> str:
    """All problems of a configuration, each with its key, what is accepted and what was given.

    Args:
        error: Error of the validation.
        tree: The configuration's class, whose descriptions are shown.
    """
    problems: dict[tuple[str, str], dict[str, None]] = {}
    for one in error.errors():
        key, message, given = _explain_one([str(part) for part in one["loc"]], one, tree)
        problems.setdefault((key, given), {})[message] = None
    # A setting that accepts several kinds of values fails once for each kind.
    unique = [f"{key}{' or '.join(messages)}{given}" for (key, given), messages in problems.items()]
    return unique[0] if len(unique) == 1 else f"{len(unique)} settings are wrong:\n  " + "\n  ".join(unique)


def _explain_one(location: list[str], problem: Any, tree: type[BaseModel]) -> tuple[str, str, str]:
    section, field, depth = _locate(location, tree)
    key = ".".join(location[:depth] if field else location)
    if problem["type"] == "extra_forbidden":
        where = ".".join(location[:-1]) or "a configuration"
        listed = f"{where} has: {', '.join(section.model_fields)}"
        return key, f" is not a setting; {listed}{_meant(location, section, tree)}", ""
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], (dict, BaseModel)) else f" (given: {_SHORT.repr(problem['input'])})"
    described = section.model_fields[field].description if field else None
    return f"{key}: " if key else "", message, f"{given}{f' [{described}]' if described else ''}"


def _meant(location: list[str], section: type[BaseModel], tree: type[BaseModel]) -> str:
    """The setting that was probably meant: one of a similar name in the section, or of the same name in another."""
    close = difflib.get_close_matches(location[-1], section.model_fields, n=1)
    where = ".".join(location[:-1])
    found = [f"{where}.{close[0]}" if where else close[0]] if close else []
    for name, field in tree.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and location[-1] in kind.model_fields:
            found.append(f"{name}.{location[-1]}")
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _locate(location: list[str], tree: type[BaseModel]) -> tuple[type[BaseModel], str | None, int]:
    section = tree
    for depth, part in enumerate(location, start=1):
        if part not in section.model_fields:
            return section, None, depth
        annotation = section.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return section, part, depth
        section = annotation
    return section, None, len(location)
