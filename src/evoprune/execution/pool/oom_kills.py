"""Whether it was for lack of memory that the system killed a process."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_OWN: Final = Path("/proc/self/cgroup")
_GROUPS: Final = Path("/sys/fs/cgroup")
_SYSTEM: Final = Path("/proc/vmstat")
_KILLED: Final = -getattr(signal, "SIGKILL", 9)  # Windows has no such signal, and no process ends with this code
_COUNT: Final = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class OomKills:
    """Watches the system's count of processes that it killed for lack of memory.

    Args:
        counters: Files that may hold the count, best first; the first one that does is used.
    """

    def __init__(self, counters: Iterable[Path] | None = None) -> None:
        known = own_counters() if counters is None else counters
        self._counter = next((path for path in known if _read(path) is not None), None)
        self._seen = self._count()
        self._unexplained = 0

    def explain(self, exit_code: int | None) -> bool:
        """Whether a worker that ended with this code was one of them. Where nobody counts, any SIGKILL is taken for one.

        The count rises before the process ends; each kill explains one death.
        """
        if exit_code != _KILLED:
            return False
        if self._counter is None:
            return True
        now = self._count()
        self._unexplained += max(0, now - self._seen)
        self._seen = now
        explained = self._unexplained > 0
        self._unexplained -= explained
        return explained

    def _count(self) -> int:
        return (_read(self._counter) if self._counter is not None else None) or 0


def own_counters(own: Path = _OWN, groups: Path = _GROUPS, system: Path = _SYSTEM) -> Iterator[Path]:
    """Counters of the control group that this process and its workers belong to, by version 2 and 1, then the whole system's."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        inside = group.lstrip("/")
        if not controllers:
            yield groups / inside / "memory.events"
        elif "memory" in controllers.split(","):
            yield groups / "memory" / inside / "memory.oom_control"
            yield groups / "memory" / "memory.oom_control"  # in a container, whose group is the root that it sees
    yield system


def _read(path: Path) -> int | None:
    try:
        found = _COUNT.search(path.read_text())
    except OSError:
        return None
    return None if found is None else int(found[1])
