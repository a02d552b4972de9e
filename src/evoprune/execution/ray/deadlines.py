"""When jobs at work elsewhere have to be over."""

from __future__ import annotations

import time
from collections.abc import Hashable


class Deadlines:
    """Remembers since when jobs are at work.

    Args:
        limit_s: Seconds that a job may take; None: any number.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._ends: dict[Hashable, float] = {}

    def begin(self, job: Hashable) -> None:
        """This job is at work from now on."""
        if self._limit_s is not None:
            self._ends[job] = time.monotonic() + self._limit_s

    def drop(self, job: Hashable) -> None:
        """This one no longer is, if it was."""
        self._ends.pop(job, None)

    def overdue(self) -> list[Hashable]:
        """Jobs that should be over, in the order they began."""
        now = time.monotonic()
        return [job for job, end in self._ends.items() if end <= now]

    def soonest(self, at_most_s: float) -> float:
        """Seconds until the next one should be, at least 0."""
        return min([at_most_s, *(max(0.0, end - time.monotonic()) for end in self._ends.values())])
