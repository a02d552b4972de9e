"""Evaluate in processes of this machine, started afresh (`spawn`) and each with threads of its own.

pebble rather than `concurrent.futures`: there, one worker killed by the system breaks the whole pool, here only its own job
fails.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Final

from pebble import ProcessExpired, ProcessPool

from evoprune.errors import UsageError, WorkerLostError
from evoprune.events import CandidateTimedOut, Listener, WorkerDied
from evoprune.execution.base import Job, JobFactory, JobFunction, Outcome
from evoprune.execution.deaths import RETRIES, out_of_time, quarantined
from evoprune.execution.environment import patched_environment
from evoprune.execution.parcel import Parcel, fetch
from evoprune.execution.threads import thread_environment, torch_threads
from evoprune.execution.time_limit import ended_after


class ProcessPoolExecutor:
    """One process per worker; a worker that dies costs its candidate one retry and no other candidate anything.

    Args:
        factory: Builds the job function in each worker, at its first job; travels by pickling over a local socket.
        workers: Number of processes, at least 1.
        threads: torch threads in each.
        notify: Told when a worker dies or a candidate takes too long.
        time_limit: Seconds a candidate may take; None: any number.

    Raises:
        UsageError: The factory can't be pickled.
    """

    def __init__(
        self, factory: JobFactory, *, workers: int, threads: int, notify: Listener, time_limit: float | None = None
    ) -> None:
        self.slots: Final = workers
        self._time_limit = time_limit
        self._notify = notify
        self._attempts: dict[Future[Outcome], tuple[Job, int]] = {}
        self._parcel = Parcel(_pickled(factory))
        self._pool = ProcessPool(
            max_workers=workers,
            initializer=_prepare_worker,
            initargs=(self._parcel.address, threads, time_limit),
            context=_SpawnWithEnvironment(thread_environment(threads)),
        )

    def submit(self, job: Job) -> None:
        """Queue the job for the next free process."""
        self._schedule(job, deaths=0)

    def wait(self) -> Outcome:
        """The next job that some process has finished."""
        while self._attempts:
            finished, _ = wait(self._attempts, return_when=FIRST_COMPLETED)
            outcome = self._collect(min(finished, key=lambda future: self._attempts[future][0].index))
            if outcome is not None:
                return outcome
        raise LookupError("no job is left to wait for")

    def close(self) -> None:
        """Terminate the processes and wait until they are gone."""
        self._attempts.clear()
        self._pool.stop()
        self._pool.join()
        self._parcel.close()

    def _schedule(self, job: Job, deaths: int) -> None:
        try:
            future = self._pool.schedule(_work, args=(job,))
        except RuntimeError as error:
            raise _workers_lost(error) from error
        self._attempts[future] = (job, deaths)

    def _collect(self, future: Future[Outcome]) -> Outcome | None:
        job, deaths = self._attempts.pop(future)
        try:
            outcome = future.result()
        except ProcessExpired as error:
            if self._time_limit is not None and error.exitcode == -signal.SIGALRM:
                self._notify(CandidateTimedOut(job.genome.digest, self._time_limit))
                return out_of_time(job, self._time_limit, deaths)
            retried = deaths < RETRIES
            reason = f"worker {error.pid} died with exit code {error.exitcode}"
            self._notify(WorkerDied(job.genome.digest, reason, retried))
            if not retried:
                return quarantined(job, deaths + 1)
            self._schedule(job, deaths + 1)
            return None
        except BrokenExecutor as error:
            raise _workers_lost(error) from error
        return replace(outcome, cost=replace(outcome.cost, retries=deaths)) if deaths else outcome


@dataclass
class _Worker:
    """What a worker process knows: how to build its job function, and the function once it is built."""

    address: Any
    threads: int
    time_limit: float | None
    function: JobFunction | None = None


_worker: _Worker | None = None


def _prepare_worker(address: Any, threads: int, time_limit: float | None) -> None:
    global _worker  # noqa: PLW0603 - a worker process has no other place to keep its state between jobs
    _worker = _Worker(address, threads, time_limit)


def _work(job: Job) -> Outcome:
    assert _worker is not None
    with torch_threads(_worker.threads):
        if _worker.function is None:
            factory: JobFactory = pickle.loads(fetch(_worker.address))
            _worker.function = factory()
        with ended_after(_worker.time_limit):
            return _worker.function(job)


def _workers_lost(error: BaseException) -> WorkerLostError:
    return WorkerLostError(
        f"the worker processes are gone: {error}",
        'a script needs `if __name__ == "__main__":`; otherwise look for out-of-memory kills, then resume',
    )


def _pickled(factory: JobFactory) -> bytes:
    try:
        return pickle.dumps(factory)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"the model or task can't be sent to worker processes: {error}",
            "define classes and functions at the top level of a module, not in a function or as lambdas, or use one worker",
        ) from error


class _SpawnWithEnvironment(SpawnContext):
    """Starts processes that see extra environment variables from their first instruction on."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._environment = environment

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        return _ProcessWithEnvironment(self._environment, *args, **kwargs)


class _ProcessWithEnvironment(SpawnProcess):
    def __init__(self, environment: Mapping[str, str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._environment = dict(environment)

    def start(self) -> None:
        with patched_environment(self._environment):
            super().start()
