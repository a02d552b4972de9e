"""Evaluate in the workers of a Ray cluster."""

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
from evoprune.execution.deaths import RETRIES, out_of_time, quarantined
from evoprune.execution.portable import files_of, made_portable
from evoprune.execution.ray.cluster import Member, RayCluster, WorkerGone
from evoprune.execution.ray.connection import check_address
from evoprune.execution.ray.deadlines import Deadlines
from evoprune.execution.ray.failed_starts import FailedStarts
from evoprune.execution.ray.worker import Payload, pickled, versions

NODE_RETRIES: Final = 3
"""How often a candidate whose node was lost is tried again: nodes go for reasons of their own more often than workers do."""

_STARTING_AT_LEAST: Final = 4
_PATIENCE_S: Final = 30.0
_LOST_NODE_S: Final = 120.0
_BREATH_S: Final = 1.0
_GRACE_S: Final = 5.0
"""How long a worker may need to say that its candidate took too long. One that is caught outside Python never does."""


class RayExecutor:
    """Runs as many workers as are asked for and the cluster has room for; one that dies costs its candidate one retry.

    Args:
        factory: Builds the job function in each worker when that starts; goes to each node once, through the object store.
        workers: Largest number of workers at a time, at least 1.
        threads: torch threads in each, and the CPUs it asks for.
        notify: Called when a worker dies or none can be had, and when a candidate takes too long.
        time_limit: Seconds a candidate may take; None: any number.
        address: Address of a cluster, `host:port`, `ray://host:port` or `auto`. A connection that the process has already is
            used as it is; None needs one.
        gpus: GPUs that each worker asks for: a fraction of one, or whole ones.
        working_dir: Folder of the user's own modules, sent to the cluster.

    Raises:
        UsageError: There is no cluster, or the factory can't be sent to it. What the factory itself raises comes from `wait`.
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
        content = pickled(made_portable(factory))
        self._cluster = RayCluster(address, threads, gpus, working_dir)
        self._payload = Payload.of(content)
        self._files: dict[Path, Payload] = {}
        self._queue: deque[_Attempt] = deque()
        self._starting: dict[Any, Any] = {}
        self._idle: list[Member] = []
        self._busy: dict[Any, tuple[Member, _Attempt]] = {}
        self._preparing: dict[Any, _Assignment] = {}
        self._deadlines = Deadlines(None if time_limit is None else time_limit + _GRACE_S)
        # A cluster goes on sending workers to a lost node until it has noticed, which takes it half a minute.
        self._failed_starts = FailedStarts(_LOST_NODE_S)
        self._closed = self._said_waiting = False

    @staticmethod
    def check_address(address: str | None) -> None:
        """See that there is a cluster to use, before there is any work.

        Raises:
            UsageError: There is no address, and no connection of this process.
        """
        check_address(address)

    @property
    def slots(self) -> int:
        """Jobs that run at the same time: as many as the cluster has room for now."""
        return max(1, min(self._workers, self._cluster.room()))

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
        """End the workers; the cluster goes on without them."""
        if self._closed:
            return
        self._closed = True
        preparing = [assignment.member for assignment in self._preparing.values()]
        members = [*self._idle, *preparing, *(member for member, _ in self._busy.values())]
        self._cluster.close(members, list(self._starting.values()))
        for held in (self._queue, self._busy, self._preparing, self._starting, self._idle, self._files):
            held.clear()

    def _go_on(self, reference: Any) -> None:
        if reference in self._starting:
            self._welcome(reference)
        else:
            self._begin(reference)

    def _hire(self, count: int) -> None:
        for _ in range(count):
            actor, reference = self._cluster.hire(self._payload, self._time_limit)
            self._starting[reference] = actor

    def _advance(self) -> None:
        """Hire what there is work for, and give work to who is free."""
        assigned = len(self._busy) + sum(one.attempt is not None for one in self._preparing.values())
        hired = len(self._starting) + len(self._preparing) + len(self._idle) + len(self._busy)
        missing = min(self._workers, len(self._queue) + assigned) - hired
        if missing > 0:
            # Workers that wait for room make an autoscaler add nodes; it grows a cluster twofold at most.
            self._hire(min(missing, max(_STARTING_AT_LEAST, self.slots) - len(self._starting)))
        while self._queue and self._idle:
            self._assign(self._idle.pop(), self._queue.popleft())

    def _assign(self, member: Member, attempt: _Attempt) -> None:
        files = {name: self._shared(path) for name, path in self._files_of(attempt.job).items()}
        self._prepare(_Assignment(member, attempt, files))

    def _prepare(self, assignment: _Assignment) -> None:
        self._preparing[self._cluster.prepare(assignment.member, assignment.files)] = assignment

    def _files_of(self, job: Job) -> Mapping[str, Path]:
        paths = files_of(self._factory, job)
        # Jobs of one search read the same files; those of earlier ones are let go.
        self._files = {path: payload for path, payload in self._files.items() if path in paths.values()}
        return paths

    def _shared(self, path: Path) -> Payload:
        if path not in self._files:
            self._files[path] = Payload.of(path.read_bytes())
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
            raise WorkerLostError(
                f"workers can't be started: {error}",
                "Ray's logs on its nodes say more; each node needs evoprune's dependencies; then resume",
            ) from error
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
        if error.unreachable or not self._cluster.is_up(member.node):
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
        """Number of attempts that came to nothing."""
        return self.deaths + self.losses


@dataclass(frozen=True)
class _Assignment:
    """What a worker gets ready for; without an attempt, for no job in particular."""

    member: Member
    attempt: _Attempt | None = None
    files: Mapping[str, Payload] = field(default_factory=dict)
