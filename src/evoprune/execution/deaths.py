"""What becomes of a job whose worker died."""

from __future__ import annotations

from typing import Final

from evoprune.execution.base import Job, Outcome
from evoprune.results import Cost, Evaluation, Status

RETRIES: Final = 1
"""How often a candidate whose worker died is tried again."""


def quarantined(job: Job, deaths: int) -> Outcome:
    """The outcome of a candidate that is not tried again: FAILED, for a reason that is the same wherever it ran."""
    evaluation = Evaluation(job.genome.digest, job.rung, Status.FAILED, {}, reason=f"killed its worker {deaths} times")
    return Outcome(job, evaluation, Cost(wall_s=0.0, cpu_s=0.0, retries=deaths))
