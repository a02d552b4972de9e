"""A process of this machine that evaluates jobs, one after the other, and the end of the pipe by which it is told.

Each has a pipe of its own: what kills one can't hold a lock, or leave half a message, that the others depend on.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Any, Final, Literal, cast

from evoprune.errors import EvopruneError, RunError
from evoprune.execution.apart import end_with_parent, forked, in_fresh_thread, interrupts_held_back, start_forked
from evoprune.execution.base import Describing, Job, JobFactory, JobFunction, Outcome
from evoprune.execution.environment import patched_environment
from evoprune.execution.main_module import main_left_alone
from evoprune.execution.pool.payload import fetch
from evoprune.execution.time_limit import ended_after
from evoprune.nn_utils.memory import telling_of_full_memory
from evoprune.nn_utils.threads import torch_threads

Kind = Literal["spawned", "spawned-with-main", "forked"]
_LAST_WORDS_S: Final = 5.0


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker has to know.

    Attributes:
        load: Returns the job factory, in the worker.
        threads: torch threads.
        time_limit: Seconds a candidate may take; None: any number.
    """

    load: Callable[[], JobFactory]
    threads: int
    time_limit: float | None


@dataclass(frozen=True)
class FromParcel:
    """Fetches the pickled job factory from a payload's address."""

    address: Any

    def __call__(self) -> JobFactory:
        """The factory."""
        factory: JobFactory = pickle.loads(fetch(self.address))
        return factory


@dataclass(frozen=True)
class Hello:
    """The first message of a worker: it has started and takes jobs."""


@dataclass(frozen=True)
class Began:
    """A worker has a job, and is about to look at it: if it dies now, that may be the job's doing."""


@dataclass(frozen=True)
class Doing:
    """What the job runs, in words."""

    what: str


@dataclass(frozen=True)
class Raised:
    """The answer to a job whose function raised an error."""

    error: Exception


Message = Hello | Began | Doing | Outcome | Raised


class WorkerGone(Exception):  # noqa: N818 - not an error to be shown, but an answer to be dealt with
    """The worker's process has ended."""


class LocalWorker:
    """The handle of a worker process, from the side of whoever gives it jobs.

    Args:
        setup: Settings of the worker.
        environment: Variables that it sees from its first instruction on.
        kind: `spawned` begins afresh, `spawned-with-main` imports `__main__` besides; `forked` goes on with all that this process
            has in memory.
    """

    def __init__(self, setup: WorkerSetup, environment: Mapping[str, str], kind: Kind = "spawned-with-main") -> None:
        self._environment, self._kind = environment, kind
        self._end_sign: int | None = None
        self._connection, self._far_end = Pipe()
        self._process: Any = (
            forked(_serve_forked, self._connection, self._far_end, setup)
            if kind == "forked"
            else SpawnProcess(target=_serve_spawned, args=(self._far_end, setup), name="evoprune-worker", daemon=True)
        )

    def start(self) -> None:
        """Start the process."""
        if self._kind == "forked":
            start_forked(self._process)
            # Children of a worker that crashes, a data loader's, hold its pipes open for some seconds.
            self._end_sign = os.pidfd_open(self._process.pid) if hasattr(os, "pidfd_open") else None
        else:
            alone = main_left_alone() if self._kind == "spawned" else contextlib.nullcontext()
            with patched_environment(self._environment), interrupts_held_back(), alone:
                self._process.start()
        self._far_end.close()  # the worker alone holds it, so that its death is the end of the pipe

    @property
    def pid(self) -> int | None:
        """Process id; None before the start."""
        return cast("int | None", self._process.pid)

    @property
    def signs(self) -> tuple[Connection, int]:
        """What is ready, for `multiprocessing.connection.wait`, when there is something to receive."""
        return self._connection, self._process.sentinel if self._end_sign is None else self._end_sign

    def give(self, job: Job) -> None:
        """Send a job.

        Raises:
            WorkerGone: There is nobody to take it.
        """
        try:
            self._connection.send(job)
        except OSError as error:
            raise WorkerGone from error

    def receive(self) -> Message:
        """What the worker has sent.

        Raises:
            WorkerGone: It has ended without sending anything more.
        """
        try:
            if not self._connection.poll():
                raise WorkerGone
            content = self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise WorkerGone from error
        message: Message = pickle.loads(content)
        return message

    def end(self) -> int | None:
        """Wait a moment for the end, then bring it about; returns the exit code, None if it was never started. Idempotent."""
        if self._process.pid is None:
            return None
        self._process.join(_LAST_WORDS_S)
        self.kill()
        self._process.join()
        self._connection.close()
        if self._end_sign is not None:
            os.close(self._end_sign)
            self._end_sign = None
        return cast("int | None", self._process.exitcode)

    def kill(self) -> None:
        """Have the system end the process at once, whatever it is doing."""
        if self._process.pid is not None:
            self._process.kill()


def _serve_spawned(connection: Connection, setup: WorkerSetup) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=end_with_parent, name="parent", daemon=True).start()
    _serve(connection, setup)


def _serve_forked(near_end: Connection, connection: Connection, setup: WorkerSetup) -> None:
    near_end.close()  # the parent's, whose end is to be noticed
    in_fresh_thread(partial(_serve, connection, setup))


def _serve(connection: Connection, setup: WorkerSetup) -> None:
    """Do jobs until there is nobody left to give them."""
    function: JobFunction | None = None
    _send(connection, Hello())
    while True:
        try:
            content = connection.recv_bytes()
        except (EOFError, OSError):
            return
        _send(connection, Began())
        try:
            job: Job = pickle.loads(content)
            with torch_threads(1 if job.careful else setup.threads), telling_of_full_memory("evaluating a candidate"):
                if function is None:
                    function = setup.load()()
                if isinstance(function, Describing):
                    _send(connection, Doing(function.describe(job)))
                with ended_after(setup.time_limit):
                    answer: Outcome | Raised = function(job)
        except Exception as error:
            error.add_note(traceback.format_exc())
            answer = Raised(error)
        _send(connection, answer)
        job = answer = content = None  # type: ignore[assignment]


def _send(connection: Connection, message: Message) -> None:
    try:
        content = pickle.dumps(message)
        if isinstance(message, Raised):
            pickle.loads(content)  # some errors can be taken apart but not put together again
    except Exception as error:
        what = message.error if isinstance(message, Raised) else error
        hint = what.hint if isinstance(what, EvopruneError) else ""
        content = pickle.dumps(Raised(RunError(f"a worker can't send what came of a job: {what!r}", hint)))
    with contextlib.suppress(OSError):  # nobody is listening any more, as the next `recv` will say
        connection.send_bytes(content)
