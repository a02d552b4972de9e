"""A Ray cluster as the executor sees it: it has room for workers, which may be lost."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from evoprune.execution.base import Job
from evoprune.execution.ray import connection as ray_connection
from evoprune.execution.ray.worker import Payload, RemoteWorker
from evoprune.nn_utils.threads import thread_environment

_GOODBYE_S: Final = 10.0


class WorkerGone(Exception):  # noqa: N818 - not an error to be shown, but an answer to be dealt with
    """A worker, its node or its answer is lost.

    Args:
        what: Says what happened.
        unreachable: Whether it may be the node that is gone rather than the worker.
    """

    def __init__(self, what: str, *, unreachable: bool = False) -> None:
        super().__init__(what)
        self.unreachable = unreachable


@dataclass(frozen=True)
class Member:
    """A worker that has said hello.

    Attributes:
        actor: Ray's handle.
        node: Id of its node.
        host: Name of the machine.
        pid: Process id there.
        versions: Versions of the packages that decide scores.
    """

    actor: Any
    node: str
    host: str
    pid: int
    versions: str


class RayCluster:
    """A connection to a cluster; one that the process has already is used as it is, and stays open.

    Args:
        address: Address of a cluster, as for `RayExecutor`.
        threads: CPUs of a worker.
        gpus: GPUs of a worker.
        working_dir: Folder of the user's modules, sent when a cluster is joined.

    Attributes:
        demand: Resources that a worker needs, in words.

    Raises:
        UsageError: There is no cluster at the address, or it can't be joined; or there is neither address nor connection.
    """

    def __init__(self, address: str | None, threads: int, gpus: float, working_dir: Path | None) -> None:
        ray_connection.check_address(address)
        self.demand = f"a worker of {threads} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        self._threads, self._gpus = threads, gpus
        self._ours = not ray.is_initialized()
        if self._ours and address is not None:
            ray_connection.join(address, working_dir)

    def hire(self, payload: Payload, time_limit: float | None) -> tuple[Any, Any]:
        """Ask for a worker that builds its job function from `payload`: its handle, and what its hello will come by."""
        actor = RemoteWorker.options(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": dict(thread_environment(self._threads))},
        ).remote(self._threads, payload, time_limit)
        return actor, actor.hello.remote()

    def prepare(self, member: Member, files: Mapping[str, Payload]) -> Any:
        """Have a worker build its job function and fetch `files`: what its word that it is ready will come by."""
        return member.actor.get_ready.remote(files)

    def give(self, member: Member, job: Job, files: Mapping[str, Payload]) -> Any:
        """Start a job on a worker that is ready for it: what its outcome will come by, or None when it takes too long."""
        return member.actor.work.remote(job, {name: payload.digest for name, payload in files.items()})

    def first_of(self, references: Sequence[Any], timeout_s: float) -> list[Any]:
        """One of `references` that is there, or none when the time is over."""
        done: list[Any] = ray.wait(list(references), num_returns=1, timeout=timeout_s)[0]
        return done

    def result(self, reference: Any) -> Any:
        """What a worker returned, or raised.

        Raises:
            WorkerGone: It did neither.
        """
        try:
            return ray.get(reference)
        except RayTaskError as error:
            cause = getattr(error, "cause", None)
            raise (cause if isinstance(cause, Exception) else error) from None
        except RayError as error:
            raise WorkerGone(_in_short(error), unreachable=isinstance(error, ActorUnavailableError)) from error

    def is_up(self, node: str) -> bool:
        """Whether the node with this id is alive."""
        return any(one["Alive"] and one["NodeID"] == node for one in ray.nodes())

    def room(self) -> int:
        """Workers that fit on the nodes that are up, whoever else may be using them."""
        return sum(self._fitting(node["Resources"]) for node in ray.nodes() if node["Alive"])

    def _fitting(self, resources: Mapping[str, float]) -> int:
        by_cpu = int(resources.get("CPU", 0) // self._threads)
        return min(by_cpu, int(resources.get("GPU", 0) / self._gpus + 1e-9)) if self._gpus else by_cpu

    def end(self, actor: Any) -> None:
        """End a worker at once, if it is still there."""
        with contextlib.suppress(RayError, ValueError):
            ray.kill(actor, no_restart=True)

    def close(self, members: Sequence[Member], starting: Sequence[Any]) -> None:
        """End these workers, then the connection if it is ours."""
        if not ray.is_initialized():
            return
        for actor in (*(member.actor for member in members), *starting):
            self.end(actor)
        if self._ours:
            ray_connection.leave()
        _wait_for_end([member.pid for member in members if member.host == socket.gethostname()])


def _wait_for_end(pids: Sequence[int]) -> None:
    """Wait until the processes are gone: Ray only asks the system to end them."""
    deadline = time.monotonic() + _GOODBYE_S
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.02)


def _in_short(error: RayError) -> str:
    """The line of Ray's message that says what happened, without its guesses why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].partition(" Some common causes")[0] if lines else type(error).__name__
