"""What all sections of the configuration have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1, le=10**9)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_DURATION: Final = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def _in_seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None or not any(match.groups()):
        raise ValueError("must be seconds or a duration such as 90s, 30m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _positive(value: float) -> float:
    if not 0 < value < float("inf"):
        raise ValueError("must be positive")
    return value


Duration = Annotated[float, BeforeValidator(_in_seconds), AfterValidator(_positive)]
"""Seconds; read from a number, or from text such as 90s, 30m or 1h30m."""


def _in_a_list(value: Any) -> Any:
    return (value,) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else value


OneOrMore = BeforeValidator(_in_a_list)
"""A single value where several may stand: `layers: conv1` is `layers: [conv1]`, not a list of letters."""

Words = Annotated[tuple[str, ...], OneOrMore]
SomeWords = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1), OneOrMore]


OutputNames = Annotated[tuple[StrictStr | StrictInt, ...], Field(min_length=1), OneOrMore]
"""Parts of what a network returns: names, indices, paths."""


def absolute(path: Path | None) -> Path | None:
    """The path from the root, `~` replaced: a resume may start in another folder.

    Raises:
        ValueError: There is no such home directory, or the text can't be a path.
    """
    if path is None:
        return None
    if "\0" in str(path):
        raise ValueError("a path has no character NUL")
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # `~name` of nobody here
        raise ValueError(f"there is no home directory for {path.parts[0]}") from error


AbsolutePath = Annotated[Path, AfterValidator(absolute)]
"""A path that is the same from any folder."""


class Section(BaseModel):
    """A section: no unknown keys, no changes once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What was set: with all of the defaults it would fill the screen."""
        return ((name, value) for name, value in super().__repr_args__() if name in self.model_fields_set)
