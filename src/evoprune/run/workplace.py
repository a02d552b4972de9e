"""Where the networks of a run are: device, threads, memory layout, and whether trainings have a process of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import nn

from evoprune.errors import ConfigError
from evoprune.execution.apart import can_work_apart, has_convolutions
from evoprune.nn_utils.layouts import arranged

SCORING_BATCH: Final = 256
"""Samples per scoring pass. Larger batches fall out of a core's cache: 500 took 1.5 times as long per sample as 250."""
_SHAPES: Final = 8


@dataclass(frozen=True)
class Workplace:
    """The place where the networks of a run are trained and scored.

    Attributes:
        device: Device of networks and batches.
        training_threads: torch threads of long trainings.
        candidate_threads: torch threads while a candidate is scored.
        channels_last: Whether convolutions are channels last; `auto` until that is settled.
        isolation: Whether trainings are done in a child process: `auto` where they may crash, `process` or `none`.
    """

    device: torch.device
    training_threads: int
    candidate_threads: int
    channels_last: bool | Literal["auto"]
    isolation: Literal["auto", "process", "none"]

    @property
    def layout(self) -> str:
        """The memory layout in words."""
        return "channels last" if self.channels_last is True else "plain layout"

    def laid_out(self, *, channels_last: bool) -> Workplace:
        """The same place with the layout settled."""
        return replace(self, channels_last=channels_last)

    def place(self, model: nn.Module) -> nn.Module:
        """Move a network that is ours to the device and into the layout, in place."""
        return arranged(model.to(self.device), channels_last=self.channels_last is True)

    def works_apart(self, model: nn.Module) -> bool:
        """Whether trainings of `model` are done in a child process.

        With `auto` that is where there are convolutions, and on a CPU: no other layers were seen to crash, and what a parent has
        on a GPU is not its child's.
        """
        if self.isolation == "none" or self.device.type != "cpu":
            return False
        return (self.isolation == "process" or has_convolutions(model)) and can_work_apart()


def resolve_device(name: str, *, setting: str = "execution.device") -> torch.device:
    """The device that a setting stands for.

    Raises:
        ConfigError: It is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"{setting} is {name!r}, which is no device", "use auto, cpu or cuda") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"{setting} is {name}, but torch sees {torch.cuda.device_count()} CUDA devices", "use auto or cpu"
        )
    if device.type not in ("cpu", "cuda") and not getattr(torch, device.type).is_available():
        raise ConfigError(f"{setting} is {name}, but torch sees no such device", "use auto or cpu")
    return device


def convolutions_in(model: nn.Module) -> str:
    """Shapes of the first few convolutions' weights, in words."""
    shapes = [
        f"{name} {'x'.join(map(str, module.weight.shape))}"
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.conv._ConvNd)
    ]
    more = f" and {len(shapes) - _SHAPES} more" if len(shapes) > _SHAPES else ""
    return ", ".join(shapes[:_SHAPES]) + more
