"""What becomes of a job whose worker died, or that takes too long."""

from __future__ import annotations

from typing import Final

from evoprune.execution.base import Job, Outcome
from evoprune.results import Cost, Evaluation, Status

RETRIES: Final = 1
"""How often a candidate whose worker died is tried again."""


def quarantined(job: Job, deaths: int) -> Outcome:
    """The outcome of a candidate that is not tried again: FAILED, for a reason that is the same wherever it ran."""
    return _failed(job, f"killed its worker {deaths} times", Cost(wall_s=0.0, cpu_s=0.0, retries=deaths))


def out_of_time(job: Job, limit_s: float, deaths: int = 0) -> Outcome:
    """The outcome of a candidate that was at work for longer than it may: FAILED, likewise; it would take as long again."""
    return _failed(job, f"took longer than {limit_s:g} s", Cost(wall_s=limit_s, cpu_s=0.0, retries=deaths))


def _failed(job: Job, reason: str, cost: Cost) -> Outcome:
    return Outcome(job, Evaluation(job.genome.digest, job.rung, Status.FAILED, {}, reason=reason), cost)
