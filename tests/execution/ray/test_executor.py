"""`make test-ray` runs these: they start Ray's processes."""

import logging
import os
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import evoprune as ep
from evoprune.errors import UsageError, WorkerLostError
from evoprune.events import Decision, ignore
from evoprune.execution.base import Outcome
from evoprune.results import Cost, Evaluation, Status
from evoprune.testing.executor_jobs import PATIENCE_S, TINY, Deaths, Jobs, describe_worker, job, never_end, outcomes
from evoprune.testing.executor_suite import ProcessExecutorSuite
from tests.execution.processes import is_alive, wait_until

ray = pytest.importorskip("ray")
from ray._private import ray_constants  # noqa: E402 - there is nothing to import without the extra
from ray._private import utils as ray_utils  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from evoprune.execution.ray import executor as ray_executor  # noqa: E402
from evoprune.execution.ray import worker as ray_worker  # noqa: E402
from evoprune.execution.ray.executor import RayExecutor  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("in_time", "rays_random")]


@pytest.fixture(scope="class")
def connected():
    """A connection of the caller's own, to an instance on the loopback alone."""
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder,
    ):
        patch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
        patch.setattr(ray_utils, "write_ray_address", lambda *_: None)
        ray.init(
            "local", num_cpus=4, num_gpus=0, include_dashboard=False, object_store_memory=100 * 2**20,
            _node_ip_address="127.0.0.1", _temp_dir=folder, logging_level=logging.ERROR, log_to_driver=False,
        )  # fmt: skip
        yield
        ray.shutdown()
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("connected")
class TestRayExecutor(ProcessExecutorSuite):
    @pytest.fixture
    def make_executor(self):
        return RayExecutor

    def test_factory_that_cannot_travel_is_refused_with_a_way_out(self, tmp_path):
        with (tmp_path / "open").open("w") as stream, pytest.raises(UsageError, match="can't be sent") as caught:
            RayExecutor(partial(print, stream), workers=1, threads=1, notify=ignore)
        assert "locks" in caught.value.hint

    def test_worker_with_other_versions_is_refused(self, opened, monkeypatch):
        monkeypatch.setattr(ray_executor, "versions", lambda: "another torch")
        with pytest.raises(UsageError, match="here is another torch: their scores could differ"):
            outcomes(opened(describe_worker), 1)

    def test_submit_after_close_is_refused(self, opened):
        executor = opened(describe_worker)
        executor.close()
        with pytest.raises(WorkerLostError, match="the executor is closed"):
            executor.submit(job(0))

    def test_close_ends_the_processes_when_jobs_run_and_wait(self, make_executor, tmp_path):
        """As the suite has it, but jobs begin while somebody waits: until Ctrl-C, here."""
        with closing(make_executor(Jobs(never_end, tmp_path), workers=2, threads=1, notify=ignore)) as executor:
            for index in range(5):
                executor.submit(job(index))
            with ThreadPoolExecutor(1) as elsewhere:
                pressed = elsewhere.submit(press_ctrl_c_when, lambda: len(list(tmp_path.glob("*.pid"))) == 2)
                with pytest.raises(KeyboardInterrupt):
                    executor.wait()
                pressed.result()
        running = [int(mark.stem) for mark in tmp_path.glob("*.pid")]
        assert len(running) == 2
        assert not any(map(is_alive, running))

    def test_connection_of_the_caller_stays_open_when_the_executor_is_closed(self, opened):
        opened(describe_worker).close()
        assert ray.is_initialized()


def test_executor_is_refused_where_there_is_neither_address_nor_connection(tmp_path):
    with pytest.raises(UsageError, match="is not set, and this process is not connected") as caught:
        RayExecutor(Jobs(describe_worker, tmp_path), workers=1, threads=1, notify=ignore)
    for way_out in ("--address", "ray.init()", "process-pool"):
        assert way_out in caught.value.hint
    assert not ray.is_initialized()


def test_run_is_refused_before_there_is_any_work_where_there_is_no_cluster(tmp_path):
    with pytest.raises(UsageError, match="executor ray has no cluster"):
        ep.run_recipe(TINY, out=tmp_path / "run", config={"execution": {"executor": "ray"}})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def cluster():
    """A node without room for a worker, on the loopback alone; tests add others."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder,
    ):
        patch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
        # Into /tmp/ray, which may not be there, and whoever says "auto" on this machine would find it.
        patch.setattr(ray_utils, "write_ray_address", lambda *_: None)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": folder, **NODE})
        yield cluster
        cluster.shutdown()


@pytest.fixture
def joined(cluster):
    """A function that opens executors on the cluster."""
    executors = []

    def join(factory, **options):
        settings = {"workers": 2, "threads": 1, "notify": ignore, "address": cluster.address, **options}
        executors.append(RayExecutor(factory, **settings))
        return executors[-1]

    yield join
    for executor in executors:
        executor.close()


@pytest.fixture
def node(cluster):
    """A node with room for one worker."""
    node = cluster.add_node(num_cpus=1, **NODE)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


NODE = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 100 * 2**20}


def test_handler_of_sigterm_is_ours_when_a_cluster_was_joined(joined, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    joined(Jobs(describe_worker, tmp_path))
    assert signal.getsignal(signal.SIGTERM) is before


def test_files_travel_with_jobs_when_the_cluster_is_not_ours(joined, node, tmp_path):
    letter = tmp_path / "letter"
    letter.write_bytes(b"x" * 12_345)
    executor = joined(ReadsALetter(letter))
    received = outcomes(executor, 2)
    assert [received[index].evaluation.objectives["length"] for index in range(2)] == [12_345] * 2
    assert received[0].job.files == {}


def test_payload_is_refused_when_it_is_not_what_was_sent(joined, node, tmp_path):
    joined(Jobs(describe_worker, tmp_path))
    with pytest.raises(WorkerLostError, match="arrived damaged"):
        ray_worker.Payload("0" * 64, ray.put(np.zeros(3, dtype=np.uint8))).open()


def test_slots_grow_when_a_node_joins(joined, node, cluster, tmp_path):
    executor = joined(Jobs(describe_worker, tmp_path))
    assert executor.slots == 1
    second = cluster.add_node(num_cpus=1, **NODE)
    try:
        assert executor.slots == 2
        assert len(outcomes(executor, 6)) == 6
    finally:
        cluster.remove_node(second)


def test_cluster_without_room_is_waited_for_and_said_once(joined, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor, "_PATIENCE_S", 0.2)
    said = []

    def help_out(event):
        said.append(event)
        nodes.append(cluster.add_node(num_cpus=1, **NODE))

    nodes = []
    received = outcomes(joined(Jobs(describe_worker, tmp_path), notify=help_out), 1)
    cluster.remove_node(nodes[0])
    assert received[0].evaluation.status is Status.OK
    assert [type(event) for event in said] == [Decision]
    assert "no room yet for a worker of 1 CPUs" in said[0].detail


def test_candidates_of_a_lost_node_are_evaluated_elsewhere(joined, node, cluster, tmp_path):
    second, deaths = cluster.add_node(num_cpus=1, **NODE), Deaths()
    executor = joined(Jobs(wait_for_a_sign, tmp_path), notify=deaths)

    def lose_a_node():
        wait_until(lambda: len(list(tmp_path.glob("*.begun"))) == 2)
        cluster.remove_node(second, allow_graceful=False)
        wait_until(lambda: not all(is_alive(mark.stem) for mark in tmp_path.glob("*.begun")))
        (tmp_path / "go").touch()

    with ThreadPoolExecutor(1) as elsewhere:
        loss = elsewhere.submit(lose_a_node)
        received = outcomes(executor, 4)
        loss.result()
    assert {one.evaluation.status for one in received.values()} == {Status.OK}
    assert sorted(one.cost.retries for one in received.values()) == [0, 0, 0, 1]
    assert [death.retried for death in deaths.seen] == [True]
    assert "was lost" in deaths.seen[0].reason


def test_address_where_nobody_listens_is_a_usage_error_in_seconds(tmp_path):
    started = time.monotonic()
    with pytest.raises(UsageError, match=r"there is no Ray cluster at 127\.0\.0\.1:9"):
        RayExecutor(Jobs(describe_worker, tmp_path), workers=1, threads=1, notify=ignore, address="127.0.0.1:9")
    assert time.monotonic() - started < PATIENCE_S
    assert not ray.is_initialized()


def press_ctrl_c_when(condition):
    wait_until(condition)
    os.kill(os.getpid(), signal.SIGINT)


class ReadsALetter:
    """A factory whose jobs need a file of this machine."""

    def __init__(self, letter: Path) -> None:
        self.letter = letter

    def __call__(self):
        return read_a_letter

    def portable(self):
        return ReadsALetter(Path("nowhere"))

    def files(self, job):
        return {"letter": self.letter}


def read_a_letter(job):
    evaluation = Evaluation(job.genome.digest, job.rung, Status.OK, {"length": float(len(job.files["letter"]))})
    return Outcome(job, evaluation, Cost(wall_s=0.0, cpu_s=0.0))


def wait_for_a_sign(folder, job):
    (folder / f"{os.getpid()}.begun").touch()
    wait_until((folder / "go").exists)
    return describe_worker(folder, job)
