"""How long finished networks take: at batch 1 and at one for throughput, in each runtime that there is, by turns."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import torch
from torch import nn

from evoprune.channels.latency.measure import processor_of
from evoprune.errors import MeasurementError, MissingDependencyError
from evoprune.nn_utils.modes import eval_mode
from evoprune.nn_utils.runtimes.choice import runtime_of
from evoprune.nn_utils.runtimes.names import COMPILED, EAGER, ONNXRUNTIME
from evoprune.nn_utils.samples import at_batch, samples_in
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.compute import count
from evoprune.objectives.latency import forward_pass, time_by_turns
from evoprune.rng import isolated_rng
from evoprune.run.timing.causes import SlowPass, causes
from evoprune.store.timings import PassTimes, TimedPass, Timings

BASELINE: Final = "baseline"
PRUNED: Final = "pruned"

LONGEST_S: Final = 0.5
"""A pass of the throughput batch that would take longer is timed at a smaller batch."""
PASSES: Final = 100
ROW_S: Final = 0.4
"""Seconds of timing for a row, after which a few passes have to do."""
EXAMPLE_S: Final = 2.0
"""The same for the example inputs, by which predictions are judged."""
FEWER_MACS: Final = 0.9
"""Share of the dense network's multiply-accumulates below which time is expected to fall."""
SAME_TIME: Final = 0.95
"""Share of the dense network's time above which it has not."""


@dataclass(frozen=True)
class TimingPlan:
    """What is timed.

    Attributes:
        batch: Samples of the pass that shows throughput.
        compiled: Whether networks are compiled as well.
        onnxruntime: Whether they run in ONNX Runtime as well, where that is installed and the run's device is the CPU.
    """

    batch: int = 64
    compiled: bool = False
    onnxruntime: bool = True


@dataclass
class ModelTiming:
    """Times a run's finished networks.

    Attributes:
        models: `baseline` and `pruned`, and others by name, on the device.
        example_inputs: Inputs of one forward pass, on the device.
        device: Device of all that.
        threads: Number of torch threads.
        plan: What is timed.
    """

    models: Mapping[str, nn.Module]
    example_inputs: Any
    device: torch.device
    threads: int
    plan: TimingPlan
    _left_out: dict[str, str] = field(default_factory=dict)

    def measured(self) -> tuple[Timings, dict[str, float]]:
        """What was timed of `baseline` and `pruned`, and the median milliseconds of all models on the example inputs."""
        with ExitStack() as stack:
            for model in self.models.values():
                stack.enter_context(eval_mode(model))
            stack.enter_context(torch_threads(self.threads))
            stack.enter_context(torch.inference_mode())
            stack.enter_context(isolated_rng(0))
            return self._measured()

    def _measured(self) -> tuple[Timings, dict[str, float]]:
        samples = samples_in(self.models[BASELINE], self.example_inputs)
        example = self._times(self.example_inputs, EAGER, self.models, EXAMPLE_S)
        of_example = {name: times.median_ms for name, times in example.items()}
        rows = [] if samples == 1 else self._rows(1, EAGER)
        if samples == 1 or not rows:
            rows = [self._row(samples, EAGER, example)]
        batches = [rows[0].batch]
        larger = self._throughput_batch(rows[0])
        if larger > batches[0]:
            found = self._rows(larger, EAGER)
            batches += [row.batch for row in found]
            rows += found
        for runtime in self._others():
            rows += [row for batch in batches if runtime not in self._left_out for row in self._rows(batch, runtime)]
        told = Timings(processor_of(self.device), self.device.type, self.threads, tuple(rows), self._left_out)
        return told, of_example

    def _others(self) -> list[str]:
        """Runtimes besides eager PyTorch that are there."""
        wanted = [COMPILED] if self.plan.compiled else []
        if self.plan.onnxruntime and self.device.type == "cpu":
            wanted.append(ONNXRUNTIME)
        found = []
        for name in wanted:
            try:
                runtime_of(name)
                found.append(name)
            except MissingDependencyError as error:
                self._left_out[name] = f"not installed: {error.hint}"
        return found

    def _throughput_batch(self, row: TimedPass) -> int:
        """The largest batch of the plan's and its halves whose pass is short enough."""
        per_sample, batch = row.baseline.median_ms / 1000 / row.batch, self.plan.batch
        while batch > row.batch and per_sample * batch > LONGEST_S:
            batch //= 2
        if batch < self.plan.batch:
            took = per_sample * self.plan.batch
            self._left_out[f"batch {self.plan.batch}"] = f"a pass takes about {took:.1f} s"
        return batch

    def _rows(self, batch: int, runtime: str) -> list[TimedPass]:
        """The row of a batch, or none where it can't be had: a whole search is not lost for a figure."""
        label = f"batch {batch}" if runtime == EAGER else runtime
        try:
            inputs = at_batch(self.models[BASELINE], self.example_inputs, batch)
            pair = {name: self.models[name] for name in (BASELINE, PRUNED)}
            return [self._row(batch, runtime, self._times(inputs, runtime, pair))]
        except MeasurementError as error:
            self._left_out[label] = error.message
        except Exception as error:  # out of memory, or whatever a network raises at a batch that it wasn't made for
            self._left_out[label] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.200}"
        return []

    def _row(self, batch: int, runtime: str, times: Mapping[str, PassTimes]) -> TimedPass:
        label = runtime if runtime != ONNXRUNTIME else runtime_of(ONNXRUNTIME).label
        row = TimedPass(batch, label, times[BASELINE], times[PRUNED])
        if not self._fewer_macs or row.pruned.median_ms <= SAME_TIME * row.baseline.median_ms:
            return row
        slow = SlowPass(self.models[PRUNED], self.models[BASELINE], self.example_inputs, batch, runtime)
        return replace(row, slow=True, why=causes(slow))

    @cached_property
    def _fewer_macs(self) -> bool:
        dense, pruned = (count(self.models[name], self.example_inputs).macs for name in (BASELINE, PRUNED))
        return pruned < FEWER_MACS * dense

    def _times(
        self, inputs: Any, runtime: str, models: Mapping[str, nn.Module], most_s: float = ROW_S
    ) -> dict[str, PassTimes]:
        runners = {name: forward_pass(model, inputs, runtime) for name, model in models.items()}
        seconds = time_by_turns(runners, repeats=PASSES, most_s=most_s, warm_up_s=ROW_S)
        return {name: PassTimes.of(values) for name, values in seconds.items()}
