"""Jobs that show what an executor does with them, well-behaved ones and others, for the suites of `executor_suite`."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np
import torch

from evoprune.errors import RunError, UsageError
from evoprune.events import CandidateTimedOut, Event, WorkerDied
from evoprune.execution.base import Executor, Job, JobFunction, Outcome
from evoprune.genome import BitGenome
from evoprune.results import Cost, Evaluation, Status

PATIENCE_S: Final = 60.0
LIMIT_S: Final = 1.0
TINY: Final = "evoprune.testing.tiny:tiny_recipe"
KILLER: Final = 1
"""Index of the job that misbehaves, where one does."""


def job(index: int) -> Job:
    """A job with a genome of its own."""
    return Job(index, BitGenome.from_bits(np.array([index >> shift & 1 for shift in range(8)], dtype=np.bool_)), rung=0)


def outcomes(executor: Executor, count: int) -> dict[int, Outcome]:
    """Submit `count` jobs, wait for as many outcomes, and return them by index."""
    for index in range(count):
        executor.submit(job(index))
    received = [executor.wait() for _ in range(count)]
    return {outcome.job.index: outcome for outcome in received}


@dataclass(frozen=True)
class Jobs:
    """A picklable factory: job functions that call `work` with a folder that all processes see."""

    work: Callable[[Path, Job], Outcome]
    folder: Path

    setup_s: float = 0.0

    def __call__(self) -> JobFunction:
        """The job function."""
        time.sleep(self.setup_s)
        return partial(self.work, self.folder)


def describe_worker(folder: Path, job: Job) -> Outcome:
    """A job whose objectives say where it ran."""
    del folder
    values = {"index": float(job.index), "threads": float(torch.get_num_threads())}
    if "OMP_NUM_THREADS" in os.environ:
        values["omp"] = float(os.environ["OMP_NUM_THREADS"])
    evaluation = Evaluation(job.genome.digest, job.rung, Status.OK, values)
    return Outcome(job, evaluation, Cost(wall_s=0.0, cpu_s=0.0, worker=os.getpid()))


def raise_an_error(folder: Path, job: Job) -> Outcome:
    """A job that finds something for the user to fix, or something that stops the run."""
    del folder
    if job.index == 0:
        raise UsageError("the data is missing", "fetch it")
    raise RunError("no memory is left")


def kill_the_worker(folder: Path, job: Job) -> Outcome:
    """One job of several always kills its worker."""
    if job.index == KILLER:
        os.kill(os.getpid(), signal.SIGKILL)
    return describe_worker(folder, job)


def kill_the_first_worker(folder: Path, job: Job) -> Outcome:
    """One job of several kills its worker the first time it runs."""
    mark = folder / "killed"
    if job.index == KILLER and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return describe_worker(folder, job)


def never_end(folder: Path, job: Job) -> Outcome:
    """A job that leaves its process id in the folder and takes longer than anyone waits."""
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(10 * PATIENCE_S)
    return describe_worker(folder, job)


def take_long_once(folder: Path, job: Job) -> Outcome:
    """One job of several takes longer than anyone waits; the others, together, longer than the limit."""
    if job.index == KILLER:
        time.sleep(10 * PATIENCE_S)
    time.sleep(0.6 * LIMIT_S)
    return describe_worker(folder, job)


def hang_outside_python(folder: Path, job: Job) -> Outcome:
    """One job of several never comes back to Python, where signals are handled."""
    if job.index == KILLER:
        deque(repeat(None), maxlen=0)
    return describe_worker(folder, job)


def wait_for_the_last(folder: Path, job: Job) -> Outcome:
    """The first of three jobs is over when the last one is; in between, one has long been."""
    if job.index == 0:
        deadline = time.monotonic() + PATIENCE_S
        while not (folder / "last").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    elif job.index == 2:
        (folder / "last").touch()
    return describe_worker(folder, job)


@dataclass
class Deaths:
    """A listener that remembers which workers died, and which candidates took too long."""

    seen: list[WorkerDied] = field(default_factory=list)
    too_long: list[CandidateTimedOut] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Keep the event if it is one of these."""
        if isinstance(event, WorkerDied):
            self.seen.append(event)
        elif isinstance(event, CandidateTimedOut):
            self.too_long.append(event)
