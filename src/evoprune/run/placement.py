"""From configuration to the place where candidates are evaluated."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch

from evoprune.errors import ConfigError
from evoprune.events import Caution, Listener
from evoprune.execution.base import Executor, JobFactory
from evoprune.execution.main_module import names_from_main, why_main_cannot_be_imported_again
from evoprune.execution.pool.device_slots import VISIBLE, cuda_names
from evoprune.execution.time_limit import check_timers
from evoprune.plugins import resolve
from evoprune.run.problem import ProblemSource
from evoprune.run.workplace import resolve_device

ELASTIC: Final = 1000
"""Workers asked of a cluster whose size is its own affair; more have to be asked for by number."""


@dataclass(frozen=True)
class Placement:
    """Where candidates are evaluated.

    Attributes:
        executor: Name of the executor; `auto`: Ray where there is an address, in-process for one worker, a process pool for more.
        workers: Candidates at once; `auto`: as many as there is room for.
        address: Address of a cluster.
        device: Name of the device that candidates run on, or `auto`.
        devices: Accelerators that workers are shared out among, or `auto`.
        gpus_per_candidate: Share of an accelerator; None: one where there are any.
        working_dir: Folder of the user's modules, for workers elsewhere.
        time_limit: Seconds a candidate may take; None: any number.
        threads: torch threads while a candidate is evaluated.
        whole_searches: Whether a job is a whole search.
    """

    executor: str
    workers: int | Literal["auto"]
    address: str | None
    device: str
    devices: tuple[int, ...] | Literal["auto"]
    gpus_per_candidate: float | None
    working_dir: Path | None
    time_limit: float | None
    threads: int
    whole_searches: bool

    def check(self) -> None:
        """Resolve the executor and see that it takes what is set for it.

        Raises:
            UsageError: It is unknown, not installed, or doesn't take what is set.
        """
        name = self._name(workers=1)
        kind = resolve("executors", name)
        takes = inspect.signature(kind).parameters
        self._check_devices(name, takes)
        if self.address is not None and "address" not in takes:
            raise ConfigError(
                f"execution.address is {self.address}, and executor {name} takes none", "use ray, or leave it out"
            )
        if hasattr(kind, "check_address"):
            kind.check_address(self.address)
        if name == "in-process" and self.executor == name and self.workers not in ("auto", 1):
            raise ConfigError(
                f"execution.workers is {self.workers}, and executor {name} evaluates one candidate at a time",
                "use process-pool, or leave one of them out",
            )
        if self.time_limit is not None:
            self._check_time_limit(name, takes)

    def settled(self, source: ProblemSource, notify: Listener) -> SettledPlacement:
        """The placement with its number of workers: one where processes couldn't have what `__main__` defines."""
        workers = self._resolved_workers()
        if self._name(workers) != "process-pool":
            return SettledPlacement(self, workers)
        names = names_from_main(source)
        why = why_main_cannot_be_imported_again() if names else ""
        if not why:
            return SettledPlacement(self, workers)
        notify(
            Caution(
                "execution",
                f"candidates are evaluated one at a time, without worker processes: __main__ defines {', '.join(names)}, "
                f"and {why}",
            )
        )
        return SettledPlacement(replace(self, executor="auto", workers=1, devices="auto"), 1)

    def worker_devices(self) -> tuple[str, ...]:
        """CUDA's names of the devices that worker processes are shared out among; none where all are to see what this one sees.

        Raises:
            ConfigError: `execution.devices` doesn't go with `execution.device`, or names a device that isn't there.
        """
        if self._is_on_cuda and ":" not in self.device:
            wanted = None if self.devices == "auto" else self.devices
            return cuda_names(wanted, torch.cuda.device_count(), os.environ.get(VISIBLE))
        if self.devices != "auto":
            raise ConfigError(
                f"execution.devices is {list(self.devices)}, but candidates run on {self.device}, "
                "which is not all of CUDA's devices",
                "set execution.device to cuda, or leave execution.devices out",
            )
        return ()

    def options(self) -> dict[str, Any]:
        """What an executor is given of the settings, where its constructor names it."""
        return {
            "address": self.address,
            "devices": self.worker_devices(),
            "gpus": float(self._is_on_cuda) if self.gpus_per_candidate is None else self.gpus_per_candidate,
            "working_dir": self.working_dir,
            "time_limit": self.time_limit,
        }

    def _name(self, workers: int) -> str:
        if self.executor != "auto":
            return self.executor
        if self.address is not None:
            return "ray"
        return "in-process" if workers == 1 and self.devices == "auto" else "process-pool"

    def _resolved_workers(self) -> int:
        """As asked, or all that a cluster takes, that the accelerators take, or one per core."""
        if self.executor == "in-process":
            return 1
        if self.workers != "auto":
            return self.workers
        if self.address is not None or self.executor == "ray":
            return ELASTIC
        device = resolve_device(self.device)
        if device.type != "cpu":
            return self._accelerator_slots(device)
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def _accelerator_slots(self, device: torch.device) -> int:
        """Candidates that the accelerators of this machine take at once: as many on each as their share of it allows."""
        if device.type != "cuda":
            return 1
        share = self.gpus_per_candidate
        on_each = max(1, int(1 / share + 1e-9)) if share else 1
        return on_each * max(1, len(self.worker_devices()))

    @property
    def _is_on_cuda(self) -> bool:
        return torch.cuda.is_available() if self.device == "auto" else self.device.startswith("cuda")

    def _check_devices(self, name: str, takes: Mapping[str, Any]) -> None:
        if self.devices != "auto":
            if "devices" not in takes:
                raise ConfigError(
                    f"execution.devices is {list(self.devices)}, and executor {name} takes none",
                    "use process-pool, or execution.device for a single one such as cuda:1",
                )
            self.worker_devices()
        share = self.gpus_per_candidate
        if share is not None and share > 1 and "gpus" not in takes:
            raise ConfigError(
                f"execution.gpus_per_candidate is {share:g}, and executor {name} gives a candidate one at most",
                "use ray",
            )

    def _check_time_limit(self, name: str, takes: Mapping[str, Any]) -> None:
        if "time_limit" not in takes:
            raise ConfigError(
                f"execution.candidate_time_limit is {self.time_limit:g} s, and executor {name} takes none",
                "use in-process or process-pool, or leave it out",
            )
        if name in ("in-process", "process-pool"):
            check_timers()
        in_process = self.executor == "in-process" or (name == "in-process" and self.workers == 1)
        if in_process and threading.current_thread() is not threading.main_thread():
            raise ConfigError(
                "execution.candidate_time_limit can interrupt candidates in this process only from its main thread",
                "set execution.executor to process-pool, or leave it out",
            )
        if self.whole_searches:
            raise ConfigError(
                "execution.candidate_time_limit is for single candidates, and masks.mode independent evaluates whole searches",
                "leave it out; run.stall_generations ends a search that gets no further",
            )


@dataclass(frozen=True)
class SettledPlacement:
    """A placement, and how many workers there are."""

    placement: Placement
    workers: int

    def build(self, factory: JobFactory, notify: Listener, *, apart: bool = False) -> Executor:
        """The executor by name.

        Like a recipe, an executor is given those of the settings that it names. With `apart`, one worker is a child of this
        process.
        """
        name = self.placement._name(self.workers)
        if apart and name == "in-process" and self.placement.executor == "auto":
            name = "forked"
        kind = resolve("executors", name)
        accepted = inspect.signature(kind).parameters
        options = {key: value for key, value in self.placement.options().items() if key in accepted}
        executor: Executor = kind(
            factory, workers=self.workers, threads=self.placement.threads, notify=notify, **options
        )
        return executor


def at_a_time(workers: int, what: str) -> str:
    """How many of `what` are done at once, in words."""
    return (
        f"{what} on a cluster, as many at a time as it has room for"
        if workers == ELASTIC
        else f"{workers} {what} at a time"
    )
