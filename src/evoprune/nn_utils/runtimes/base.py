"""The seam of runtimes: functions that run a module once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn

from evoprune.nn_utils.calling import Call

Runner = Callable[[], object]
"""Makes one call, and waits for its end."""


class Runtime(Protocol):
    """Something that runs networks.

    What it makes takes the number of threads that torch has at that moment, and leaves the module as it was.

    Attributes:
        label: Its name, with its version where that is not torch's.
        in_blocks: Whether its kernels compute whole blocks of channels, so that latencies go in steps.
    """

    label: str
    in_blocks: bool

    def device(self, wanted: torch.device) -> torch.device:
        """Where it runs what belongs on a device."""
        ...

    def runner(self, module: nn.Module, call: Call) -> Runner:
        """A function that calls a module once.

        Args:
            module: The module in eval mode, on the runtime's device.
            call: Positional and keyword arguments.

        Raises:
            MeasurementError: The runtime can't run it.
        """
        ...

    def idle(self) -> Runner | None:
        """A function that does nothing but what every call takes besides; None where whole networks pay that layer by layer."""
        ...
