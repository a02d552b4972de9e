"""What all sections of the configuration have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1, le=10**9)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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


class Section(BaseModel):
    """A section: no unknown keys, no changes once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
