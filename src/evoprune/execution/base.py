"""The seam between a run and the place where its candidates are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from evoprune.genome import BitGenome
from evoprune.results import Cost, Evaluation


@dataclass(frozen=True)
class Start:
    """Trained weights that a candidate begins with.

    Attributes:
        genome: The candidate that they are of.
        state: Digest of the state that holds them.
    """

    genome: BitGenome
    state: str


@dataclass(frozen=True)
class Job:
    """A candidate to evaluate.

    Attributes:
        index: Number of the evaluation in its run, from 0.
        genome: Genome to evaluate.
        rung: Fidelity of the evaluation.
        stage: Search that the genome belongs to, in runs of several; picklable.
        files: Contents of the files that it reads, by name, where its worker can't be expected to have them (see `Portable`);
            filled in and taken out by executors.
        careful: Whether it crashed its worker before: it is evaluated with one thread, and in the plain layout.
        start: Weights to begin with; None for those of the dense network.
    """

    index: int
    genome: BitGenome
    rung: int
    stage: Any = None
    files: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    careful: bool = field(default=False, compare=False)
    start: Start | None = None


@dataclass(frozen=True)
class Outcome:
    """A job with its evaluation and what that took.

    Attributes:
        job: The job, as it was submitted.
        evaluation: The score; of the genome that was found where the job was to search from its own.
        cost: Time and memory that the evaluation took.
        found: Result of a job that is a whole search; None for others.
        trained: The candidate's trained weights as the bytes of a state; None where nobody goes on from them.
    """

    job: Job
    evaluation: Evaluation
    cost: Cost
    found: Found | None = None
    trained: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Found:
    """The result of a search that ran as one job.

    Attributes:
        genome: The best one.
        fitness: Fitness of the best genome.
        history: One mapping per generation, with `generation`, `fitness` and the measures of the best so far.
    """

    genome: BitGenome
    fitness: float
    history: tuple[Mapping[str, float], ...]


JobFunction = Callable[[Job], Outcome]


@runtime_checkable
class Describing(Protocol):
    """What a `JobFunction` offers besides where it can say what a job runs, for the message of a crash."""

    def describe(self, job: Job) -> str:
        """The job in a few words, without any work."""


JobFactory = Callable[[], JobFunction]


class Executor(Protocol):
    """Evaluates jobs somewhere.

    The factory that an executor is given is called once per worker, there, and has to be picklable for executors that use other
    processes. A candidate that kills its worker is tried once more, as a `careful` job where the worker crashed, and then comes
    back FAILED; it costs no other candidate anything. Errors of the job function itself (a `UsageError`, a `RunError`) are raised
    by `wait`.

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
