"""All that evoprune knows about Ray: a connection, bytes that every node gets once, and workers that may be gone.

Workers are actors rather than tasks: each builds its job function once, and a process that has used one GPU is never handed
another.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray import cloudpickle
from ray._private import ray_constants
from ray._private import worker as ray_worker
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

import evoprune
from evoprune.errors import UsageError, WorkerLostError
from evoprune.execution.base import Job, JobFactory, JobFunction, Outcome
from evoprune.execution.environment import kept_environment, kept_sigterm_handler
from evoprune.execution.reachable import check_reachable
from evoprune.execution.threads import thread_environment, torch_threads

_STORE_BYTES: Final = 256 * 2**20
_NOT_SENT: Final = (".git", ".venv", "venv", "runs", "__pycache__", "node_modules")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_RAY_PRINTS: Final = ray_worker.print_to_stdstream
_QUIET: Final = {"logging_level": logging.ERROR, "log_to_driver": False}


_logger = logging.getLogger(__name__)


class WorkerGone(Exception):  # noqa: N818 - not an error to be shown, but an answer to be dealt with
    """A worker, its node or its answer is lost.

    Args:
        what: What happened.
        unreachable: Whether it may be the node that is gone rather than the worker.
    """

    def __init__(self, what: str, *, unreachable: bool = False) -> None:
        super().__init__(what)
        self.unreachable = unreachable


@dataclass(frozen=True)
class Parcel:
    """Bytes in Ray's object store, which brings them to a node once, whoever asks there; `digest` is their SHA-256."""

    digest: str
    reference: Any

    def open(self) -> NDArray[np.uint8]:
        """The content: [n] uint8, the node's one copy, read-only; a WorkerLostError if it arrived damaged."""
        content: NDArray[np.uint8] = ray.get(self.reference)
        if hashlib.sha256(content.data).hexdigest() != self.digest:
            raise WorkerLostError("what was sent to a worker arrived damaged", "resume the run")
        return content


@dataclass(frozen=True)
class Member:
    """A worker that has said hello.

    Attributes:
        actor: Ray's handle.
        node: Id of its node.
        host: Name of the machine.
        pid: Process id there.
        versions: Of what decides scores.
    """

    actor: Any
    node: str
    host: str
    pid: int
    versions: str


class RayCluster:
    """A connection to a cluster, or to an instance that it starts and that only this machine can reach.

    Args:
        address: As for `RayExecutor`.
        workers: For how many an instance that is started has CPUs.
        threads: CPUs of a worker.
        gpus: GPUs of a worker.
        working_dir: Folder of the user's modules, sent when a cluster is joined.
        content_bytes: What an instance that is started must be able to hold.

    Attributes:
        far: Whether workers may be on other machines.
        demand: What a worker needs, in words.

    Raises:
        UsageError: There is no cluster at the address, or it can't be joined.
    """

    def __init__(
        self, address: str | None, workers: int, threads: int, gpus: float, working_dir: Path | None, content_bytes: int
    ) -> None:
        self.far = self.is_far(address)
        self.demand = f"a worker of {threads} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        self._threads, self._gpus = threads, gpus
        self._ours = not ray.is_initialized()
        if not self._ours:
            return
        ray_worker.print_to_stdstream = _log_what_ray_prints
        if address is None:
            _start(workers * threads, gpus > 0, _STORE_BYTES + 2 * content_bytes)
        else:
            _join(address, working_dir)

    @staticmethod
    def is_far(address: str | None) -> bool:
        """Whether workers may be on other machines, which don't see the disks of this one."""
        return address is not None or ray.is_initialized()

    def put(self, content: bytes) -> Parcel:
        """Keep bytes in the object store for as long as the parcel lives."""
        return Parcel(hashlib.sha256(content).hexdigest(), ray.put(np.frombuffer(content, dtype=np.uint8)))

    def hire(self, parcel: Parcel) -> tuple[Any, Any]:
        """Ask for a worker that builds its job function from `parcel`: its handle, and what its hello will come by."""
        actor = _RemoteWorker.options(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": dict(thread_environment(self._threads))},
        ).remote(self._threads, parcel)
        return actor, actor.hello.remote()

    def give(self, member: Member, job: Job, files: Mapping[str, Parcel]) -> Any:
        """Start a job: what its outcome will come by."""
        return member.actor.work.remote(job, files)

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

    def close(self, actors: Sequence[Any]) -> None:
        """End these workers, then the connection if it is ours, and with it an instance that was started."""
        if ray.is_initialized():
            for actor in actors:
                self.end(actor)
            if self._ours:
                with kept_sigterm_handler():
                    ray.shutdown()
                ray_worker.print_to_stdstream = _RAY_PRINTS


class _Worker:
    """The actor: builds the job function at its first job, and keeps the files of the last one."""

    def __init__(self, threads: int, parcel: Parcel) -> None:
        self._threads, self._parcel = threads, parcel
        self._function: JobFunction | None = None
        self._files: dict[str, bytes] = {}

    def hello(self) -> Mapping[str, Any]:
        node = ray.get_runtime_context().get_node_id()
        return {"node": node, "host": socket.gethostname(), "pid": os.getpid(), "versions": versions()}

    def work(self, job: Job, files: Mapping[str, Parcel]) -> Outcome:
        with torch_threads(self._threads):
            if self._function is None:
                factory: JobFactory = pickle.loads(self._parcel.open().data)
                self._function = factory()
            known = self._files
            self._files = {one.digest: known.get(one.digest) or one.open().tobytes() for one in files.values()}
            at_hand = {name: self._files[one.digest] for name, one in files.items()}
            return replace(self._function(replace(job, files=at_hand)), job=job)


_RemoteWorker: Any = ray.remote(_Worker)


def versions() -> str:
    """What decides scores and has to be the same on all nodes; Ray compares Python and itself."""
    return f"evoprune {evoprune.__version__}, torch {torch.__version__.partition('+')[0]}"


def pickled(factory: JobFactory) -> bytes:
    """`factory` by Ray's own serialiser, which takes functions and classes of a script along.

    Raises:
        UsageError: Something in it can't travel.
    """
    try:
        content: bytes = cloudpickle.dumps(factory)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"the model or task can't be sent to worker processes: {error}",
            "open files, locks and generators can't travel: make them where they are used, or use one worker",
        ) from error
    return content


def _in_short(error: RayError) -> str:
    """The line of Ray's message that says what happened, without its guesses why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].partition(" Some common causes")[0] if lines else type(error).__name__


def _log_what_ray_prints(data: Mapping[str, Any], **_: Any) -> None:
    """Keep a dead worker's obituary out of the terminal: Ray 2.60 prints it whatever `log_to_driver` is."""
    _logger.info("Ray: %s", " ".join(map(str, data["lines"])))


def _start(cpus: int, with_gpus: bool, store_bytes: int) -> None:
    with kept_sigterm_handler(), kept_environment(), _loopback_allowed():
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        ray.init(
            "local",  # whatever RAY_ADDRESS says
            num_cpus=cpus,
            num_gpus=None if with_gpus else 0,
            include_dashboard=False,
            object_store_memory=store_bytes,
            _node_ip_address=_LOOPBACK[0],
            **_QUIET,
        )


def _join(address: str, working_dir: Path | None) -> None:
    check_reachable(address)
    code: dict[str, Any] = {"py_modules": [str(Path(evoprune.__file__).parent)]}
    if working_dir is not None:
        code |= {"working_dir": str(working_dir), "excludes": list(_NOT_SENT)}
    try:
        with kept_sigterm_handler(), kept_environment(), _loopback_allowed(address.rpartition(":")[0] in _LOOPBACK):
            ray.init(address, runtime_env=code, **_QUIET)
    except (RayError, OSError, RuntimeError, ValueError, SystemExit) as error:
        # Ray's own handler of SIGTERM makes a SystemExit of a time-out inside it.
        raise UsageError(
            f"can't join the Ray cluster at {address}: {error}",
            "both sides need the same versions of Ray and Python, RAY_AUTH_MODE and token",
        ) from error


@contextmanager
def _loopback_allowed(wanted: bool = True) -> Iterator[None]:
    """Let Ray take 127.0.0.1 for what it is: on Linux it replaces it by an address that others can reach, and listens there.

    Ray 2.60 has no argument for it, but this constant, by which it stays on the loopback on Windows and macOS.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and not wanted
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
