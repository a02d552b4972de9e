"""Evaluate in the calling process, one candidate at a time."""

from __future__ import annotations

from collections import deque

from evoprune.events import Listener
from evoprune.execution.base import Job, JobFactory, JobFunction, Outcome
from evoprune.execution.threads import torch_threads


class InProcessExecutor:
    """The executor for one worker: nothing to start, nothing to ship, easy to debug.

    Args:
        factory: Builds the job function, at the first job.
        workers: Taken for the sake of the common signature; there is one.
        threads: torch threads while a candidate is evaluated.
        notify: Taken for the sake of the common signature; no worker can die alone.
    """

    slots = 1

    def __init__(self, factory: JobFactory, *, workers: int, threads: int, notify: Listener) -> None:
        del workers, notify
        self._factory = factory
        self._threads = threads
        self._function: JobFunction | None = None
        self._queue: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Queue the job; it runs when it is waited for."""
        self._queue.append(job)

    def wait(self) -> Outcome:
        """Evaluate the oldest job."""
        if not self._queue:
            raise LookupError("no job is left to wait for")
        with torch_threads(self._threads):
            if self._function is None:
                self._function = self._factory()
            return self._function(self._queue.popleft())

    def close(self) -> None:
        """Forget what is queued."""
        self._queue.clear()
        self._function = None
