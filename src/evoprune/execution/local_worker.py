"""A process of this machine that evaluates jobs, one after the other, and the end of the pipe by which it is told.

Each has a pipe of its own: what kills one can't hold a lock, or leave half a message, that the others depend on.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import Pipe, parent_process
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Any, Final

from evoprune.errors import EvopruneError, RunError
from evoprune.evaluation.memory import telling_of_full_memory
from evoprune.execution.base import Job, JobFactory, JobFunction, Outcome
from evoprune.execution.environment import patched_environment
from evoprune.execution.parcel import fetch
from evoprune.execution.threads import torch_threads
from evoprune.execution.time_limit import ended_after

_LAST_WORDS_S: Final = 5.0


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker has to know.

    Attributes:
        parcel: Address of the pickled job factory.
        threads: torch threads.
        time_limit: Seconds a candidate may take; None: any number.
    """

    parcel: Any
    threads: int
    time_limit: float | None


@dataclass(frozen=True)
class Hello:
    """The first message of a worker: it has started and takes jobs."""


@dataclass(frozen=True)
class Began:
    """A worker has a job, and is about to look at it: if it dies now, that may be the job's doing."""


@dataclass(frozen=True)
class Raised:
    """The answer to a job whose function raised an error."""

    error: Exception


Message = Hello | Began | Outcome | Raised


class WorkerGone(Exception):  # noqa: N818 - not an error to be shown, but an answer to be dealt with
    """The worker's process has ended."""


class LocalWorker:
    """The handle of a worker process, from the side of whoever gives it jobs.

    Args:
        setup: What it has to know.
        environment: Variables that it sees from its first instruction on.
    """

    def __init__(self, setup: WorkerSetup, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._connection, self._far_end = Pipe()
        self._process = SpawnProcess(target=_serve, args=(self._far_end, setup), name="evoprune-worker", daemon=True)

    def start(self) -> None:
        """Start the process."""
        with patched_environment(self._environment), _interrupts_held_back():
            self._process.start()
        self._far_end.close()  # the worker alone holds it, so that its death is the end of the pipe

    @property
    def pid(self) -> int | None:
        """Process id; None before the start."""
        return self._process.pid

    @property
    def signs(self) -> tuple[Connection, int]:
        """What is ready, for `multiprocessing.connection.wait`, when there is something to receive."""
        return self._connection, self._process.sentinel

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
        return self._process.exitcode

    def kill(self) -> None:
        """Have the system end the process at once, whatever it is doing."""
        if self._process.pid is not None:
            self._process.kill()


def _serve(connection: Connection, setup: WorkerSetup) -> None:
    """Do jobs until there is nobody left to give them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, name="parent", daemon=True).start()
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
            with torch_threads(setup.threads), telling_of_full_memory("evaluating a candidate"):
                if function is None:
                    factory: JobFactory = pickle.loads(fetch(setup.parcel))
                    function = factory()
                with ended_after(setup.time_limit):
                    answer: Outcome | Raised = function(job)
        except Exception as error:
            error.add_note(traceback.format_exc())
            answer = Raised(error)
        _send(connection, answer)
        job = answer = content = None  # type: ignore[assignment]


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal: those started in the block never see it, here it comes when the block ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def _end_with_parent() -> None:
    """A worker whose parent was killed is of no use, and in the way of the run that is resumed."""
    parent = parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)
