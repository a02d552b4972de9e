"""Settings of where candidates are evaluated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from evoprune.config.fields import Duration, OneOrMore, PositiveInt, Section

WHERE: Final = ("executor", "workers", "address", "devices", "gpus_per_candidate", "working_dir", "isolation")
"""Those that can't change a result."""

_ADDRESS: Final = re.compile(r"auto|(?:ray://)?(?:[\w.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")


DeviceIndex = Annotated[int, Field(ge=0, lt=100)]


class ExecutionConfig(Section):
    """Where candidates are evaluated. Only the device, the threads, the layout and the time limit can change a result."""

    executor: str = Field(
        "auto",
        description="in-process, forked, process-pool, or ray, with an address or your own ray.init(); auto: ray with an address",
    )
    workers: PositiveInt | Literal["auto"] = Field(
        "auto",
        description="candidates evaluated at once; auto: the cores this process may use, what GPUs take, or all of a cluster",
    )
    address: str | None = Field(
        None, description="a Ray cluster to join: host:port, ray://host:port, or auto for the one on this machine"
    )
    devices: Literal["auto"] | Annotated[tuple[DeviceIndex, ...], Field(min_length=1), OneOrMore] = Field(
        "auto",
        description="GPUs that a process pool shares out where device is cuda: auto for all, or indices such as [0, 2]",
    )
    gpus_per_candidate: Annotated[float, Field(ge=0)] | None = Field(
        None, description="share of a GPU for a candidate: 0.25 puts four on one; ray gives whole ones, too; null: one"
    )
    working_dir: Path | None = Field(
        None, description="folder of your own modules, sent to a cluster; null: the current one where a run needs it"
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1, or auto: cuda where there is one")
    candidate_time_limit: Duration | None = Field(
        None, description="seconds, or 90s, 30m, 1h30m, after which a candidate is given up as failed; null: no limit"
    )
    candidate_threads: PositiveInt = Field(1, description="torch threads per candidate")
    training_threads: PositiveInt = Field(2, description="torch threads of baseline training and retraining")
    isolation: Literal["auto", "process", "none"] = Field(
        "auto",
        description="process: trainings run in a child process, whose crash is not the run's end; none: here; auto: in a child "
        "for networks with convolutions, on CPUs",
    )
    channels_last: bool | Literal["auto"] = Field(
        "auto",
        description="keep convolution weights in channels-last layout; auto: where it is safe and measured to be faster",
    )

    @field_validator("address")
    @classmethod
    def _known_address(cls, address: str | None) -> str | None:
        if address is not None and not _ADDRESS.fullmatch(address):
            raise ValueError("must be host:port, ray://host:port or auto")
        return address

    @field_validator("devices")
    @classmethod
    def _each_once(cls, devices: str | tuple[int, ...]) -> str | tuple[int, ...]:
        if len(set(devices)) < len(devices) and devices != "auto":
            raise ValueError("must name a device once")
        return devices

    @field_validator("gpus_per_candidate")
    @classmethod
    def _share_or_whole(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError("must be at most 1, or a whole number")
        return gpus

    @field_validator("working_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if device != "auto" and re.fullmatch(r"cpu|(cuda|mps|xpu)(:[0-9]{1,2})?", device) is None:
            raise ValueError("must be auto, cpu, cuda or cuda:N")
        return device
