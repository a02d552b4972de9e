"""`make test-ray` runs these: they start Ray's processes, a few seconds for each instance."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from evoprune.errors import UsageError, WorkerLostError
from evoprune.events import Decision, ignore
from evoprune.execution.base import Outcome
from evoprune.results import Cost, Evaluation, Status
from evoprune.testing.executor_jobs import PATIENCE_S, Deaths, Jobs, describe_worker, job, outcomes
from evoprune.testing.executor_suite import ProcessExecutorSuite
from tests.execution.processes import is_alive, listened_at, on_loopback, wait_until

ray = pytest.importorskip("ray")
from ray._private import ray_constants  # noqa: E402 - there is nothing to import without the extra
from ray.cluster_utils import Cluster  # noqa: E402

from evoprune.execution import ray_executor, ray_worker  # noqa: E402
from evoprune.execution.ray_executor import RayExecutor  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("in_time", "rays_random")]
ASK = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_keys(b"", namespace=b"session", timeout=5)
"""


class TestRayExecutor(ProcessExecutorSuite):
    @pytest.fixture
    def make_executor(self):
        return RayExecutor

    @pytest.mark.skipif(not Path("/proc/net/tcp6").exists(), reason="reads Linux's list of sockets")
    def test_instance_listens_to_this_machine_alone(self, opened):
        before = listened_at()
        outcomes(opened(describe_worker), 1)
        assert listened_at() - before
        assert [one for one in listened_at() - before if not on_loopback(one)] == []

    @pytest.mark.parametrize(
        "token", [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 64 * "0"}], ids=["none", "wrong"]
    )
    def test_instance_answers_nobody_without_its_token(self, opened, token):
        opened(describe_worker)
        asked = subprocess.run(
            [sys.executable, "-c", ASK, ray.get_runtime_context().gcs_address],
            check=False, capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, **token},
        )  # fmt: skip
        assert asked.returncode != 0
        assert "token" in asked.stderr

    def test_cluster_without_tokens_is_joined_when_there_was_an_instance_with_one(self, opened, joined, node, tmp_path):
        with closing(opened(describe_worker)) as executor:
            outcomes(executor, 1)
        assert len(outcomes(joined(Jobs(describe_worker, tmp_path)), 2)) == 2

    def test_nothing_is_left_in_the_folder_for_temporary_files(self, opened, monkeypatch):
        with tempfile.TemporaryDirectory(prefix="r") as folder:
            monkeypatch.setenv("RAY_TMPDIR", folder)
            with closing(opened(describe_worker)) as executor:
                outcomes(executor, 1)
                (own,) = Path(folder).iterdir()
                assert stat.S_IMODE(own.stat().st_mode) == stat.S_IRWXU
            assert list(Path(folder).iterdir()) == []

    def test_handler_of_sigterm_is_ours_while_ray_runs(self, opened):
        before = signal.getsignal(signal.SIGTERM)
        opened(describe_worker)
        assert signal.getsignal(signal.SIGTERM) is before

    def test_factory_that_cannot_travel_is_refused_with_a_way_out(self, tmp_path):
        with (tmp_path / "open").open("w") as stream, pytest.raises(UsageError, match="can't be sent") as caught:
            RayExecutor(partial(print, stream), workers=1, threads=1, notify=ignore)
        assert "locks" in caught.value.hint
        assert not ray.is_initialized()

    def test_worker_with_other_versions_is_refused(self, opened, monkeypatch):
        monkeypatch.setattr(ray_executor, "versions", lambda: "another torch")
        with pytest.raises(UsageError, match="here is another torch: their scores could differ"):
            opened(describe_worker)
        assert not ray.is_initialized()

    def test_submit_after_close_is_refused(self, opened):
        executor = opened(describe_worker)
        executor.close()
        with pytest.raises(WorkerLostError, match="the executor is closed"):
            executor.submit(job(0))


@pytest.fixture(scope="module")
def cluster():
    """A node without room for a worker, on the loopback alone; tests add others."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder,
    ):
        patch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
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


def test_files_travel_with_jobs_when_the_cluster_is_not_ours(joined, node, tmp_path):
    letter = tmp_path / "letter"
    letter.write_bytes(b"x" * 12_345)
    executor = joined(ReadsALetter(letter))
    received = outcomes(executor, 2)
    assert [received[index].evaluation.objectives["length"] for index in range(2)] == [12_345] * 2
    assert received[0].job.files == {}


def test_parcel_is_refused_when_it_is_not_what_was_sent(joined, node, tmp_path):
    joined(Jobs(describe_worker, tmp_path))
    with pytest.raises(WorkerLostError, match="arrived damaged"):
        ray_worker.Parcel("0" * 64, ray.put(np.zeros(3, dtype=np.uint8))).open()


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
