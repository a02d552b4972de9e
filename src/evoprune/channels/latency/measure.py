"""From a network to a table of its latency, on the device that it is on."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from evoprune.channels.latency.calls import LayerCall, first_units, layer_calls
from evoprune.channels.latency.dimensions import STEP
from evoprune.channels.latency.grids import TimedGrids, time_layers
from evoprune.channels.latency.timing import spread_of
from evoprune.channels.latency.whole import Bits, fit_overhead, random_choices, time_networks
from evoprune.data.trees import moved, tensors_in
from evoprune.events import Caution, Decision, Listener, ignore
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.kept_memory import memory_kept
from evoprune.nn_utils.modes import eval_mode
from evoprune.nn_utils.runtimes.base import Runtime
from evoprune.nn_utils.runtimes.choice import runtime_of
from evoprune.nn_utils.runtimes.names import EAGER
from evoprune.nn_utils.samples import at_batch
from evoprune.nn_utils.threads import torch_threads
from evoprune.seeding import SeedTree
from evoprune.space.latency_grid import Milliseconds
from evoprune.space.latency_model import LatencyModel
from evoprune.space.latency_table import Check, Conditions, LatencyTable, Overhead, TimedLayer
from evoprune.space.pruning_space import PruningSpace

BUSY: Final = 0.3
"""Spread of the rounds above which the machine is doing something else."""
INACCURATE: Final = 0.15
"""Error of the check above which predictions are cautioned against."""
_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: Timed calls of everything, at most.
        layers_s: Seconds for the layers; with fewer rounds where these don't suffice.
        networks_s: Seconds for the whole networks.
        fitted: Whole networks that the overhead is fitted to.
        held_out: Whole networks that predictions are checked against.
    """

    rounds: int = 30
    layers_s: float = 5.0
    networks_s: float = 5.0
    fitted: int = 10
    held_out: int = 6


def measure_latency(
    model: nn.Module,
    space: PruningSpace,
    example_inputs: Any,
    *,
    batch: int,
    device: torch.device,
    threads: int,
    channels_last: bool = False,
    runtime: str = EAGER,
    step: int = STEP,
    effort: Effort | None = None,
    seeds: SeedTree | None = None,
    notify: Listener = ignore,
) -> LatencyTable:
    """Measure a table of latencies.

    Args:
        model: The dense network on `device`; untouched. Weights don't matter.
        space: Its pruning space.
        example_inputs: Inputs of one forward pass, which are repeated to the batch.
        batch: Samples in a forward pass.
        device: Device to measure on; other runtimes than PyTorch have their own.
        threads: Number of threads.
        channels_last: Whether the model's convolutions are channels last, for the record.
        runtime: What runs layers and networks.
        step: Kept units of the whole networks are multiples of this.
        effort: How much is measured.
        seeds: Root of the seeds of random widths.
        notify: Called with what the user has to know.

    Raises:
        MeasurementError: The example inputs can't be repeated to the batch, or the runtime can't run the network.
        MissingDependencyError: The runtime is not installed.
    """
    runner = runtime_of(runtime)
    with torch_threads(threads), eval_mode(model), memory_kept():
        inputs = inputs_at(model, space, example_inputs, batch)
        if runner.device(device) != device:
            device = runner.device(device)
            model = clone(model).to(device)
        inputs = moved(inputs, device)
        bench = _Bench(model, space, inputs, runner, device, effort or Effort(), step, seeds or SeedTree(0))
        conditions = Conditions(
            batch=batch,
            inputs=tuple(tuple(one.shape) for one in tensors_in(inputs)),
            device=device.type,
            processor=processor_of(device),
            threads=threads,
            channels_last=channels_last and runtime == EAGER,
            runtime=runner.label,
            torch=torch.__version__,
            host=platform.node(),
        )
        table = bench.table(conditions)
        for _ in range(_ATTEMPTS - 1):
            if table.spread <= BUSY:
                break
            notify(Decision("latency", f"{_busy(table)}; it is measured again"))
            table = min(table, bench.table(conditions), key=lambda one: one.spread)
    if table.spread > BUSY:
        notify(Caution("latency", f"{_busy(table)}; measure on a machine that does nothing else"))
    if table.check.median > INACCURATE:
        notify(Caution("latency", f"{accuracy_text(table)}; bounds in milliseconds will be met no closer"))
    return table


def inputs_at(model: nn.Module, space: PruningSpace, example_inputs: Any, batch: int) -> Any:
    """The example inputs at a batch: as they are where they have so many samples.

    Raises:
        MeasurementError: They can't be repeated to the batch.
    """
    return example_inputs if batch == space.workload.samples else at_batch(model, example_inputs, batch)


def accuracy_text(table: LatencyTable) -> str:
    """How far predictions are from whole networks, in words."""
    count, check, runtime = len(table.check.measured_ms), table.check, table.conditions.runtime_name
    where = "" if runtime == EAGER else f" in {runtime}"
    return (
        f"predictions at batch {table.conditions.batch}{where} are {check.median:.1%} from whole networks in the median and "
        f"{check.worst:.1%} at worst, of {count} that the fit has not seen"
    )


def processor_of(device: torch.device) -> str:
    """Name of the GPU, or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _busy(table: LatencyTable) -> str:
    return f"timings of equal rounds spread by {table.spread:.0%}: the machine is busy with something else"


@dataclass(frozen=True)
class _Bench:
    """What is measured, and how."""

    model: nn.Module
    space: PruningSpace
    inputs: Any
    runtime: Runtime
    device: torch.device
    effort: Effort
    step: int
    seeds: SeedTree

    def table(self, conditions: Conditions) -> LatencyTable:
        """Time layers, then whole networks, and fit what is left."""
        effort, space = self.effort, self.space
        calls = layer_calls(self.model, space, self.inputs, in_blocks=self.runtime.in_blocks)
        timed = time_layers(calls, self.runtime, self.device, rounds=effort.rounds, seconds=effort.layers_s)
        fitted = random_choices(space, effort.fitted, self.seeds.child("fitted"), step=self.step)
        held_out = random_choices(space, effort.held_out, self.seeds.child("held-out"), step=self.step)
        choices = np.concatenate([first_units(space, {})[None], fitted, held_out])
        seconds = time_networks(
            self.model, space, choices, self.inputs, self.runtime, rounds=effort.rounds, seconds=effort.networks_s
        )
        whole_ms = 1000 * np.median(seconds, axis=0)
        bare = LatencyTable(
            fingerprint=space.fingerprint,
            groups=tuple(group.name for group in space.groups),
            conditions=conditions,
            grids=timed.grids,
            layers=_layers(calls, timed),
            overhead=Overhead(0.0, 1.0, 0.0),
            check=Check((), ()),
            dense_ms=float(whole_ms[0]),
            repeats=min(timed.rounds or len(seconds), len(seconds)),
            spread=max(timed.spread, spread_of(seconds)),
        )
        return self._fitted(bare, choices, whole_ms)

    def _fitted(self, bare: LatencyTable, choices: Bits, whole_ms: Milliseconds) -> LatencyTable:
        count = 1 + self.effort.fitted  # the dense network as well, which relative bounds refer to
        model = LatencyModel(self.space.groups, bare)
        layers_ms, elements = model.parts(choices)
        table = replace(bare, overhead=fit_overhead(layers_ms[:count], elements[:count], whole_ms[:count]))
        predicted = LatencyModel(self.space.groups, table).predict(choices[count:])
        return replace(table, check=Check(tuple(predicted.tolist()), tuple(whole_ms[count:].tolist())))


def _layers(calls: list[LayerCall], timed: TimedGrids) -> tuple[TimedLayer, ...]:
    found = []
    for call, number in zip(calls, timed.numbers, strict=True):
        if number is not None:
            elements = int(np.prod(call.seen.outputs[0])) if call.seen.outputs else 0
            axes = tuple(one.axis for one in call.dimensions)
            found.append(TimedLayer(call.path, axes, number, elements, call.output))
    return tuple(found)
