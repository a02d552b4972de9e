"""Evaluate in processes of this machine, started afresh (`spawn`) and each with threads of its own."""

from __future__ import annotations

import contextlib
import io
import pickle
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_for_any
from typing import Final

from evoprune.errors import DeviceMemoryError, UsageError, WorkerLostError
from evoprune.events import CandidateTimedOut, Decision, Listener, WorkerDied
from evoprune.execution.apart import ending, is_crash
from evoprune.execution.base import Job, JobFactory, Outcome
from evoprune.execution.deaths import RETRIES, out_of_time, quarantined
from evoprune.execution.main_module import pickle_into, why_main_cannot_be_imported_again
from evoprune.execution.pool.device_slots import DeviceSlots
from evoprune.execution.pool.oom_kills import OomKills
from evoprune.execution.pool.payload import Payload
from evoprune.execution.pool.worker import (
    Began,
    Doing,
    FromParcel,
    Hello,
    Kind,
    LocalWorker,
    Raised,
    WorkerGone,
    WorkerSetup,
)
from evoprune.execution.time_limit import TIMED_OUT
from evoprune.nn_utils.threads import thread_environment

_FAILED_STARTS: Final = 3


class ProcessPoolExecutor:
    """One process per worker; a worker that dies costs its candidate one retry and no other candidate anything.

    Where memory doesn't suffice for so many candidates at a time, fewer are evaluated at a time from then on, and the one that it
    ended for is tried again, as often as that helps: what a machine has room for is no property of a candidate.

    Args:
        factory: Builds the job function in each worker, at its first job; travels by pickling over a local socket.
        workers: Number of processes, at least 1.
        threads: torch threads in each.
        notify: Called when a worker dies, a candidate takes too long, or memory doesn't suffice.
        time_limit: Seconds a candidate may take; None: any number.
        devices: CUDA's names of the devices that workers are shared out among, each seeing one (see `cuda_names`); none:
            all see what this process sees.
        forked: Workers are no fresh processes but go on with all that this one has in memory; see `apart.can_work_apart`.

    Raises:
        UsageError: The factory can't be pickled, or is of a `__main__` that can't be imported again.
        WorkerLostError: No worker can be started.
    """

    def __init__(
        self,
        factory: JobFactory,
        *,
        workers: int,
        threads: int,
        notify: Listener,
        time_limit: float | None = None,
        devices: Sequence[str] = (),
        forked: bool = False,
    ) -> None:
        self._notify, self._time_limit = notify, time_limit
        self._device_slots, self._oom_kills = DeviceSlots(workers, devices), OomKills()
        self._environment = thread_environment(threads)
        self._queue: deque[_Attempt] = deque()
        self._seats: list[_Seat] = []
        self._failed_starts = 0
        self._closed = False
        self._kind: Kind = "forked"
        self._payload: Payload | None = None
        load: Callable[[], JobFactory] = lambda: factory  # noqa: E731
        if not forked:
            content, self._kind = _pickled(factory)
            self._payload = Payload(content)
            load = FromParcel(self._payload.address)
        self._setup = WorkerSetup(load, threads, time_limit)
        self._start_all()

    @property
    def slots(self) -> int:
        """Jobs that run at the same time; fewer once memory has turned out not to suffice."""
        return self._device_slots.total

    def submit(self, job: Job) -> None:
        """Queue the job; it begins at once where a worker is free."""
        if self._closed:
            raise _workers_lost("the executor is closed")
        self._queue.append(_Attempt(job))
        self._assign()

    def wait(self) -> Outcome:
        """The next job that some process has finished."""
        while self._queue or any(seat.attempt for seat in self._seats):
            self._hire()
            self._assign()
            outcome = self._next()
            self._assign()
            if outcome is not None:
                return outcome
        raise LookupError("no job is left to wait for")

    def close(self) -> None:
        """End the processes at once, and wait until they are gone."""
        self._closed = True
        self._queue.clear()
        for seat in self._seats:
            seat.worker.kill()
        for seat in self._seats:
            seat.worker.end()
        self._seats.clear()
        if self._payload is not None:
            self._payload.close()

    def _start_all(self) -> None:
        """Have all workers at hand, so that jobs begin when they are submitted."""
        try:
            self._hire()
            while any(not seat.ready for seat in self._seats):
                self._next()
                self._hire()
        except BaseException:
            self.close()
            raise

    def _hire(self) -> None:
        while (device := self._device_slots.take()) is not None:
            worker = LocalWorker(
                self._setup, {**self._environment, **self._device_slots.environment(device)}, self._kind
            )
            self._seats.append(_Seat(worker, device))  # before it starts, so that `close` finds it whatever happens
            worker.start()

    def _assign(self) -> None:
        for seat in self._seats:
            if self._queue and seat.ready and seat.attempt is None:
                seat.attempt, seat.begun, seat.doing = self._queue.popleft(), False, ""
                seat.alone = not self._device_slots.can_shrink(seat.device)
                with contextlib.suppress(WorkerGone):  # as will be noticed where others are that end
                    seat.worker.give(seat.attempt.job)

    def _next(self) -> Outcome | None:
        """What comes of the first worker that has something to say, or has ended."""
        signs = {sign: seat for seat in self._seats for sign in seat.worker.signs}
        seat = signs[wait_for_any(list(signs))[0]]  # type: ignore[index]
        try:
            message = seat.worker.receive()
        except WorkerGone:
            return self._bury(seat)
        if isinstance(message, Hello):
            seat.ready, self._failed_starts = True, 0
            return None
        if isinstance(message, Began):
            seat.begun = True
            return None
        if isinstance(message, Doing):
            seat.doing = message.what
            return None
        attempt, seat.attempt = seat.attempt, None
        assert attempt is not None
        if isinstance(message, Raised):
            self._retry_or_raise(seat, attempt, message.error)
            return None
        return replace(message, cost=replace(message.cost, retries=attempt.retries)) if attempt.retries else message

    def _bury(self, seat: _Seat) -> Outcome | None:
        """What becomes of the candidate whose worker has ended, and of the slot."""
        pid, code, attempt = seat.worker.pid, self._remove(seat), seat.attempt
        alone = seat.alone if attempt else not self._device_slots.can_shrink(seat.device)
        crowded = self._oom_kills.explain(code) and not alone
        if crowded:
            self._shrink(seat.device, "the system had to end a worker for lack of memory")
        elif attempt is None:
            self._count_failed_start(seat, code)
        if attempt is None:
            return None
        if not seat.begun:  # it had not looked at the job, which is not to blame
            self._queue.appendleft(attempt)
            return None
        if self._time_limit is not None and code == TIMED_OUT:
            self._notify(CandidateTimedOut(attempt.job.genome.digest, self._time_limit))
            return out_of_time(attempt.job, self._time_limit, attempt.retries)
        again = replace(attempt, retries=attempt.retries + 1, deaths=attempt.deaths + (not crowded))
        retried = again.deaths <= RETRIES
        reason = f"worker {pid} died with {ending(code)}"
        if is_crash(code):
            threads = 1 if attempt.job.careful else self._setup.threads
            reason += f" at {seat.doing or 'a candidate'} with torch threads: {threads}"
            again = replace(again, job=replace(attempt.job, careful=True))
        self._notify(WorkerDied(attempt.job.genome.digest, reason, retried))
        if not retried:
            return quarantined(attempt.job, again.deaths)
        self._queue.appendleft(again)
        return None

    def _retry_or_raise(self, seat: _Seat, attempt: _Attempt, error: Exception) -> None:
        if seat.alone or not isinstance(error, DeviceMemoryError):
            raise error
        seat.worker.kill()  # with it goes what it holds of the device's memory
        self._remove(seat)
        self._shrink(seat.device, "the device has too little memory")
        self._queue.appendleft(replace(attempt, retries=attempt.retries + 1))

    def _remove(self, seat: _Seat) -> int | None:
        self._seats.remove(seat)
        self._device_slots.leave(seat.device)
        return seat.worker.end()

    def _shrink(self, device: int, why: str) -> None:
        if self._device_slots.can_shrink(
            device
        ):  # of several that ran out of memory together, the last has company no more
            self._device_slots.shrink(device)
            self._notify(Decision("execution", f"{why}; from now on {self._device_slots.total} candidates at a time"))

    def _count_failed_start(self, seat: _Seat, code: int | None) -> None:
        """Do without workers that end before they are ready, one after the other; a WorkerLostError when there are no others."""
        self._failed_starts += not seat.ready
        if self._failed_starts < _FAILED_STARTS:
            return
        if not any(other.ready for other in self._seats):
            raise _workers_lost(f"they end with exit code {code} before their first job")
        self._failed_starts = 0
        self._shrink(seat.device, f"workers end with exit code {code} before their first job")


@dataclass(frozen=True)
class _Attempt:
    """A job with the workers that died of it, and all that it was taken from, for whatever reason."""

    job: Job
    deaths: int = 0
    retries: int = 0


@dataclass(eq=False)
class _Seat:
    """A worker in its slot.

    Attributes:
        worker: The process.
        device: Index of its device.
        ready: Whether it has said hello.
        attempt: Attempt that it works on.
        begun: Whether it has begun with that.
        doing: Description of that work, once the worker has sent one.
        alone: Whether it has had its device for itself since it began with that.
    """

    worker: LocalWorker
    device: int
    ready: bool = False
    attempt: _Attempt | None = None
    begun: bool = False
    doing: str = ""
    alone: bool = False


def _workers_lost(why: str) -> WorkerLostError:
    return WorkerLostError(
        f"the worker processes are gone: {why}",
        "look for out-of-memory kills, and for what modules of yours do when they are imported, then resume",
    )


def _pickled(factory: JobFactory) -> tuple[bytes, Kind]:
    """The factory for the way, and what fresh processes need of `__main__`: nothing at best, so that no script needs a guard."""
    content = io.BytesIO()
    try:
        names = pickle_into(content, factory)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"the model or task can't be sent to worker processes: {error}",
            "define classes and functions at the top level of a module, not in a function or as lambdas, or use one worker",
        ) from error
    why = why_main_cannot_be_imported_again() if names else ""
    if why:
        raise UsageError(
            f"{', '.join(names)} of __main__ can't be had by worker processes: {why}",
            "move it to a module, or use one worker",
        )
    return content.getvalue(), "spawned-with-main" if names else "spawned"
