"""What runs in the workers of a Ray cluster, and the bytes that reach them.

Workers are actors rather than tasks: each builds its job function once, and a process that has used one GPU is never handed
another.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray import cloudpickle

from evoprune.errors import UsageError, WorkerLostError
from evoprune.execution.base import Job, JobFactory, JobFunction, Outcome
from evoprune.execution.time_limit import TimeOver, interrupted_after
from evoprune.nn_utils.threads import torch_threads
from evoprune.version import __version__


@dataclass(frozen=True)
class Payload:
    """Bytes in Ray's object store, which brings them to a node once, whoever asks there; `digest` is their SHA-256."""

    digest: str
    reference: Any

    @classmethod
    def of(cls, content: bytes) -> Payload:
        """A payload that is kept in the store for as long as it lives here."""
        return cls(hashlib.sha256(content).hexdigest(), ray.put(np.frombuffer(content, dtype=np.uint8)))

    def open(self) -> NDArray[np.uint8]:
        """The content: [n] uint8, the node's one copy, read-only; a WorkerLostError if it arrived damaged."""
        content: NDArray[np.uint8] = ray.get(self.reference)
        if hashlib.sha256(content.data).hexdigest() != self.digest:
            raise WorkerLostError("what was sent to a worker arrived damaged", "resume the run")
        return content


class Worker:
    """The actor's class: keeps the job function and the files of the last job.

    Args:
        threads: torch threads while it works.
        payload: The pickled factory of the job function.
        time_limit: Seconds a candidate may take; None: any number.
    """

    def __init__(self, threads: int, payload: Payload, time_limit: float | None) -> None:
        self._threads, self._payload, self._time_limit = threads, payload, time_limit
        self._function: JobFunction | None = None
        self._files: dict[str, bytes] = {}

    def hello(self) -> Mapping[str, Any]:
        """Where it is, and the versions there."""
        node = ray.get_runtime_context().get_node_id()
        return {"node": node, "host": socket.gethostname(), "pid": os.getpid(), "versions": versions()}

    def get_ready(self, files: Mapping[str, Payload]) -> None:
        """Have the job function and the contents of `files` at hand."""
        with torch_threads(self._threads):
            if self._function is None:
                factory: JobFactory = pickle.loads(self._payload.open().data)
                self._function = factory()
        known = self._files
        self._files = {one.digest: known.get(one.digest) or one.open().tobytes() for one in files.values()}

    def work(self, job: Job, files: Mapping[str, str]) -> Outcome | None:
        """The outcome of a job that reads files, given by their digests; None when it takes too long.

        It has to be ready for them. After a None it is of no more use.
        """
        assert self._function is not None
        at_hand = {name: self._files[digest] for name, digest in files.items()}
        try:
            with torch_threads(self._threads), interrupted_after(self._time_limit):
                return replace(self._function(replace(job, files=at_hand)), job=job)
        except TimeOver:
            return None


RemoteWorker: Any = ray.remote(Worker)
"""Makes workers where Ray has room for them."""


def versions() -> str:
    """What decides scores and has to be the same on all nodes; Ray compares Python and itself."""
    return f"evoprune {__version__}, torch {torch.__version__.partition('+')[0]}"


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
