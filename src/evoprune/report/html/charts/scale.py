"""Scales of charts: from values to places, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
DIGITS: Final = ((1, 2, 5), (1, 3), (1,))
"""Of ticks of a logarithmic scale, the more the better."""
AIR: Final = 0.05
"""Share of the scale that is left free at either end."""


@dataclass(frozen=True)
class Tick:
    """A place along a scale, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """A scale over values from `low` to `high`, which are at `start` and `end` of the drawing.

    Attributes:
        low: Value at the start.
        high: Value at the end, above `low`.
        start: Place of the start, in units of the drawing.
        end: Place of the end.
        log: Whether it is logarithmic; `low` is above 0 then.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Place of a value, rounded to what can be seen."""
        low, high, value = (math.log(one) for one in (self.low, self.high, value)) if self.log else (
            self.low, self.high, value
        )  # fmt: skip
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self, most: int, text: Callable[[float], str], *, whole: bool = False) -> tuple[Tick, ...]:
        """Round values along the scale, no more than `most`.

        Args:
            most: Number of ticks, 2 or more.
            text: Writes a value.
            whole: Whether only whole numbers are wanted.
        """
        values = _magnitudes(self.low, self.high, most) if self.log else _rounded(self.low, self.high, most, whole)
        return tuple(Tick(self.at(value), text(value)) for value in values)


def span_of(values: Sequence[float], *, log: bool = False, floor: float | None = None) -> tuple[float, float]:
    """Ends of a scale that shows all values with some air.

    Args:
        values: Finite numbers, one at least.
        log: Whether the scale is logarithmic; all are above 0 then.
        floor: Value below which the scale doesn't begin, where no value does.
    """
    low, high = min(values), max(values)
    if log:
        factor = (high / low) ** AIR if high > low else 2.0
        return low / factor, high * factor
    air = AIR * (high - low) or 0.1 * abs(high) or 1.0
    start = low - air
    return (max(start, floor) if floor is not None and floor <= low else start), high + air


def _rounded(low: float, high: float, most: int, whole: bool) -> list[float]:
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(one * power for one in STEPS if one * power >= least * (1 - 1e-9))
    step = max(1.0, math.ceil(step)) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _magnitudes(low: float, high: float, most: int) -> list[float]:
    """As many round values per decade as there is room for."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    within: list[float] = []
    for digits in DIGITS:
        within = [digit * 10.0**power for power in decades for digit in digits if low <= digit * 10.0**power <= high]
        if len(within) <= most:
            break
    return within[:: max(1, math.ceil(len(within) / most))]
