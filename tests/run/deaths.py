"""Processes that die at a chosen step on the way to the disk."""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

NEVER = sys.maxsize
RANDOM_PART = re.compile(r"\.[a-z0-9_]{8}\.part$")


class Fate:
    """Notes the steps of this process towards the disk, and kills it when it is about to take one of them.

    A step is a directory made, a file removed, a file put in its place, a sync, or half of a line: what comes before it is done.

    Args:
        folder: Steps elsewhere don't count.
        last: The step to die at, from 0.
    """

    def __init__(self, folder: Path, last: int = NEVER) -> None:
        self.steps: list[str] = []
        self._folder, self._last = str(folder), last
        for name in ("mkdir", "unlink", "replace", "fsync"):
            setattr(os, name, self._noted(name, getattr(os, name)))
        write = os.write

        def in_two_parts(handle: int, content: bytes) -> int:
            half = write(handle, content[: len(content) // 2])
            self._step("write", handle)
            return half + write(handle, content[half:])

        os.write = in_two_parts

    def _noted(self, name: str, function: Callable) -> Callable:
        def noted(where, *rest, **options):
            target = rest[0] if name == "replace" else where
            if not (name == "mkdir" and Path(where).is_dir()):
                self._step(name, target)
            return function(where, *rest, **options)

        return noted

    def _step(self, action: str, target: int | str | Path) -> None:
        path = str(Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else target)
        if not path.startswith(self._folder):
            return
        if len(self.steps) == self._last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps.append(f"{action} {RANDOM_PART.sub('.part', path.removeprefix(self._folder))}")


def in_a_fork(work: Callable[[], None]) -> int:
    """The exit code of `work` in a process of its own; of a signal, its negative number."""
    process = os.fork()
    if not process:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def first_and_last_of_each(steps: list[str]) -> list[int]:
    """Positions of the first and the last step of each kind, in order; files named by their content are of one kind."""
    kinds = [re.sub(r"[0-9a-f]{16,}", "*", step) for step in steps]
    first = {kind: number for number, kind in reversed(list(enumerate(kinds)))}
    last = {kind: number for number, kind in enumerate(kinds)}
    return sorted({*first.values(), *last.values()})
