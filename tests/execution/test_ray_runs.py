"""Whole runs on Ray, from the command line: whatever happens on the way, the journal is the one of a run that used no Ray."""

import os
import signal
import sys
from functools import cache

import pytest

pytest.importorskip("ray")
from tests.execution.machines import Machines
from tests.execution.processes import is_alive, wait_until
from tests.execution.ray_project import KINDS, Project, ended

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("in_time", "rays_random"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]
A_MINUTE_S = 60


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The journal of a kind of run in one process, by name."""
    project = Project(tmp_path_factory.mktemp("undisturbed"))

    @cache
    def journal(kind):
        project.run("run", f"{kind}.yaml", "--out", kind, "--workers", "1")
        return project.journal(kind)

    return journal


@pytest.fixture(scope="module")
def machines():
    machines = Machines()
    machines.add()
    yield machines
    machines.close()


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def start(project, machines):
    """A function that starts a run on the cluster; what it started is ended with the test."""
    processes = []

    def begin(kind):
        arguments = ("run", f"{kind}.yaml", "--out", "run", "--address", machines.address)
        processes.append(project.start(*arguments, environment=machines.token))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", KINDS)
def test_journal_is_the_same_when_candidates_are_evaluated_on_other_machines(
    kind, project, start, machines, undisturbed
):
    ended(start(kind))
    assert project.journal("run") == undisturbed(kind)


@pytest.mark.parametrize("kind", ["channels", "masks layer by layer"])
def test_journal_is_the_same_when_a_worker_is_killed_in_the_middle(kind, project, start, undisturbed):
    project.pace(0.5)
    process = start(kind)
    project.wait_for_lines("run", 2, process)
    wait_until(project.at_work)
    os.kill(project.at_work().pop(), signal.SIGKILL)
    project.pace(0)
    ended(process)
    assert project.journal("run") == undisturbed(kind)
    assert [one["retried"] for one in project.events("run", "WorkerDied")] == [True]


@pytest.mark.parametrize("kind", ["channels", "masks layer by layer"])
def test_journal_is_the_same_when_a_machine_is_lost_in_the_middle(kind, project, start, machines, undisturbed):
    project.pace(0.5)
    machine = machines.add()
    process = start(kind)
    wait_until(lambda: project.at_work() & machine.workers())
    machine.lose()
    project.pace(0)
    ended(process)
    assert project.journal("run") == undisturbed(kind)
    (loss,) = project.events("run", "WorkerDied")
    assert loss["retried"]
    assert "was lost" in loss["reason"]


def test_machine_is_used_when_it_joins_in_the_middle(project, start, machines, undisturbed):
    project.pace(4)  # 16 candidates are left: a minute for the machine to start
    process = start("channels")
    project.wait_for_lines("run", 2, process)
    machine = machines.add()
    try:
        wait_until(lambda: project.at_work() & machine.workers())
        there = machine.workers()
        project.pace(0)
        ended(process)
    finally:
        machine.lose()
    assert project.journal("run") == undisturbed("channels")
    assert there & project.workers("run")


def test_workers_end_and_the_run_resumes_when_its_machine_is_lost(project, start, machines, undisturbed):
    project.pace(0.5)
    process = start("channels")
    project.wait_for_lines("run", 3, process)
    left = set.union(*(machine.workers() for machine in machines.machines))
    process.kill()
    wait_until(lambda: not any(map(is_alive, left)), A_MINUTE_S)
    assert left
    project.pace(0)
    project.run("resume", "run", environment=machines.token)
    assert project.journal("run") == undisturbed("channels")
