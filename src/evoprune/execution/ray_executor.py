"""Evaluate in the workers of a Ray cluster: one that is there already, or an instance on this machine for this run alone."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from evoprune.errors import UsageError, WorkerLostError
from evoprune.events import CandidateTimedOut, Decision, Listener, WorkerDied
from evoprune.execution.base import Job, JobFactory, Outcome
from evoprune.execution.deadlines import Deadlines
from evoprune.execution.deaths import RETRIES, out_of_time, quarantined
from evoprune.execution.portable import files_of, made_portable
from evoprune.execution.ray_cluster import Member, RayCluster, WorkerGone
from evoprune.execution.ray_worker import Parcel, pickled, versions

NODE_RETRIES: Final = 3
"""How often a candidate whose node was lost is tried again: nodes go for reasons of their own more often than workers do."""

_FAILED_STARTS: Final = 3
_STARTING_AT_LEAST: Final = 4
_PATIENCE_S: Final = 30.0
_GOODBYE_S: Final = 10.0
_LOST_NODE_S: Final = 120.0
_BREATH_S: Final = 1.0
_GRACE_S: Final = 5.0
"""How long a worker may need to say that its candidate took too long. One that is caught outside Python never does."""


class RayExecutor:
    """As many workers as are asked for and the cluster has room for; one that dies costs its candidate one retry.

    Args:
        factory: Builds the job function in each worker, at its first job; goes to each node once, through the object store.
        workers: Most workers at a time, at least 1.
        threads: torch threads in each, and the CPUs it asks for.
        notify: Told when a worker dies or none can be had, and when a candidate takes too long.
        time_limit: Seconds a candidate may take; None: any number.
        address: Of a cluster, `host:port`, `ray://host:port` or `auto`; None starts an instance that only this run can
            use. A connection that the process has already is used as it is.
        gpus: What each worker asks for: a fraction of a GPU, or whole ones.
        working_dir: Folder of the user's own modules, sent to the cluster.

    Raises:
        UsageError: There is no cluster at the address, or the factory can't be sent to it.
    """

    def __init__(
        self,
        factory: JobFactory,
        *,
        workers: int,
        threads: int,
        notify: Listener,
        time_limit: float | None = None,
        address: str | None = None,
        gpus: float = 0.0,
        working_dir: Path | None = None,
    ) -> None:
        self._factory, self._workers, self._notify, self._time_limit = factory, workers, notify, time_limit
        far = RayCluster.is_far(address)
        content = pickled(made_portable(factory) if far else factory)
        self._cluster = RayCluster(address, workers, threads, gpus, working_dir, len(content))
        self._parcel = Parcel.of(content)
        self._files: dict[Path, Parcel] = {}
        self._queue: deque[_Attempt] = deque()
        self._starting: dict[Any, Any] = {}
        self._idle: list[Member] = []
        self._busy: dict[Any, _Assignment] = {}
        self._preparing: dict[Any, Any] = {}
        self._deadlines = Deadlines(None if time_limit is None else time_limit + _GRACE_S)
        self._failed_starts, self._failing_since = 0, 0.0
        self._closed = self._said_waiting = False
        if not self._cluster.far:
            self._hire_all()

    @property
    def slots(self) -> int:
        """Jobs that run at the same time: as many as the cluster has room for now."""
        return max(1, min(self._workers, self._cluster.room())) if self._cluster.far else self._workers

    def submit(self, job: Job) -> None:
        """Queue the job for the next free worker, and ask for another worker where there may be one."""
        if self._closed:
            raise WorkerLostError("the workers are gone: the executor is closed")
        self._queue.append(_Attempt(job))
        self._advance()

    def wait(self) -> Outcome:
        """The next job that some worker has finished."""
        while self._queue or self._busy:
            self._advance()
            done = self._cluster.first_of(
                [*self._busy, *self._preparing, *self._starting], self._deadlines.soonest(_PATIENCE_S)
            )
            if not done:
                if overdue := self._deadlines.overdue():
                    return self._out_of_time(self._take_back(overdue[0]))
                self._say_when_waiting()
            elif done[0] in self._starting:
                self._welcome(done[0])
            elif done[0] in self._preparing:
                self._begin(done[0])
            elif (outcome := self._collect(done[0])) is not None:
                return outcome
        raise LookupError("no job is left to wait for")

    def close(self) -> None:
        """End the workers, and the instance if it was started here; a cluster goes on without them."""
        if self._closed:
            return
        self._closed = True
        members = [*self._idle, *(work.member for work in self._busy.values())]
        self._cluster.close([*(member.actor for member in members), *self._starting.values()])
        for held in (self._queue, self._busy, self._preparing, self._starting, self._idle, self._files):
            held.clear()
        if not self._cluster.far:
            _wait_for_end([member.pid for member in members])

    def _hire_all(self) -> None:
        """Have all workers at hand, so that a job begins when it is submitted; there is room for them here."""
        try:
            self._hire(self._workers)
            while self._starting:
                for reference in self._cluster.first_of(list(self._starting), _PATIENCE_S):
                    self._welcome(reference)
        except BaseException:
            self.close()
            raise

    def _hire(self, count: int) -> None:
        for _ in range(count):
            actor, reference = self._cluster.hire(self._parcel, self._time_limit)
            self._starting[reference] = actor

    def _advance(self) -> None:
        """Hire what there is work for, and give work to who is free."""
        outstanding = min(self._workers, len(self._queue) + len(self._busy))
        missing = outstanding - len(self._idle) - len(self._busy) - len(self._starting)
        if missing > 0:
            # Workers that wait for room make an autoscaler add nodes; it grows a cluster twofold at most.
            waiting = max(_STARTING_AT_LEAST, self.slots) if self._cluster.far else self._workers
            self._hire(min(missing, waiting - len(self._starting)))
        while self._queue and self._idle:
            self._assign(self._idle.pop(), self._queue.popleft())

    def _assign(self, member: Member, attempt: _Attempt) -> None:
        files = {name: self._shared(path) for name, path in self._files_of(attempt.job).items()}
        ready, reference = self._cluster.give(member, attempt.job, files)
        self._busy[reference] = _Assignment(member, attempt, ready)
        self._preparing[ready] = reference

    def _files_of(self, job: Job) -> Mapping[str, Path]:
        paths = files_of(self._factory, job) if self._cluster.far else {}
        # Jobs of one search read the same files; those of earlier ones are let go.
        self._files = {path: parcel for path, parcel in self._files.items() if path in paths.values()}
        return paths

    def _shared(self, path: Path) -> Parcel:
        if path not in self._files:
            self._files[path] = Parcel.of(path.read_bytes())
        return self._files[path]

    def _welcome(self, reference: Any) -> None:
        actor = self._starting.pop(reference)
        try:
            member = Member(actor, **self._cluster.result(reference))
        except WorkerGone as error:
            self._cluster.end(actor)
            self._stop_if_hopeless(error)
            return  # another one is hired when there is work
        if member.versions != versions():
            raise UsageError(
                f"a worker on {member.host} has {member.versions}, here is {versions()}: their scores could differ",
                "install the same versions on all nodes",
            )
        self._idle.append(member)

    def _stop_if_hopeless(self, error: WorkerGone) -> None:
        self._failed_starts += 1
        if self._failed_starts == 1:
            self._failing_since = time.monotonic()
        # A cluster goes on sending workers to a lost node until it has noticed, which takes it half a minute.
        patience = _LOST_NODE_S if self._cluster.far else 0.0
        if self._failed_starts >= _FAILED_STARTS and time.monotonic() - self._failing_since >= patience:
            raise WorkerLostError(
                f"workers can't be started: {error}",
                "Ray's logs on its nodes say more; each node needs evoprune's dependencies; then resume",
            ) from error
        if self._cluster.far:
            time.sleep(_BREATH_S)

    def _begin(self, ready: Any) -> None:
        """A worker has all that it needs and is at work, or will never be."""
        reference = self._preparing.pop(ready)
        with contextlib.suppress(Exception):  # comes again as the job's own
            self._cluster.result(ready)
            work = self._busy[reference]
            self._busy[reference] = replace(work, member=replace(work.member, proven=True), begun=True)
            self._deadlines.begin(reference)
            self._failed_starts = 0

    def _collect(self, reference: Any) -> Outcome | None:
        work = self._take_back(reference)
        try:
            outcome: Outcome | None = self._cluster.result(reference)
        except WorkerGone as error:
            if work.begun:
                return self._bury(work.member, work.attempt, error)
            self._put_back(work, error)
            return None
        except BaseException:
            self._idle.append(work.member)  # what the job function raises is no fault of its worker
            raise
        if outcome is None:
            return self._out_of_time(work)
        self._idle.append(work.member)
        return replace(outcome, job=work.attempt.job, cost=replace(outcome.cost, retries=work.attempt.tries))

    def _take_back(self, reference: Any) -> _Assignment:
        ready = self._busy[reference].ready
        if ready in self._preparing:
            self._begin(ready)
        self._deadlines.drop(reference)
        return self._busy.pop(reference)

    def _put_back(self, work: _Assignment, error: WorkerGone) -> None:
        """The worker was gone before the job began: no fault of the candidate's."""
        self._cluster.end(work.member.actor)
        self._queue.appendleft(work.attempt)
        if not work.member.proven:
            self._stop_if_hopeless(error)

    def _out_of_time(self, work: _Assignment) -> Outcome:
        assert self._time_limit is not None
        self._cluster.end(
            work.member.actor
        )  # it may still be at work, or have been in the middle of changing something
        self._notify(CandidateTimedOut(work.attempt.job.genome.digest, self._time_limit))
        return out_of_time(work.attempt.job, self._time_limit, work.attempt.tries)

    def _bury(self, member: Member, attempt: _Attempt, error: WorkerGone) -> Outcome | None:
        self._cluster.end(member.actor)
        # Whoever shares this machine with its worker can reach it as long as it lives.
        if self._cluster.far and (error.unreachable or not self._cluster.is_up(member.node)):
            attempt, reason = replace(attempt, losses=attempt.losses + 1), f"a node on {member.host} was lost"
        else:
            attempt = replace(attempt, deaths=attempt.deaths + 1)
            reason = f"worker {member.pid} on {member.host} died: {error}"
        retried = attempt.deaths <= RETRIES and attempt.losses <= NODE_RETRIES
        self._notify(WorkerDied(attempt.job.genome.digest, reason, retried))
        if not retried:
            return quarantined(attempt.job, attempt.tries)
        self._queue.appendleft(attempt)
        return None

    def _say_when_waiting(self) -> None:
        if not self._busy and not self._said_waiting:
            self._said_waiting = True
            self._notify(
                Decision("execution", f"the cluster has no room yet for {self._cluster.demand}; waiting for it")
            )


@dataclass(frozen=True)
class _Attempt:
    job: Job
    deaths: int = 0
    losses: int = 0

    @property
    def tries(self) -> int:
        """Those that came to nothing."""
        return self.deaths + self.losses


@dataclass(frozen=True)
class _Assignment:
    """A job with the worker that has it; `ready` comes when the worker begins, and that has `begun`."""

    member: Member
    attempt: _Attempt
    ready: Any
    begun: bool = False


def _wait_for_end(pids: list[int]) -> None:
    """Until the processes are gone: Ray only asks the system to end them."""
    deadline = time.monotonic() + _GOODBYE_S
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.02)
