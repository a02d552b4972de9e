"""How long a model takes, on the machine at hand."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final

import torch
from torch import nn

from evoprune.nn_utils.calling import arguments_of
from evoprune.nn_utils.kept_memory import memory_kept
from evoprune.nn_utils.modes import eval_mode
from evoprune.nn_utils.runtimes.base import Runner
from evoprune.nn_utils.runtimes.choice import runtime_of
from evoprune.nn_utils.runtimes.names import EAGER
from evoprune.nn_utils.samples import at_batch
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.base import Subject
from evoprune.objectives.latency_names import LatencyHow
from evoprune.rng import isolated_rng

WARM_UP: Final = 5
FEW: Final = 7


class LatencyMs:
    """Median milliseconds of one forward pass, by the clock, on the run's device.

    The same network takes a little longer or shorter the next time, and whatever else the machine does disturbs it. A run
    measures its finished networks so, and predicts its candidates from a table (`evoprune.channels.latency`).

    Args:
        batch: Samples in the pass, of the example inputs repeated; those inputs as they are when None.
        threads: Number of threads; as many as torch has when None.
        runtime: What runs the network; other runtimes than PyTorch run it on a device of their own.
    """

    maximize = False
    needs_training = False

    def __init__(self, batch: int | None = None, threads: int | None = None, runtime: str = EAGER) -> None:
        self.how = LatencyHow(batch, threads, runtime)

    @property
    def name(self) -> str:
        """`latency_ms`, with how it is measured behind an `@`."""
        return self.how.name

    def measure(self, subject: Subject) -> float:
        """The median of repeated passes after a warm-up.

        Raises:
            MeasurementError: The example inputs can't be repeated to the batch, or the runtime can't run the network.
            MissingDependencyError: The runtime is not installed.
        """
        return self.measure_by_turns({self.name: subject.model}, subject.example_inputs)[self.name]

    def measure_by_turns(self, models: Mapping[str, nn.Module], example_inputs: Any) -> dict[str, float]:
        """Median milliseconds of each model, by its name.

        Args:
            models: Networks on the device of the inputs.
            example_inputs: Inputs of one forward pass.

        Raises:
            MeasurementError: The inputs can't be repeated to the batch, or the runtime can't run a network.
            MissingDependencyError: The runtime is not installed.
        """
        with ExitStack() as stack:
            for model in models.values():
                stack.enter_context(eval_mode(model))
            stack.enter_context(torch_threads(self.how.threads or torch.get_num_threads()))
            stack.enter_context(torch.inference_mode())
            stack.enter_context(isolated_rng(0))
            runners = {name: self._runner(model, example_inputs) for name, model in models.items()}
            return measure_latency_ms(runners)

    def _runner(self, model: nn.Module, example_inputs: Any) -> Runner:
        inputs = example_inputs if self.how.batch is None else at_batch(model, example_inputs, self.how.batch)
        return forward_pass(model, inputs, self.how.runtime)


def forward_pass(model: nn.Module, inputs: Any, runtime: str = EAGER) -> Runner:
    """A function that runs `model` once, in eval mode, and waits for the end.

    Args:
        model: Any network in eval mode.
        inputs: Inputs of one forward pass, on its device.
        runtime: What runs it.

    Raises:
        MeasurementError: The runtime can't run the network.
        MissingDependencyError: The runtime is not installed.
    """
    return runtime_of(runtime).runner(model, arguments_of(model, inputs))


def measure_latency_ms(
    runners: Mapping[str, Callable[[], object]], *, repeats: int = 50, most_s: float = 10.0
) -> dict[str, float]:
    """Median milliseconds per call of each runner; see `time_by_turns`."""
    times = time_by_turns(runners, repeats=repeats, most_s=most_s)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


def time_by_turns(
    runners: Mapping[str, Callable[[], object]], *, repeats: int = 50, most_s: float = 10.0, warm_up_s: float = math.inf
) -> dict[str, list[float]]:
    """Seconds of each call of each runner.

    The runners take turns, so that whatever else the machine does falls on all of them alike: the ratio of two medians of one
    call means more than either of them.

    Args:
        runners: `{name: function that runs one forward pass and waits for its end}`.
        repeats: Timed calls of each.
        most_s: Seconds after which a few calls of each have to do.
        warm_up_s: Seconds after which one call of each or a few have to do to warm up.
    """
    times: dict[str, list[float]] = {name: [] for name in runners}
    with memory_kept():
        begun = time.perf_counter()
        for number in range(WARM_UP):
            if number and time.perf_counter() - begun > warm_up_s:
                break
            for runner in runners.values():
                runner()
        begun = time.perf_counter()
        for number in range(repeats):
            if number >= FEW and time.perf_counter() - begun > most_s:
                break
            for name, runner in runners.items():
                started = time.perf_counter()
                runner()
                times[name].append(time.perf_counter() - started)
    return times
