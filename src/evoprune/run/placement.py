"""From configuration to the place where candidates are evaluated."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from evoprune.errors import ConfigError
from evoprune.events import Listener
from evoprune.execution.base import Executor, JobFactory
from evoprune.execution.places import VISIBLE, cuda_names
from evoprune.plugins import resolve
from evoprune.run.config import Config
from evoprune.run.presets import is_mask_run

ELASTIC: Final = 1000
"""Workers asked of a cluster whose size is its own affair; more have to be asked for by number."""


def check_executor(config: Config) -> None:
    """Resolve the executor and see that it takes what is set for it.

    Raises:
        UsageError: It is unknown, not installed, or doesn't take what is set.
    """
    execution = config.execution
    name = _name(config, workers=1)
    takes = inspect.signature(resolve("executors", name)).parameters
    _check_devices(config, name, takes)
    if execution.address is not None and "address" not in takes:
        raise ConfigError(
            f"execution.address is {execution.address}, and executor {name} takes none", "use ray, or leave it out"
        )
    if execution.candidate_time_limit is None:
        return
    if "time_limit" not in takes:
        raise ConfigError(
            f"execution.candidate_time_limit is {execution.candidate_time_limit:g} s, and executor {name} takes none",
            "use in-process or process-pool, or leave it out",
        )
    in_process = execution.executor == "in-process" or (name == "in-process" and execution.workers == 1)
    if in_process and threading.current_thread() is not threading.main_thread():
        raise ConfigError(
            "execution.candidate_time_limit can interrupt candidates in this process only from its main thread",
            "set execution.executor to process-pool, or leave it out",
        )
    if is_mask_run(config) and config.masks.mode == "independent":
        raise ConfigError(
            "execution.candidate_time_limit is for single candidates, and masks.mode independent evaluates whole searches",
            "leave it out; run.stall_generations ends a search that gets no further",
        )


def at_a_time(workers: int, what: str) -> str:
    """How many of `what` are done at once, in words."""
    return (
        f"{what} on a cluster, as many at a time as it has room for"
        if workers == ELASTIC
        else f"{workers} {what} at a time"
    )


def build_executor(config: Config, factory: JobFactory, workers: int, notify: Listener) -> Executor:
    """The executor by name: `auto` is Ray where there is an address, in-process for one worker, and a process pool for more.

    Like a recipe, an executor is given those of the settings that it names.
    """
    kind = resolve("executors", _name(config, workers))
    accepted = inspect.signature(kind).parameters
    elsewhere: dict[str, Any] = {
        "address": config.execution.address,
        "devices": worker_devices(config),
        "gpus": _gpus_per_candidate(config),
        "working_dir": _working_dir(config),
        "time_limit": config.execution.candidate_time_limit,
    }
    executor: Executor = kind(
        factory,
        workers=workers,
        threads=config.execution.candidate_threads,
        notify=notify,
        **{name: value for name, value in elsewhere.items() if name in accepted},
    )
    return executor


def _name(config: Config, workers: int) -> str:
    execution = config.execution
    if execution.executor != "auto":
        return execution.executor
    if execution.address is not None:
        return "ray"
    return "in-process" if workers == 1 and execution.devices == "auto" else "process-pool"


def worker_devices(config: Config) -> tuple[str, ...]:
    """CUDA's names of the devices that worker processes are shared out among; none where all are to see what this one sees.

    Raises:
        ConfigError: `execution.devices` doesn't go with `execution.device`, or names a device that isn't there.
    """
    execution = config.execution
    if _is_on_cuda(config) and ":" not in execution.device:
        wanted = None if execution.devices == "auto" else execution.devices
        return cuda_names(wanted, torch.cuda.device_count(), os.environ.get(VISIBLE))
    if execution.devices != "auto":
        raise ConfigError(
            f"execution.devices is {list(execution.devices)}, but candidates run on {execution.device}, "
            "which is not all of CUDA's devices",
            "set execution.device to cuda, or leave execution.devices out",
        )
    return ()


def accelerator_slots(config: Config, device: torch.device) -> int:
    """Candidates that the accelerators of this machine take at once: as many on each as their share of it allows."""
    if device.type != "cuda":
        return 1
    share = config.execution.gpus_per_candidate
    on_each = max(1, int(1 / share + 1e-9)) if share else 1
    return on_each * max(1, len(worker_devices(config)))


def _check_devices(config: Config, name: str, takes: Mapping[str, Any]) -> None:
    execution = config.execution
    if execution.devices != "auto":
        if "devices" not in takes:
            raise ConfigError(
                f"execution.devices is {list(execution.devices)}, and executor {name} takes none",
                "use process-pool, or execution.device for a single one such as cuda:1",
            )
        worker_devices(config)
    share = execution.gpus_per_candidate
    if share is not None and share > 1 and "gpus" not in takes:
        raise ConfigError(
            f"execution.gpus_per_candidate is {share:g}, and executor {name} gives a candidate one at most", "use ray"
        )


def _gpus_per_candidate(config: Config) -> float:
    execution = config.execution
    if execution.gpus_per_candidate is not None:
        return execution.gpus_per_candidate
    return float(_is_on_cuda(config))


def _is_on_cuda(config: Config) -> bool:
    device = config.execution.device
    return torch.cuda.is_available() if device == "auto" else device.startswith("cuda")


def _working_dir(config: Config) -> Path | None:
    """What a run in a folder of the user's own code needs of it; built-in names need nothing."""
    if config.execution.working_dir is not None:
        return config.execution.working_dir
    named = [config.recipe or ":", config.search.algorithm, config.search.encoding, *config.search.objectives]
    return Path.cwd() if any(":" in name for name in named) else None
