"""The seam between a run and the place where its candidates are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from evoprune.genome import BitGenome
from evoprune.results import Cost, Evaluation


@dataclass(frozen=True)
class Job:
    """A candidate to evaluate.

    Attributes:
        index: Counts the run's evaluations from 0.
        genome: What to evaluate.
        rung: Which fidelity to pay for.
        stage: What the genome is about, in runs of several searches; picklable.
        files: Contents of the files that it reads, by name, where its worker can't be expected to have them (see `Portable`);
            filled in and taken out by executors.
    """

    index: int
    genome: BitGenome
    rung: int
    stage: Any = None
    files: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Outcome:
    """A job with its evaluation and what that took.

    Attributes:
        job: As submitted.
        evaluation: The score; of the genome that was found where the job was to search from its own.
        cost: What it took.
        found: What a job that is a whole search has found; None for others.
    """

    job: Job
    evaluation: Evaluation
    cost: Cost
    found: Found | None = None


@dataclass(frozen=True)
class Found:
    """The result of a search that ran as one job.

    Attributes:
        genome: The best one.
        fitness: Its fitness.
        history: One mapping per generation, with `generation`, `fitness` and the measures of the best so far.
    """

    genome: BitGenome
    fitness: float
    history: tuple[Mapping[str, float], ...]


JobFunction = Callable[[Job], Outcome]
JobFactory = Callable[[], JobFunction]


class Executor(Protocol):
    """Evaluates jobs somewhere.

    The factory that an executor is given is called once per worker, there, and has to be picklable for executors that use other
    processes. A candidate that kills its worker is tried once more and then comes back FAILED; it costs no other candidate
    anything. Errors of the job function itself (a `UsageError`, a `RunError`) are raised by `wait`.

    An executor that takes a `time_limit` in seconds ends a candidate that is at work for longer, sends a `CandidateTimedOut`, and
    gives it back as `deaths.out_of_time` says, without a retry. Building the job
    function doesn't count; what it sets up at its first job does.
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
