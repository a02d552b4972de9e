import signal
import threading
import time

import pytest

from evoprune.errors import UsageError
from evoprune.events import ignore
from evoprune.execution.in_process import InProcessExecutor
from evoprune.execution.time_limit import TimeOver, ended_after, interrupted_after
from evoprune.results import Status
from evoprune.testing.executor_jobs import Deaths, describe_worker, job

LONG_S = 30.0


@pytest.fixture(autouse=True)
def untouched():
    """Handler and timer are nobody's after a test, as before."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_block_is_interrupted_whatever_it_catches():
    def insist():
        try:
            time.sleep(LONG_S)
        except Exception:
            time.sleep(LONG_S)

    started = time.monotonic()
    with pytest.raises(TimeOver), interrupted_after(0.1):
        insist()
    assert time.monotonic() - started < LONG_S


def test_block_that_is_quick_is_left_alone_for_ever():
    before = signal.getsignal(signal.SIGALRM)
    with interrupted_after(0.05):
        pass
    time.sleep(0.1)
    assert (signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM)) == ((0.0, 0.0), before)


def test_error_of_the_block_passes():
    with pytest.raises(ValueError, match="mine"), interrupted_after(LONG_S):
        raise ValueError("mine")


def test_timer_and_handler_of_others_go_on():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
    try:
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with interrupted_after(LONG_S):
            time.sleep(0.1)
        while not rung and time.monotonic() - started < LONG_S:
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert 0.25 < rung[0] - started < 2


def test_interruption_comes_again_when_it_was_lost(monkeypatch):
    monkeypatch.setattr("evoprune.execution.time_limit._AGAIN_S", 0.1)

    def lose_one():
        try:
            time.sleep(LONG_S)
        except TimeOver:
            time.sleep(LONG_S)

    with pytest.raises(TimeOver), interrupted_after(0.1):
        lose_one()


def test_limit_outside_the_main_thread_is_refused_with_a_way_out():
    refused = []

    def enter():
        try:
            with interrupted_after(1.0):
                pass
        except UsageError as error:
            refused.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert "process-pool" in refused[0].hint


@pytest.mark.parametrize("limit", [interrupted_after, ended_after])
def test_limit_is_refused_where_there_are_no_timers(limit, monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(UsageError, match="no interval timers"), limit(1.0):
        pass
    monkeypatch.undo()


def test_no_limit_needs_nothing(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    before = signal.getsignal(signal.SIGALRM)
    with interrupted_after(None), ended_after(None):
        assert signal.getsignal(signal.SIGALRM) == before
    monkeypatch.undo()


def test_executor_builds_its_job_function_anew_when_one_was_interrupted():
    built, listener = [], Deaths()

    def factory():
        built.append(None)
        return lambda one: time.sleep(LONG_S) if one.index == 0 else describe_worker(None, one)

    executor = InProcessExecutor(factory, workers=1, threads=1, notify=listener, time_limit=0.1)
    for index in range(3):
        executor.submit(job(index))
    assert [executor.wait().evaluation.status for _ in range(3)] == [Status.FAILED, Status.OK, Status.OK]
    assert (len(built), len(listener.too_long)) == (2, 1)


def test_executor_without_limit_works_in_any_thread():
    received = []
    executor = InProcessExecutor(lambda: lambda one: describe_worker(None, one), workers=1, threads=1, notify=ignore)
    executor.submit(job(0))
    thread = threading.Thread(target=lambda: received.append(executor.wait()))
    thread.start()
    thread.join()
    assert [one.evaluation.status for one in received] == [Status.OK]
