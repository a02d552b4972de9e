"""Bounds that a candidate must keep, such as `macs<=0.5` or `params<=100k`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from evoprune.errors import ConfigError
from evoprune.objectives.latency_names import OPTIONS, how_of, is_latency

COSTS: Final = frozenset({"macs", "params", "size_bytes", "peak_activation_bytes"})
"""What is counted, and only gets less by pruning."""
SPARSITIES: Final = frozenset({"sparsity", "layer_sparsity"})
"""What weight masks alone have; bounds on them are never relative, because the dense network has none."""

_COUNTS: Final = {"k": 1e3, "m": 1e6, "g": 1e9}
_BYTES: Final = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9}
_TIMES: Final = {"ms": 1.0}
_UNITS: Final = {**_COUNTS, **_BYTES, **_TIMES}
_OF_BYTES: Final = frozenset({"size_bytes", "peak_activation_bytes"})
_PATTERN: Final = re.compile(
    rf"\s*([A-Za-z_]\w*(?:{OPTIONS})?)\s*(<=|>=)\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z%]*)\s*"
)


@dataclass(frozen=True)
class Constraint:
    """A bound on one objective.

    Attributes:
        objective: Name of the objective.
        at_most: True for `<=`, False for `>=`.
        bound: Bound in the objective's unit, or as a fraction of the baseline's value when `relative`.
        relative: Whether the baseline scales the bound.
    """

    objective: str
    at_most: bool
    bound: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read `objective<=bound` or `objective>=bound`.

        A bound of 0 to 1 without a unit, or in per cent, is a fraction of the baseline; `k`, `M`, `G`, `kB`, `MB` and `ms` make
        it absolute, and so does a sign. Sparsities are fractions as they stand. The objective may say how it is
        measured, `latency_ms@batch=256<=9`.

        Raises:
            ConfigError: The text is not of that form.
        """
        match = _PATTERN.fullmatch(text)
        if match is None or (match[3].startswith("-") and (match[1] in COSTS or is_latency(match[1]))):
            raise ConfigError(f"constraint {text!r} is not of the form macs<=0.5, params<=100k or accuracy>=0.99")
        name, relation, number, unit = match.groups()
        how_of(name)
        value = float(number)
        if math.isinf(value):
            raise ConfigError(f"constraint {text!r} has a bound that is too large")
        if unit == "%":
            return cls(name, relation == "<=", value / 100, relative=name not in SPARSITIES)
        if unit == "":
            relative = 0 <= value <= 1 and number[0] not in "+-" and name not in SPARSITIES
            return cls(name, relation == "<=", value, relative=relative)
        return cls(name, relation == "<=", value * _multiplier(name, unit, text), relative=False)

    def limit(self, dense: float) -> float:
        """The bound in the objective's unit, for a dense network with this value."""
        return self.bound * dense if self.relative else self.bound

    def violation(self, values: Mapping[str, float], baseline: Mapping[str, float]) -> float:
        """By what fraction of the bound the value is on the wrong side, of the value where the bound is 0; 0 when it is kept."""
        value = values[self.objective]
        bound = self.limit(baseline[self.objective] if self.relative else 0.0)
        excess = value - bound if self.at_most else bound - value
        # Products of fractions miss whole bounds by a rounding error; that is no violation.
        return excess / abs(bound or value) if excess > 1e-9 * abs(bound) else 0.0


def total_violation(
    constraints: tuple[Constraint, ...], values: Mapping[str, float], baseline: Mapping[str, float]
) -> float:
    """Sum over the constraints whose objective is among `values`."""
    return math.fsum(one.violation(values, baseline) for one in constraints if one.objective in values)


def _multiplier(name: str, unit: str, text: str) -> float:
    if unit.lower() not in _UNITS:
        raise ConfigError(
            f"constraint {text!r} has the unknown unit {unit!r}; accepted are %, k, M, G, B, kB, MB, GB and ms"
        )
    wrong = _units_of(name).get(unit.lower()) is None
    if wrong:
        accepted = ", ".join(_WRITTEN[one] for one in _units_of(name))
        raise ConfigError(f"constraint {text!r}: {unit} is no unit of {name}, which takes {accepted} or %")
    return _UNITS[unit.lower()]


_WRITTEN: Final = {"k": "k", "m": "M", "g": "G", "b": "B", "kb": "kB", "mb": "MB", "gb": "GB", "ms": "ms"}


def _units_of(name: str) -> Mapping[str, float]:
    """What bounds on an objective may be written in; of one that we don't know, in anything."""
    if name in _OF_BYTES:
        return {**_BYTES, **_COUNTS}
    if name in COSTS or name in ("accuracy", "loss", "worst_class_accuracy", *SPARSITIES):
        return _COUNTS
    return _TIMES if is_latency(name) else _UNITS
