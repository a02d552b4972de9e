"""Evaluate one candidate at a time in a child of the calling process, whose crash is not the end of this one."""

from __future__ import annotations

from evoprune.errors import UsageError
from evoprune.events import Listener
from evoprune.execution.apart import can_work_apart
from evoprune.execution.base import Job, JobFactory, Outcome
from evoprune.execution.pool.executor import ProcessPoolExecutor


class ForkedExecutor:
    """A pool of one worker that has all that this process has in memory: nothing is pickled, nothing imported again.

    Args:
        factory: Builds the job function in the child, at its first job.
        workers: Unused; there is one worker.
        threads: torch threads while a candidate is evaluated.
        notify: Called when the child dies or a candidate takes too long.
        time_limit: Seconds a candidate may take; None: any number.

    Raises:
        UsageError: This process can't be forked.
    """

    slots = 1

    def __init__(
        self, factory: JobFactory, *, workers: int, threads: int, notify: Listener, time_limit: float | None = None
    ) -> None:
        del workers
        if not can_work_apart():
            raise UsageError("executor forked needs Linux, and a process that may have children", "use in-process")
        self._pool = ProcessPoolExecutor(
            factory, workers=1, threads=threads, notify=notify, time_limit=time_limit, forked=True
        )

    def submit(self, job: Job) -> None:
        """Queue the job; it begins at once where the child is free."""
        self._pool.submit(job)

    def wait(self) -> Outcome:
        """The oldest job's outcome."""
        return self._pool.wait()

    def close(self) -> None:
        """End the child at once, and wait until it is gone."""
        self._pool.close()
