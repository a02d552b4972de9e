"""What comes out of a candidate and out of a run. Plain values, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum


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
        violation: By how much constraints are violated, summed, as a fraction of each bound; 0 when feasible.
        reason: Why the candidate is not OK, for people.
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
        retries: How many workers died with this candidate before.
    """

    wall_s: float
    cpu_s: float
    micro_batch: int = 0
    worker: int = 0
    retries: int = 0


@dataclass(frozen=True)
class ModelReport:
    """The figures of one finished model, as they stand in `comparison.json`.

    Attributes:
        accuracy: Test metric, 0 to 1 for accuracy.
        params: Number of parameters, shared ones once.
        macs: Multiply-accumulates for one sample.
        size_bytes: The weights as a safetensors file.
        peak_activation_bytes: Most bytes of activations alive at once, one sample.
        latency_ms: Median milliseconds for one sample, where it was measured.
    """

    accuracy: float
    params: int
    macs: int
    size_bytes: int
    peak_activation_bytes: int
    latency_ms: float | None = None

    def to_json(self) -> dict[str, float]:
        """The figures by name, without those that were not measured."""
        return {name: value for name, value in asdict(self).items() if value is not None}
