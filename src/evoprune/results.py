"""What comes out of a candidate and out of a run. Plain values, no torch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


class Status(StrEnum):
    """How the evaluation of one candidate ended."""

    OK = "ok"
    FAILED = "failed"
    INFEASIBLE = "infeasible"


@dataclass(frozen=True)
class Evaluation:
    """The score of one genome at one rung; the same for the same seed, wherever it was computed.

    Attributes:
        genome: Digest of the genome.
        rung: Fidelity rung the score was taken at, 0 is the cheapest.
        status: Whether the objectives may be used for selection.
        objectives: `{objective name: value}` in the objective's own unit; empty when FAILED.
        violation: Sum of what exceeds each bound, as a fraction of the bound; 0 when feasible.
        reason: Says why the candidate is not OK, for people.
    """

    genome: str
    rung: int
    status: Status
    objectives: Mapping[str, float]
    violation: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Cost:
    """What an evaluation took; differs between runs and never enters the journal.

    Attributes:
        wall_s: Seconds on the clock.
        cpu_s: CPU seconds of the evaluating process.
        micro_batch: Samples per forward pass in training; smaller than the batch after an out-of-memory.
        worker: Process id of the worker.
        retries: Number of workers that died with this candidate before.
    """

    wall_s: float
    cpu_s: float
    micro_batch: int = 0
    worker: int = 0
    retries: int = 0


@dataclass(frozen=True)
class MetricCard:
    """What a task's metric is called, and how to read it. Its values stand in files as they are, under the key `accuracy`.

    Attributes:
        name: Name in tables, plots and messages.
        unit: `%` for a value of 0 to 1 that is shown in per cent, another such as `dB`, or nothing.
        maximize: Whether higher is better.
        bounds: Lowest and highest value that there can be.
    """

    name: str = "accuracy"
    unit: str = "%"
    maximize: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> MetricCard:
        """Read what `to_json` wrote; runs without it are judged by accuracy.

        Raises:
            TypeError: It is something else.
        """
        if document is None:
            return cls()
        name, unit, maximize = (document.get(key) for key in ("name", "unit", "maximize"))
        if not isinstance(name, str) or not isinstance(unit, str) or not isinstance(maximize, bool):
            raise TypeError("the metric is not described by name, unit and maximize")
        return cls(name, unit, maximize, (0.0, 1.0) if unit == "%" else (-inf, inf))

    def to_json(self) -> dict[str, Any]:
        """The card as `comparison.json` has it."""
        return {"name": self.name, "unit": self.unit, "maximize": self.maximize}

    @property
    def key(self) -> str:
        """The name as it can stand in a constraint: `mean_iou` for `mean IoU`."""
        return re.sub(r"\W+", "_", unicodedata.normalize("NFKC", self.name).lower()).strip("_")

    @property
    def in_percent(self) -> bool:
        """Whether values of 0 to 1 are shown in per cent."""
        return self.unit == "%"

    @property
    def is_share(self) -> bool:
        """Whether it is a share of 0 to 1 of something good, as accuracy is."""
        return self.maximize and self.bounds == (0.0, 1.0)

    def gain(self, value: float) -> float:
        """The value with its sign turned where lower is better: more is always better."""
        return value if self.maximize else -value

    def text(self, value: float) -> str:
        """A value for tables: `63.10 %`, `0.1234`, `23.41 dB`."""
        return f"{100 * value:.2f} %" if self.in_percent else f"{_short(value)} {self.unit}".rstrip()

    def change(self, before: float, after: float) -> str:
        """A difference for tables: `-1.20 points`, `+0.012`."""
        if self.in_percent:
            return f"{100 * (after - before):+.2f} points"
        return f"{'+' if after >= before else ''}{_short(after - before)} {self.unit}".rstrip()

    def line(self, value: float) -> str:
        """A value for logs, in its own unit: `0.6310`."""
        return f"{value:.4f}" if self.in_percent else _short(value)


ACCURACY: Final = MetricCard()
"""Of top-1 accuracy, the default."""


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def value_text(name: str, value: float, metric: MetricCard = ACCURACY) -> str:
    """An objective's value for logs: `accuracy 0.9120`, `12,345 MACs`, `50.00 % sparsity`, `loss 0.3121`."""
    if name == "accuracy":
        return f"{metric.name} {metric.line(value)}"
    if name == "macs":
        return f"{value:,.0f} MACs"
    if name == "sparsity":
        return f"{100 * value:.2f} % sparsity"
    return f"{name} {_short(value)}"


def values_text(values: Mapping[str, float], metric: MetricCard = ACCURACY, names: Iterable[str] = ()) -> str:
    """Values for logs: those of `names`, all where none of these is among them."""
    shown = [name for name in names if name in values] or values
    return ", ".join(value_text(name, values[name], metric) for name in shown)


@dataclass(frozen=True)
class ModelReport:
    """The figures of one finished model, as they stand in `comparison.json`.

    Attributes:
        accuracy: The task's metric on test, true to its sign; 0 to 1 for accuracy.
        params: Number of parameters, shared ones once.
        macs: Multiply-accumulates for one sample.
        size_bytes: The weights as a safetensors file.
        peak_activation_bytes: Largest number of bytes of activations alive at once, one sample.
        latency_ms: Median milliseconds for one sample, where it was measured.
        uncounted: Names of operations that `macs` leaves out, because there is no formula for them.
        others: Values of other objectives by name, on the test set where they depend on data.
        each: [samples] float64, the metric of each test sample; None where it has no such values.
    """

    accuracy: float
    params: int
    macs: int
    size_bytes: int
    peak_activation_bytes: int
    latency_ms: float | None = None
    uncounted: tuple[str, ...] = ()
    others: Mapping[str, float] = field(default_factory=dict)
    each: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, float]:
        """The figures by name, without those that were not measured."""
        apart = ("uncounted", "others", "each")
        figures = {name: value for name, value in vars(self).items() if value is not None and name not in apart}
        return {**figures, **self.others}
