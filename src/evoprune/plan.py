"""A pruning plan: what every parameter and buffer keeps, apart from how it was chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import InvalidPlanError

Indices = NDArray[np.int64]
Kept = Mapping[str, Mapping[int, Indices]]
AttributeValue = int | tuple[int, ...]

FORMAT: Final = 1
SHOWN: Final = 4
"""Widths that a line about a plan lists."""


@dataclass(frozen=True, eq=False, repr=False)
class PruningPlan:
    """Which indices every touched tensor keeps, and the module attributes that follow from it.

    A plan is self-contained: applying it needs the dense model alone, not the space or the encoding it came from.

    Attributes:
        kept: `{parameter or buffer name: {dimension: kept indices}}`, indices strictly increasing.
        attributes: `{module name: {attribute: value}}`, such as `{"conv1": {"out_channels": 12}}`.
        fingerprint: Names the dense structure the indices refer to.
        normalised: `{module name: kept indices}` of what normalisation layers without weights read.

    Raises:
        InvalidPlanError: Indices are empty, negative, repeated or out of order.
    """

    kept: Kept
    attributes: Mapping[str, Mapping[str, AttributeValue]]
    fingerprint: str
    normalised: Mapping[str, Indices] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, indices in self.normalised.items():
            _check_indices(name, 0, indices)
        for name, dimensions in self.kept.items():
            for dimension, indices in dimensions.items():
                _check_indices(name, dimension, indices)

    def to_json(self) -> str:
        """The plan as JSON text, stable for equal plans."""
        document: dict[str, Any] = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "kept": {
                name: {
                    str(dimension): np.asarray(indices).tolist() for dimension, indices in sorted(dimensions.items())
                }
                for name, dimensions in sorted(self.kept.items())
            },
            "attributes": {
                name: {key: list(value) if isinstance(value, tuple) else value for key, value in sorted(values.items())}
                for name, values in sorted(self.attributes.items())
            },
        }
        if self.normalised:
            document["normalised"] = {name: np.asarray(kept).tolist() for name, kept in sorted(self.normalised.items())}
        return json.dumps(document, indent=None, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> PruningPlan:
        """Read what `to_json` wrote.

        Raises:
            InvalidPlanError: The text is not a plan, or a plan of a newer format.
        """
        try:
            document = json.loads(text)
            if _read_int(document["format"]) != FORMAT:
                raise InvalidPlanError(f"plan has format {document['format']!r}, this evoprune reads format {FORMAT}")
            fingerprint = document["fingerprint"]
            if not isinstance(fingerprint, str):
                raise TypeError("the fingerprint is not text")
            kept, attributes = _read_kept(document["kept"]), _read_attributes(document["attributes"])
            norms = {str(name): _read_indices(name, found) for name, found in document.get("normalised", {}).items()}
            return cls(kept, attributes, fingerprint, norms)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise InvalidPlanError(f"not a pruning plan: {type(error).__name__}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PruningPlan) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def summary(self) -> str:
        """What is cut, in a line: the widths of the first few layers."""
        widths = [
            f"{module}.{name}={value}" for module, values in self.attributes.items() for name, value in values.items()
        ]
        more = "" if len(widths) <= SHOWN else f" and {len(widths) - SHOWN} more"
        listed = f": {', '.join(widths[:SHOWN])}{more}" if widths else ""
        return f"{len(self.kept)} tensors cut{listed}"

    def __repr__(self) -> str:
        return f"<pruning plan: {self.summary()}>"


def _check_indices(name: str, dimension: int, indices: Indices) -> None:
    where = f"plan for {name!r}, dimension {dimension}"
    if indices.ndim != 1 or indices.size == 0 or indices.dtype.kind not in "iu":
        raise InvalidPlanError(f"{where}: a non-empty list of integer indices is needed")
    if dimension < 0 or int(indices[0]) < 0:
        raise InvalidPlanError(f"{where}: negative dimensions and indices are not accepted")
    if np.any(indices[1:] <= indices[:-1]):
        raise InvalidPlanError(f"{where}: indices must be strictly increasing, without duplicates")


def _read_kept(document: Any) -> Kept:
    return {
        str(name): {int(dimension): _read_indices(name, indices) for dimension, indices in dimensions.items()}
        for name, dimensions in document.items()
    }


def _read_indices(name: str, values: Any) -> Indices:
    if not isinstance(values, list) or any(type(value) is not int for value in values):
        raise InvalidPlanError(f"plan for {name!r}: indices must be a list of integers")
    return np.array(values, dtype=np.int64)


def _read_int(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not an integer")
    return value


def _read_attributes(document: Any) -> dict[str, dict[str, AttributeValue]]:
    return {
        str(module): {
            str(key): tuple(map(_read_int, value)) if isinstance(value, list) else _read_int(value)
            for key, value in values.items()
        }
        for module, values in document.items()
    }
