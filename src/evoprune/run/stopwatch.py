"""Wall and CPU seconds of a stage, the children's included."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from evoprune.events import Listener, StageEnded, StageStarted

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def cpu_seconds() -> float:
    """CPU seconds so far of this process and of those children that have ended; without these where the system doesn't say."""
    if resource is None:
        return sum(os.times()[:4])
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def stage(name: str, notify: Listener, detail: str = "") -> Iterator[None]:
    """Announce a stage, and when it is over, what it took."""
    notify(StageStarted(name, detail))
    wall, cpu = time.perf_counter(), cpu_seconds()
    yield
    notify(StageEnded(name, time.perf_counter() - wall, cpu_seconds() - cpu))
