"""How long a model takes, on the machine at hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import nn

from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.kept_memory import memory_kept
from evoprune.nn_utils.modes import eval_mode
from evoprune.nn_utils.samples import at_batch
from evoprune.objectives.base import Subject
from evoprune.objectives.batch_names import name_at
from evoprune.rng import isolated_rng

WARM_UP: Final = 5
FEW: Final = 7


class LatencyMs:
    """Median milliseconds of one forward pass, by the clock, on the run's device and with the candidates' threads.

    The same network takes a little longer or shorter the next time, and whatever else the machine does disturbs it. A run
    measures its finished networks so, and predicts its candidates from a table (`evoprune.channels.latency`).

    Args:
        batch: Samples in the pass, of the example inputs repeated; those inputs as they are when None.
    """

    maximize = False
    needs_training = False

    def __init__(self, batch: int | None = None) -> None:
        self.batch = batch

    @property
    def name(self) -> str:
        """`latency_ms`, with the batch if there is one."""
        return name_at(self.batch)

    def measure(self, subject: Subject) -> float:
        """The median of repeated passes after a warm-up.

        Raises:
            MeasurementError: The example inputs can't be repeated to the batch.
        """
        runner = self.runner(subject.model, subject.example_inputs, subject.device)
        with torch.inference_mode(), eval_mode(subject.model), isolated_rng(0):
            return measure_latency_ms({self.name: runner})[self.name]

    def runner(self, model: nn.Module, example_inputs: Any, device: torch.device) -> Callable[[], None]:
        """A function that runs `model` once at the batch, in the mode that it is in, and waits for the end.

        Raises:
            MeasurementError: The example inputs can't be repeated to the batch.
        """
        inputs = example_inputs if self.batch is None else at_batch(model, example_inputs, self.batch)
        return forward_pass(model, inputs, device)


def forward_pass(model: nn.Module, example_inputs: Any, device: torch.device) -> Callable[[], None]:
    """A function that runs `model` once, in the mode that it is in, and waits for the end."""
    return partial(_forward, model, example_inputs, device)


def _forward(model: nn.Module, example_inputs: Any, device: torch.device) -> None:
    call_model(model, example_inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_latency_ms(
    runners: Mapping[str, Callable[[], object]], *, repeats: int = 50, most_s: float = 10.0
) -> dict[str, float]:
    """Median milliseconds per call of each runner.

    The runners take turns, so that whatever else the machine does falls on all of them alike: the ratio of two medians of one
    call means more than either of them.

    Args:
        runners: `{name: function that runs one forward pass and waits for its end}`.
        repeats: Timed calls of each.
        most_s: Seconds after which a few calls of each have to do.
    """
    times: dict[str, list[float]] = {name: [] for name in runners}
    with memory_kept():
        for runner in runners.values():
            for _ in range(WARM_UP):
                runner()
        begun = time.perf_counter()
        for number in range(repeats):
            if number >= FEW and time.perf_counter() - begun > most_s:
                break
            for name, runner in runners.items():
                started = time.perf_counter()
                runner()
                times[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}
