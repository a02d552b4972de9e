"""What the process pool does besides what every executor does: devices, too little memory, workers that don't start."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
import torch

from evoprune.errors import DeviceMemoryError, RunError, UsageError, WorkerLostError
from evoprune.events import Decision, WorkerDied, ignore
from evoprune.execution.pool import executor as process_pool
from evoprune.execution.pool.executor import ProcessPoolExecutor
from evoprune.results import Status
from evoprune.testing.executor_jobs import KILLER, PATIENCE_S, Jobs, describe_worker, job, never_end, outcomes
from tests.execution.processes import command, descendants, is_alive, wait_until

REPORT = """
import signal
from pathlib import Path
from threading import Timer
from evoprune.events import ignore
from evoprune.execution.pool.executor import ProcessPoolExecutor
from evoprune.testing.executor_jobs import Jobs, job, never_end
"""


@pytest.fixture
def opened(tmp_path):
    """A function that opens pools, which are closed after the test."""
    pools = []

    def open_one(work, **options):
        settings = {"workers": 1, "threads": 1, "notify": ignore, **options}
        pools.append(ProcessPoolExecutor(Jobs(work, tmp_path), **settings))
        return pools[-1]

    yield open_one
    for pool in pools:
        pool.close()


def see_a_device(folder, one):
    """The outcome says which device the worker may use."""
    outcome = describe_worker(folder, one)
    visible = float(os.environ["CUDA_VISIBLE_DEVICES"])
    time.sleep(0.2)  # so that no worker does all the work
    return replace(outcome, evaluation=replace(outcome.evaluation, objectives={"device": visible}))


def kill_once(folder, one):
    """One job takes its worker along the first time it runs."""
    mark = folder / "killed"
    if one.index == KILLER and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return see_a_device(folder, one)


def be_killed_thrice(folder, one):
    """The system kills one job's workers for lack of memory, three times; a file stands for its count."""
    counter = folder / "memory.events"
    kills = int(counter.read_text().split()[1])
    if one.index == KILLER and kills < 3:
        counter.write_text(f"oom_kill {kills + 1}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return describe_worker(folder, one)


def run_out_of_memory(folder, one):
    """The device has room for one worker only, as long as it lives."""
    (folder / f"{os.getpid()}.holds").touch()
    if sum(is_alive(int(mark.stem)) for mark in folder.glob("*.holds")) > 1:
        raise DeviceMemoryError("scoring a candidate: out of memory even with 8 samples at once", "make room")
    return describe_worker(folder, one)


def never_fit(folder, one):
    """No smaller batch and no other worker would help."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


def fail_oddly(folder, one):
    """What comes of the jobs can't be sent: an error that can't be made again, and an outcome with a function inside."""

    class Odd(Exception):  # noqa: N818
        def __init__(self, first, second):
            super().__init__(first)

    if one.index == 0:
        raise Odd("first", "second")
    return lambda: None


def leave(folder, one):
    """A job that ends its process without a word."""
    sys.exit("enough")


@pytest.mark.slow
@pytest.mark.parametrize("devices", [("4", "7"), ("7",)], ids=str)
def test_each_worker_sees_one_device_and_no_other(opened, devices):
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    received = outcomes(opened(see_a_device, workers=2, devices=devices), 6).values()
    seen = {one.cost.worker: one.evaluation.objectives["device"] for one in received}
    assert Counter(seen.values()) == Counter({float(name): 2 // len(devices) for name in devices})
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


@pytest.mark.slow
def test_device_of_a_dead_worker_goes_to_the_next(opened):
    pool, deadline = opened(kill_once, workers=2, devices=("4", "7")), time.monotonic() + PATIENCE_S
    seen = {one.cost.worker: one.evaluation.objectives["device"] for one in outcomes(pool, 3).values()}
    while len(seen) < 2 and time.monotonic() < deadline:  # the next one takes a moment to start
        again = outcomes(pool, 2).values()
        seen |= {one.cost.worker: one.evaluation.objectives["device"] for one in again}
    assert sorted(seen.values()) == [4.0, 7.0]


@pytest.mark.slow
def test_fewer_candidates_run_at_a_time_when_the_system_kills_for_lack_of_memory(opened, tmp_path, monkeypatch):
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    monkeypatch.setattr("evoprune.execution.pool.oom_kills.own_counters", lambda: [counter])
    events = []
    pool = opened(be_killed_thrice, workers=4, notify=events.append)
    received = outcomes(pool, 10)
    assert {one.evaluation.status for one in received.values()} == {Status.OK}
    assert (pool.slots, received[KILLER].cost.retries) == (1, 3)
    details = [event.detail for event in events if isinstance(event, Decision)]
    assert details == [
        f"the system had to end a worker for lack of memory; from now on {left} candidates at a time"
        for left in (3, 2, 1)
    ]
    assert [event.retried for event in events if isinstance(event, WorkerDied)] == [True] * 3


@pytest.mark.slow
def test_death_of_another_cause_leaves_the_number_of_workers(opened, tmp_path, monkeypatch):
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    monkeypatch.setattr("evoprune.execution.pool.oom_kills.own_counters", lambda: [counter])
    pool = opened(kill_once, workers=2, devices=("1",))
    outcomes(pool, 4)
    assert pool.slots == 2


@pytest.mark.slow
def test_fewer_candidates_share_a_device_when_its_memory_does_not_suffice(opened):
    events = []
    pool = opened(run_out_of_memory, workers=3, notify=events.append)
    received = outcomes(pool, 6)
    assert {one.evaluation.status for one in received.values()} == {Status.OK}
    assert pool.slots == 1
    assert [type(event) for event in events] == [Decision, Decision]
    assert "the device has too little memory; from now on 2 candidates at a time" in events[0].detail


@pytest.mark.slow
def test_run_stops_when_a_candidate_alone_does_not_fit(opened):
    pool = opened(never_fit, workers=2)
    pool.submit(job(0))
    with pytest.raises(
        DeviceMemoryError, match=r"out of memory: CUDA out of memory\. Tried to allocate 9 GiB"
    ) as caught:
        pool.wait()
    assert "end other programs" in caught.value.hint
    assert pool.slots == 1


def test_device_with_room_keeps_its_workers_when_another_has_none():
    pool = process_pool.DeviceSlots(4, ("0", "1"))
    pool.shrink(1)
    assert (pool.total, pool.can_shrink(0), pool.can_shrink(1)) == (3, True, False)


def test_what_can_not_be_sent_back_is_an_error_that_says_so(opened):
    pool = opened(fail_oddly)
    for index in range(2):
        pool.submit(job(index))
    with pytest.raises(RunError, match=r"can't send what came of a job: Odd\('first'\)"):
        pool.wait()
    with pytest.raises(RunError, match="can't send what came of a job"):
        pool.wait()


@pytest.mark.slow
def test_job_that_leaves_its_process_is_quarantined(opened):
    pool = opened(leave)
    assert [one.evaluation.reason for one in outcomes(pool, 1).values()] == ["killed its worker 2 times"]


def test_factory_that_cannot_travel_is_refused_with_a_way_out():
    with pytest.raises(UsageError, match="can't be sent to worker processes") as caught:
        ProcessPoolExecutor(lambda: None, workers=1, threads=1, notify=ignore)
    assert "top level of a module" in caught.value.hint


@pytest.mark.slow
def test_submit_after_close_is_refused():
    pool = ProcessPoolExecutor(list, workers=1, threads=1, notify=ignore)
    pool.close()
    with pytest.raises(WorkerLostError, match="worker processes are gone"):
        pool.submit(job(0))


@pytest.mark.slow
def test_script_without_a_guard_runs_once_when_workers_need_nothing_of_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"print('here')\n{REPORT}\npool = ProcessPoolExecutor(list, workers=1, threads=1, notify=ignore)\npool.close()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", "")


@pytest.mark.slow
def test_script_without_a_guard_is_told_of_it_when_workers_need_what_it_defines(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"print('here')\n{REPORT}\ndef work():\n    return list\n\n"
        "ProcessPoolExecutor(work, workers=1, threads=1, notify=ignore)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "here\n")
    assert "UsageError: work of __main__ can't be had by worker processes" in done.stderr
    assert '__name__ == "__main__"' in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_no_worker_is_left_when_the_process_that_started_them_ends(tmp_path, number):
    script = tmp_path / "script.py"
    script.write_text(
        f"{REPORT}\nif __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a script's background ignores it
        f"    pool = ProcessPoolExecutor(Jobs(never_end, Path({str(tmp_path)!r})), workers=2, threads=1, notify=ignore)\n"
        "    try:\n"
        "        for index in range(4):\n"
        "            pool.submit(job(index))\n"
        "        pool.wait()\n"
        "    finally:\n"
        "        pool.close()\n"
    )
    with subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True) as parent:
        wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
        workers = [one for one in descendants(parent.pid) if "spawn_main" in command(one)]
        parent.send_signal(number)
        said = parent.communicate(timeout=60)[1]
    assert len(workers) == 2
    wait_until(lambda: not any(map(is_alive, workers)), 10)
    assert said.count("KeyboardInterrupt") == (number is signal.SIGINT)


@pytest.mark.slow
def test_ten_thousand_jobs_wait_in_bounded_memory_when_two_workers_have_time_for_none(opened, tmp_path):
    pool = opened(never_end, workers=2)
    before, started = peak_kib(), time.monotonic()
    for index in range(10_000):
        pool.submit(job(index))
    assert time.monotonic() - started < 5
    assert peak_kib() - before < 64 * 1024
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    pool.close()
    assert multiprocessing.active_children() == []


def peak_kib():
    """Most memory that this process has had, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


KILLING_S = 30.0


def nap(folder, one):
    """A job of a few milliseconds: workers are idle, or sending and receiving, as often as at work."""
    time.sleep(0.005)
    return describe_worker(folder, one)


@pytest.mark.slow
def test_every_job_comes_back_when_workers_are_killed_at_random_moments(opened):
    pool, generator, kills = opened(nap, workers=2), np.random.default_rng(0), 0
    workers, deadline = set(), time.monotonic() + KILLING_S
    while time.monotonic() < deadline:
        chosen = generator.choice(list(workers)) if workers else None
        killer = Timer(float(generator.exponential(0.1)), kill, (chosen,))
        killer.start()
        received = outcomes(pool, int(generator.integers(1, 60)))
        killer.join()
        assert {one.evaluation.status for one in received.values()} == {Status.OK}
        assert sum(one.cost.retries for one in received.values()) <= 1
        kills += chosen is not None
        workers = {one.cost.worker for one in received.values()} - {chosen}
    assert (kills > KILLING_S / 10, pool.slots) == (True, 2)


def kill(pid):
    """End a worker, whatever it is doing."""
    if pid is not None:
        os.kill(int(pid), signal.SIGKILL)
