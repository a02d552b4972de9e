"""PyTorch as it is."""

from __future__ import annotations

import torch
from torch import nn

from evoprune.data.trees import tensors_in
from evoprune.nn_utils.calling import Call
from evoprune.nn_utils.runtimes.base import Runner
from evoprune.nn_utils.runtimes.names import EAGER


class EagerRuntime:
    """Calls the module."""

    label = EAGER
    in_blocks = False

    def device(self, wanted: torch.device) -> torch.device:
        """That device."""
        return wanted

    def runner(self, module: nn.Module, call: Call) -> Runner:
        """A function that calls the module, and waits for the device."""
        args, kwargs = call
        device = next((one.device for one in tensors_in((call, dict(module.named_parameters())))), torch.device("cpu"))

        def run() -> None:
            module(*args, **kwargs)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return run

    def idle(self) -> Runner | None:
        """None: every layer of a network pays for its call."""
        return None
