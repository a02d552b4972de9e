"""Evaluate in the calling process, one candidate at a time."""

from __future__ import annotations

from collections import deque

from evoprune.events import CandidateTimedOut, Listener
from evoprune.execution.base import Job, JobFactory, JobFunction, Outcome
from evoprune.execution.deaths import out_of_time
from evoprune.execution.time_limit import TimeOver, interrupted_after
from evoprune.nn_utils.memory import telling_of_full_memory
from evoprune.nn_utils.threads import torch_threads


class InProcessExecutor:
    """The executor for one worker: nothing to start, nothing to ship, easy to debug.

    Args:
        factory: Builds the job function, at the first job.
        workers: Unused; there is one worker.
        threads: torch threads while a candidate is evaluated.
        notify: Called when a candidate takes too long; no worker can die alone.
        time_limit: Seconds a candidate may take; None: any number. Needs the main thread, and can't interrupt what never comes
            back from outside Python: worker processes can be ended even then.
    """

    slots = 1

    def __init__(
        self, factory: JobFactory, *, workers: int, threads: int, notify: Listener, time_limit: float | None = None
    ) -> None:
        del workers
        self._factory, self._threads, self._notify, self._time_limit = factory, threads, notify, time_limit
        self._function: JobFunction | None = None
        self._queue: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Queue the job; it runs when it is waited for."""
        self._queue.append(job)

    def wait(self) -> Outcome:
        """Evaluate the oldest job."""
        if not self._queue:
            raise LookupError("no job is left to wait for")
        with torch_threads(self._threads), telling_of_full_memory("evaluating a candidate"):
            if self._function is None:
                self._function = self._factory()
            return self._evaluate(self._function, self._queue.popleft())

    def close(self) -> None:
        """Forget what is queued."""
        self._queue.clear()
        self._function = None

    def _evaluate(self, function: JobFunction, job: Job) -> Outcome:
        try:
            with interrupted_after(self._time_limit):
                return function(job)
        except TimeOver:
            assert self._time_limit is not None
            self._function = None  # whatever it was in the middle of changing goes with it
        self._notify(CandidateTimedOut(job.genome.digest, self._time_limit))
        return out_of_time(job, self._time_limit)
