"""How long the dense and the finished network take, side by side: part of `comparison.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PassTimes:
    """Milliseconds of one forward pass, over many.

    Attributes:
        median_ms: The median.
        p95_ms: What 95 % of the passes stayed below.
        spread_ms: The interquartile range.
        passes: Number of passes that were timed.
    """

    median_ms: float
    p95_ms: float
    spread_ms: float
    passes: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> PassTimes:
        """The figures of passes that took so long."""
        low, middle, high, late = (1000 * np.quantile(seconds, (0.25, 0.5, 0.75, 0.95))).tolist()
        return cls(middle, late, high - low, len(seconds))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PassTimes:
        """Read what `vars` gives, or raise as `Comparison.from_json` does."""
        median, late, spread = (_positive(document[name]) for name in ("median_ms", "p95_ms", "spread_ms"))
        return cls(median, late, spread, int(document["passes"]))


@dataclass(frozen=True)
class TimedPass:
    """One forward pass of both networks, measured by turns.

    Attributes:
        batch: Samples in the pass.
        runtime: What ran them: `eager`, `torch.compile`, or `onnxruntime` with its version.
        baseline: Times of the dense network.
        pruned: Times of the finished one.
        slow: Whether multiply-accumulates fell and the time did not.
        why: What was measured to be the cause, a sentence each.
    """

    batch: int
    runtime: str
    baseline: PassTimes
    pruned: PassTimes
    slow: bool = False
    why: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The row as `comparison.json` has it."""
        told = {"slow": True, "why": list(self.why)} if self.slow else {}
        return {
            "batch": self.batch,
            "runtime": self.runtime,
            "baseline": dict(vars(self.baseline)),
            "pruned": dict(vars(self.pruned)),
            **told,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TimedPass:
        """Read what `to_json` wrote, or raise as `Comparison.from_json` does."""
        baseline, pruned = (PassTimes.from_json(document[name]) for name in ("baseline", "pruned"))
        why = tuple(map(_text, document.get("why", ())))
        return cls(
            int(document["batch"]), _text(document["runtime"]), baseline, pruned, bool(document.get("slow")), why
        )


@dataclass(frozen=True)
class Timings:
    """All that was timed of a run's finished networks.

    Attributes:
        processor: Name of the CPU or GPU.
        device: Kind of device: `cpu`, `cuda`.
        threads: Number of torch threads.
        passes: What was timed.
        left_out: What was not, with the reason.
    """

    processor: str
    device: str
    threads: int
    passes: tuple[TimedPass, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The document of `timings` in `comparison.json`."""
        return {**vars(self), "passes": [one.to_json() for one in self.passes], "left_out": dict(self.left_out)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Timings:
        """Read what `to_json` wrote, or raise as `Comparison.from_json` does."""
        return cls(
            _text(document["processor"]),
            _text(document["device"]),
            int(document["threads"]),
            tuple(map(TimedPass.from_json, document["passes"])),
            {_text(name): _text(reason) for name, reason in document["left_out"].items()},
        )


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r:.40} is no number of milliseconds")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value
