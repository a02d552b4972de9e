"""The seam between a run and the place where its candidates are evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from evoprune.genome import BitGenome
from evoprune.results import Cost, Evaluation


@dataclass(frozen=True)
class Job:
    """A candidate to evaluate; `index` counts the run's evaluations from 0."""

    index: int
    genome: BitGenome
    rung: int


@dataclass(frozen=True)
class Outcome:
    """A job with its evaluation and what that took."""

    job: Job
    evaluation: Evaluation
    cost: Cost


JobFunction = Callable[[Job], Outcome]
JobFactory = Callable[[], JobFunction]


class Executor(Protocol):
    """Evaluates jobs somewhere.

    The factory that an executor is given is called once per worker, there, and has to be picklable for executors that use other
    processes. A candidate that kills its worker is tried once more and then comes back FAILED; it costs no other candidate
    anything. Errors of the job function itself (a `UsageError`, a `RunError`) are raised by `wait`.
    """

    @property
    def slots(self) -> int:
        """Jobs that run at the same time."""

    def submit(self, job: Job) -> None:
        """Queue a job; never blocks on its evaluation."""

    def wait(self) -> Outcome:
        """The next finished job, in no particular order.

        Raises:
            WorkerLostError: Workers die whatever they are given.
            LookupError: Nothing was submitted that is still to come.
        """

    def close(self) -> None:
        """Stop at once, drop what is queued, leave no process behind. Idempotent."""
