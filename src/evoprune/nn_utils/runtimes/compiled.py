"""PyTorch's compiler."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from evoprune.errors import MeasurementError
from evoprune.nn_utils.calling import Call
from evoprune.nn_utils.runtimes.base import Runner
from evoprune.nn_utils.runtimes.eager import EagerRuntime
from evoprune.nn_utils.runtimes.names import COMPILED


class CompiledRuntime:
    """Runs what `torch.compile` makes of a module, with its defaults, for the sizes of one call.

    Compiling takes seconds, and on CPUs a C++ compiler.
    """

    label = COMPILED
    in_blocks = False

    def device(self, wanted: torch.device) -> torch.device:
        """That device."""
        return wanted

    def runner(self, module: nn.Module, call: Call) -> Runner:
        """A function that calls the compiled module, and waits for the device.

        Raises:
            MeasurementError: The module can't be compiled.
        """
        import torch._inductor.config as inductor

        try:
            # Processes of its own that compile would outlive the measurement.
            with inductor.patch(compile_threads=1):
                made: Any = torch.compile(module, dynamic=False)
                run = EagerRuntime().runner(made, call)
                run()
        except Exception as error:  # of whatever kind, inside the compiler
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            raise MeasurementError(
                f"{type(module).__name__} can't be compiled: {type(error).__name__}: {reason:.200}"
            ) from error
        return run

    def idle(self) -> Runner | None:
        """None: every layer of a network pays for its call."""
        return None
