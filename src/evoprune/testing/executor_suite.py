"""What every `Executor` has to keep: subclass a suite, give the fixture `make_executor`, and pytest does the rest.

class TestMine(ProcessExecutorSuite):
    @pytest.fixture
    def make_executor(self):
        return MyExecutor
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Timer
from typing import Any, Protocol

import pytest
import torch

from evoprune.errors import RunError, UsageError
from evoprune.events import CandidateTimedOut, Listener, ignore
from evoprune.execution.base import Executor, Job, JobFactory, Outcome
from evoprune.nn_utils.threads import torch_threads
from evoprune.results import Status
from evoprune.testing.executor_jobs import (
    KILLER,
    LIMIT_S,
    PATIENCE_S,
    Deaths,
    Jobs,
    describe_worker,
    hang_outside_python,
    job,
    kill_the_first_worker,
    kill_the_worker,
    never_end,
    outcomes,
    raise_an_error,
    take_long_once,
    wait_for_the_last,
)
from evoprune.testing.tiny_work import tiny_work


class ExecutorFactory(Protocol):
    """The signature that names under `execution.executor` stand for."""

    def __call__(
        self, factory: JobFactory, *, workers: int, threads: int, notify: Listener, time_limit: float | None = None
    ) -> Executor:
        """An executor that has not been given a job yet."""


class ExecutorSuite:
    """For every executor."""

    @pytest.fixture
    def make_executor(self) -> ExecutorFactory:
        """Overridden: the executor's class, or a function of the same signature."""
        raise NotImplementedError

    @pytest.fixture
    def opened(self, make_executor: ExecutorFactory, tmp_path: Path) -> Iterator[Callable[..., Executor]]:
        """A function that opens executors, which are closed after the test."""
        executors: list[Executor] = []

        def open_one(work: Callable[[Path, Job], Outcome], **options: Any) -> Executor:
            settings = {"workers": 1, "threads": 1, "notify": ignore, **options}
            jobs = Jobs(work, tmp_path, settings.pop("setup_s", 0.0))
            executors.append(make_executor(jobs, **settings))
            return executors[-1]

        yield open_one
        for executor in executors:
            executor.close()

    def test_every_job_comes_back_once_when_there_are_more_than_slots(self, opened: Callable[..., Executor]) -> None:
        """Jobs are neither lost nor doubled, and outcomes keep to their jobs."""
        executor = opened(describe_worker, workers=2)
        received = outcomes(executor, executor.slots + 5)
        assert {index: one.job for index, one in received.items()} == {index: job(index) for index in received}
        assert [received[index].evaluation.objectives["index"] for index in sorted(received)] == list(
            range(len(received))
        )
        with pytest.raises(LookupError):
            executor.wait()

    def test_error_of_the_job_function_is_raised_when_waited_for(self, opened: Callable[..., Executor]) -> None:
        """Message and hint arrive as they were, and the executor goes on."""
        executor = opened(raise_an_error)
        executor.submit(job(0))
        with pytest.raises(UsageError) as caught:
            executor.wait()
        assert (caught.value.message, caught.value.hint) == ("the data is missing", "fetch it")
        executor.submit(job(1))
        with pytest.raises(RunError, match="no memory is left"):
            executor.wait()

    def test_threads_are_as_asked_when_a_job_runs(self, opened: Callable[..., Executor]) -> None:
        """Sums depend on the number of threads; the caller's own number stays."""
        before = torch.get_num_threads()
        received = outcomes(opened(describe_worker, threads=before + 2), 2)
        assert {one.evaluation.objectives["threads"] for one in received.values()} == {before + 2}
        assert torch.get_num_threads() == before

    def test_candidate_is_given_up_when_it_is_at_work_for_longer_than_the_limit(
        self, opened: Callable[..., Executor]
    ) -> None:
        """It fails at once, as it would again, and is told of; the others have the whole limit each."""
        listener = Deaths()
        received = outcomes(opened(take_long_once, time_limit=LIMIT_S, notify=listener), 4)
        _check_given_up(received, listener)

    def test_setting_up_takes_as_long_as_it_takes_when_there_is_a_limit(self, opened: Callable[..., Executor]) -> None:
        """Only work on the candidate counts."""
        received = outcomes(opened(describe_worker, time_limit=LIMIT_S, setup_s=2 * LIMIT_S), 2)
        assert {one.evaluation.status for one in received.values()} == {Status.OK}

    def test_evaluation_is_what_it_is_anywhere_when_candidates_are_trained(
        self, make_executor: ExecutorFactory
    ) -> None:
        """Neither worker nor order enters the seeds; nothing but the cost differs from calling the function here."""
        work, jobs = tiny_work()
        with torch_threads(1):
            function = work()
            expected = {one.index: function(one).evaluation for one in reversed(jobs)}
        with closing(make_executor(work, workers=2, threads=1, notify=ignore)) as executor:
            for one in jobs:
                executor.submit(one)
            received = [executor.wait() for _ in jobs]
        assert {one.job.index: one.evaluation for one in received} == expected
        assert {one.status for one in expected.values()} == {Status.OK}

    def test_executor_can_be_closed_when_an_error_came_of_a_job_and_others_wait(
        self, opened: Callable[..., Executor]
    ) -> None:
        """What was queued behind the error is dropped."""
        executor = opened(raise_an_error, workers=2)
        for index in range(5):
            executor.submit(job(index))
        with pytest.raises((UsageError, RunError)):
            executor.wait()
        executor.close()
        with pytest.raises(LookupError):
            executor.wait()

    def test_wait_is_interrupted_at_once_when_the_user_presses_ctrl_c(self, opened: Callable[..., Executor]) -> None:
        """The executor can be closed then, and no process is left."""
        executor = opened(never_end, workers=2)
        for index in range(4):
            executor.submit(job(index))
        started = time.monotonic()
        press = Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        # Where pytest was started in the background of a script, it was told to ignore this signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            press.start()
            with pytest.raises(KeyboardInterrupt):
                executor.wait()
        finally:
            signal.signal(signal.SIGINT, before)
        executor.close()
        press.join()
        assert time.monotonic() - started < PATIENCE_S

    def test_wait_raises_when_nothing_was_submitted(self, opened: Callable[..., Executor]) -> None:
        """Waiting for nothing is an error, not a hang."""
        with pytest.raises(LookupError):
            opened(describe_worker).wait()

    def test_close_drops_the_queue_when_called_twice(self, opened: Callable[..., Executor]) -> None:
        """Closing forgets what was queued, and closing again is harmless."""
        executor = opened(describe_worker)
        executor.submit(job(0))
        executor.close()
        executor.close()
        with pytest.raises(LookupError):
            executor.wait()


class ProcessExecutorSuite(ExecutorSuite):
    """For executors that evaluate in processes of their own on this machine."""

    def test_outcomes_come_as_they_are_ready_when_jobs_take_different_times(
        self, opened: Callable[..., Executor]
    ) -> None:
        """A job that takes long holds up nobody; who wants another order makes it."""
        executor = opened(wait_for_the_last, workers=2)
        for index in range(3):
            executor.submit(job(index))
        first, *_ = [executor.wait().job.index for _ in range(3)]
        assert first == 1

    def test_killer_is_quarantined_when_it_kills_again(self, opened: Callable[..., Executor]) -> None:
        """One retry, then FAILED; the other candidates never notice."""
        deaths = Deaths()
        received = outcomes(opened(kill_the_worker, notify=deaths), 4)
        assert {index: one.evaluation.status for index, one in received.items()} == {
            0: Status.OK, KILLER: Status.FAILED, 2: Status.OK, 3: Status.OK,
        }  # fmt: skip
        assert [death.retried for death in deaths.seen] == [True, False]
        assert {death.genome for death in deaths.seen} == {job(KILLER).genome.digest}
        assert "killed its worker" in received[KILLER].evaluation.reason

    def test_candidate_is_evaluated_as_ever_when_its_worker_dies_once(self, opened: Callable[..., Executor]) -> None:
        """The retry gives what an undisturbed evaluation gives, and is told of once."""
        deaths = Deaths()
        received = outcomes(opened(kill_the_first_worker, notify=deaths), 3)
        assert {one.evaluation.status for one in received.values()} == {Status.OK}
        assert received[KILLER].evaluation.objectives["index"] == KILLER
        assert {index: one.cost.retries for index, one in received.items()} == {0: 0, KILLER: 1, 2: 0}
        assert [death.retried for death in deaths.seen] == [True]

    def test_later_candidates_do_not_notice_when_idle_workers_have_died(self, opened: Callable[..., Executor]) -> None:
        """Between two generations nobody is at work, and nobody is to blame."""
        executor = opened(describe_worker, workers=2)
        for pid in {one.cost.worker for one in outcomes(executor, 4).values()}:
            os.kill(pid, signal.SIGKILL)
        received = outcomes(executor, 4)
        assert {one.evaluation.status for one in received.values()} == {Status.OK}

    def test_candidate_is_given_up_when_it_never_comes_back_to_python(self, opened: Callable[..., Executor]) -> None:
        """No code of the worker has to help."""
        listener = Deaths()
        received = outcomes(opened(hang_outside_python, time_limit=LIMIT_S, notify=listener), 4)
        _check_given_up(received, listener)

    def test_new_process_knows_its_threads_before_torch_is_imported(self, opened: Callable[..., Executor]) -> None:
        """The environment is set for the workers alone."""
        before = os.environ.get("OMP_NUM_THREADS")
        received = outcomes(opened(describe_worker, threads=3), 1)
        assert received[0].evaluation.objectives["omp"] == 3
        assert received[0].cost.worker != os.getpid()
        assert os.environ.get("OMP_NUM_THREADS") == before

    def test_close_ends_the_processes_when_jobs_run_and_wait(
        self, make_executor: ExecutorFactory, tmp_path: Path
    ) -> None:
        """No process outlives the executor, whatever it is doing."""
        with closing(make_executor(Jobs(never_end, tmp_path), workers=2, threads=1, notify=ignore)) as executor:
            for index in range(5):
                executor.submit(job(index))
            running = _wait_for_processes(tmp_path, executor.slots)
            started = time.monotonic()
        assert time.monotonic() - started < PATIENCE_S
        assert [pid for pid in running if _is_alive(pid)] == []


def _check_given_up(received: dict[int, Outcome], listener: Deaths) -> None:
    """The candidate that misbehaves ran out of time, once, and none of the others noticed."""
    given_up = received.pop(KILLER).evaluation
    assert (given_up.status, given_up.objectives) == (Status.FAILED, {})
    assert given_up.reason == f"took longer than {LIMIT_S:g} s"
    assert {one.evaluation.status for one in received.values()} == {Status.OK}
    assert listener.too_long == [CandidateTimedOut(job(KILLER).genome.digest, LIMIT_S)]
    assert listener.seen == []


def _wait_for_processes(folder: Path, count: int) -> list[int]:
    deadline = time.monotonic() + PATIENCE_S
    while len(found := [int(mark.stem) for mark in folder.glob("*.pid")]) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} jobs have begun"
        time.sleep(0.02)
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
