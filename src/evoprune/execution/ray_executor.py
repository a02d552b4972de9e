"""Evaluate in the workers of a Ray cluster: one that is there already, or an instance on this machine for this run alone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from evoprune.errors import UsageError, WorkerLostError
from evoprune.events import CandidateTimedOut, Decision, Listener, WorkerDied
from evoprune.execution.base import Job, JobFactory, Outcome
from evoprune.execution.deadlines import Deadlines
from evoprune.execution.deaths import RETRIES, out_of_time, quarantined
from evoprune.execution.failed_starts import FailedStarts
from evoprune.execution.portable import files_of, made_portable
from evoprune.execution.ray_cluster import Member, RayCluster, WorkerGone
from evoprune.execution.ray_worker import Parcel, pickled, versions

NODE_RETRIES: Final = 3
"""How often a candidate whose node was lost is tried again: nodes go for reasons of their own more often than workers do."""

_STARTING_AT_LEAST: Final = 4
_PATIENCE_S: Final = 30.0
_LOST_NODE_S: Final = 120.0
_BREATH_S: Final = 1.0
_GRACE_S: Final = 5.0
"""How long a worker may need to say that its candidate took too long. One that is caught outside Python never does."""


class RayExecutor:
    """As many workers as are asked for and the cluster has room for; one that dies costs its candidate one retry.

    Args:
        factory: Builds the job function in each worker when that starts; goes to each node once, through the object store.
        workers: Most workers at a time, at least 1.
        threads: torch threads in each, and the CPUs it asks for.
        notify: Told when a worker dies or none can be had, and when a candidate takes too long.
        time_limit: Seconds a candidate may take; None: any number.
        address: Of a cluster, `host:port`, `ray://host:port` or `auto`; None starts an instance that only this run can
            use. A connection that the process has already is used as it is.
        gpus: What each worker asks for: a fraction of a GPU, or whole ones.
        working_dir: Folder of the user's own modules, sent to the cluster.

    Raises:
        UsageError: There is no cluster at the address, or the factory can't be sent to it. What the factory itself raises comes
            from here where an instance is started, and from `wait` on a cluster.
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
        self._busy: dict[Any, tuple[Member, _Attempt]] = {}
        self._preparing: dict[Any, _Assignment] = {}
        self._deadlines = Deadlines(None if time_limit is None else time_limit + _GRACE_S)
        # A cluster goes on sending workers to a lost node until it has noticed, which takes it half a minute.
        self._failed_starts = FailedStarts(_LOST_NODE_S if self._cluster.far else 0.0)
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
        while self._queue or self._preparing or self._busy:
            self._advance()
            done = self._cluster.first_of(
                [*self._preparing, *self._busy, *self._starting], self._deadlines.soonest(_PATIENCE_S)
            )
            if not done:
                if overdue := self._deadlines.overdue():
                    return self._out_of_time(*self._take_back(overdue[0]))
                self._say_when_waiting()
            elif done[0] not in self._busy:
                self._go_on(done[0])
            elif (outcome := self._collect(done[0])) is not None:
                return outcome
        raise LookupError("no job is left to wait for")

    def close(self) -> None:
        """End the workers, and the instance if it was started here; a cluster goes on without them."""
        if self._closed:
            return
        self._closed = True
        preparing = [assignment.member for assignment in self._preparing.values()]
        members = [*self._idle, *preparing, *(member for member, _ in self._busy.values())]
        self._cluster.close(members, list(self._starting.values()))
        for held in (self._queue, self._busy, self._preparing, self._starting, self._idle, self._files):
            held.clear()

    def _hire_all(self) -> None:
        """Have all workers at hand, so that a job begins when it is submitted; there is room for them here."""
        try:
            self._hire(self._workers)
            while coming := [*self._preparing, *self._starting]:
                for reference in self._cluster.first_of(coming, _PATIENCE_S):
                    self._go_on(reference)
        except BaseException:
            self.close()
            raise

    def _go_on(self, reference: Any) -> None:
        if reference in self._starting:
            self._welcome(reference)
        else:
            self._begin(reference)

    def _hire(self, count: int) -> None:
        for _ in range(count):
            actor, reference = self._cluster.hire(self._parcel, self._time_limit)
            self._starting[reference] = actor

    def _advance(self) -> None:
        """Hire what there is work for, and give work to who is free."""
        assigned = len(self._busy) + sum(one.attempt is not None for one in self._preparing.values())
        hired = len(self._starting) + len(self._preparing) + len(self._idle) + len(self._busy)
        missing = min(self._workers, len(self._queue) + assigned) - hired
        if missing > 0:
            # Workers that wait for room make an autoscaler add nodes; it grows a cluster twofold at most.
            waiting = max(_STARTING_AT_LEAST, self.slots) if self._cluster.far else self._workers
            self._hire(min(missing, waiting - len(self._starting)))
        while self._queue and self._idle:
            self._assign(self._idle.pop(), self._queue.popleft())

    def _assign(self, member: Member, attempt: _Attempt) -> None:
        files = {name: self._shared(path) for name, path in self._files_of(attempt.job).items()}
        ready = self._prepare(_Assignment(member, attempt, files))
        if not self._cluster.far:
            self._begin(ready)  # which takes a millisecond, as nothing has to be fetched

    def _prepare(self, assignment: _Assignment) -> Any:
        ready = self._cluster.prepare(assignment.member, assignment.files)
        self._preparing[ready] = assignment
        return ready

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
        self._prepare(_Assignment(member))

    def _stop_if_hopeless(self, error: WorkerGone) -> None:
        if self._failed_starts.add():
            hint = (
                "Ray's logs on its nodes say more; each node needs evoprune's dependencies; then resume"
                if self._cluster.far
                else "the same command with `--executor process-pool` resumes without Ray"
            )
            raise WorkerLostError(f"workers can't be started: {error}", hint) from error
        if self._cluster.far:
            time.sleep(_BREATH_S)

    def _begin(self, reference: Any) -> None:
        """Give its job to a worker that is ready: whoever dies before that, does so by no fault of the candidate's."""
        assignment = self._preparing.pop(reference)
        member, attempt, files = assignment.member, assignment.attempt, assignment.files
        try:
            self._cluster.result(reference)
        except WorkerGone as error:
            self._cluster.end(member.actor)
            if attempt is not None:
                self._queue.appendleft(attempt)
            if attempt is None or files:  # not one that died of something else while it was idle
                self._stop_if_hopeless(error)
            return
        except BaseException:
            self._idle.append(member)  # what the factory raises is no fault of its worker
            raise
        if attempt is None:
            self._idle.append(member)
            return
        self._failed_starts.reset()
        given = self._cluster.give(member, attempt.job, files)
        self._busy[given] = (member, attempt)
        self._deadlines.begin(given)

    def _collect(self, reference: Any) -> Outcome | None:
        member, attempt = self._take_back(reference)
        try:
            outcome: Outcome | None = self._cluster.result(reference)
        except WorkerGone as error:
            return self._bury(member, attempt, error)
        except BaseException:
            self._idle.append(member)  # what the job function raises is no fault of its worker
            raise
        if outcome is None:
            return self._out_of_time(member, attempt)
        self._idle.append(member)
        return replace(outcome, job=attempt.job, cost=replace(outcome.cost, retries=attempt.tries))

    def _take_back(self, reference: Any) -> tuple[Member, _Attempt]:
        self._deadlines.drop(reference)
        return self._busy.pop(reference)

    def _out_of_time(self, member: Member, attempt: _Attempt) -> Outcome:
        assert self._time_limit is not None
        self._cluster.end(member.actor)  # it may still be at work, or have been in the middle of changing something
        self._notify(CandidateTimedOut(attempt.job.genome.digest, self._time_limit))
        return out_of_time(attempt.job, self._time_limit, attempt.tries)

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
        if not self._busy and not self._preparing and not self._said_waiting:
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
    """What a worker gets ready for; without an attempt, for no job in particular."""

    member: Member
    attempt: _Attempt | None = None
    files: Mapping[str, Parcel] = field(default_factory=dict)
