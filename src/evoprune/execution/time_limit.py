"""How a candidate that takes too long is stopped, in this process or together with it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from evoprune.errors import UsageError

TIMED_OUT: Final = -getattr(signal, "SIGALRM", 14)
"""Exit code of a process that `ended_after` has ended."""

_AGAIN_S: Final = 5.0
_AT_ONCE_S: Final = 1e-6


class TimeOver(BaseException):  # nothing that catches `Exception` may take it for an error
    """The block took longer than it may."""


@contextmanager
def interrupted_after(limit_s: float | None) -> Iterator[None]:
    """Raise in the block when it takes longer; None lets it take as long as it wants.

    Raises:
        TimeOver: It did. Work outside Python that never comes back to it can't be interrupted.
        UsageError: Only the main thread can be interrupted, and on systems that have interval timers.
    """
    if limit_s is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise UsageError(
            "candidates evaluated in this process can only be limited in time from its main thread",
            "use executor process-pool, or leave execution.candidate_time_limit out",
        )
    check_timers()
    armed = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        if armed:
            raise TimeOver

    handler, started = signal.getsignal(signal.SIGALRM), time.monotonic()
    signal.signal(signal.SIGALRM, interrupt)
    # Again and again, as Python drops what is raised in a destructor.
    before = signal.setitimer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        _go_on(before, time.monotonic() - started)


@contextmanager
def ended_after(limit_s: float | None) -> Iterator[None]:
    """Have the system end this process by SIGALRM when the block takes longer, whatever it is doing; for worker processes.

    Raises:
        UsageError: The system has no interval timers.
    """
    if limit_s is None:
        yield
        return
    check_timers()
    if threading.current_thread() is threading.main_thread():  # elsewhere the handler can't be set, and is what it was
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _go_on(timer: Any, elapsed_s: float) -> None:
    """Set the timer of before again, with what is left of it."""
    delay_s, interval_s = timer
    if delay_s:
        signal.setitimer(signal.ITIMER_REAL, max(delay_s - elapsed_s, _AT_ONCE_S), interval_s)


def check_timers() -> None:
    """See that this system can limit the time of a block.

    Raises:
        UsageError: It has no interval timers, as Windows.
    """
    if not hasattr(signal, "setitimer"):
        raise UsageError(
            "this system has no interval timers to limit candidates by", "leave execution.candidate_time_limit out"
        )
