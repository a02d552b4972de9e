"""How long the layers of a network take at the widths that pruning leaves them, as plain data: `latency.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from evoprune.space.groups import Axis
from evoprune.space.latency_grid import Grid, Milliseconds, Widths


@dataclass(frozen=True)
class Conditions:
    """What latencies were measured for, and on what.

    Attributes:
        batch: Samples in a forward pass.
        inputs: Shapes of the input tensors at that batch.
        device: Kind of device: `cpu`, `cuda`.
        processor: Name of the CPU or GPU.
        threads: Number of threads.
        channels_last: Whether convolutions were channels last.
        runtime: What ran the network, with its version where that is not torch's: `eager`, `onnxruntime 1.32.0`.
        torch: Version of torch.
        host: Name of the machine.
    """

    batch: int
    inputs: tuple[tuple[int, ...], ...]
    device: str
    processor: str
    threads: int
    channels_last: bool
    runtime: str
    torch: str
    host: str

    @property
    def runtime_name(self) -> str:
        """What ran the network, whatever its version."""
        return self.runtime.partition(" ")[0]


@dataclass(frozen=True)
class TimedLayer:
    """A call of a layer that was timed by itself.

    Attributes:
        name: Path of the module.
        axes: (Tensor, dimension) whose length is the width, for each dimension of its grid.
        grid: Number of its grid in the table; layers of the same shape share one.
        elements: Elements of its outputs in the dense network, at the table's batch.
        output: Which of the axes its outputs get shorter with; None where they don't.
    """

    name: str
    axes: tuple[Axis, ...]
    grid: int
    elements: int
    output: int | None


@dataclass(frozen=True)
class Overhead:
    """What is fitted to whole networks: all that no layer alone accounts for.

    Attributes:
        fixed_ms: Milliseconds of each network.
        per_layer_ms: What a millisecond of the timed layers takes within a network.
        per_million_ms: Milliseconds per million elements of the timed layers' outputs.
    """

    fixed_ms: float
    per_layer_ms: float
    per_million_ms: float


@dataclass(frozen=True)
class Check:
    """Whole networks that the fit has not seen.

    Attributes:
        predicted_ms: What the table says of each.
        measured_ms: What each took.
    """

    predicted_ms: tuple[float, ...]
    measured_ms: tuple[float, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        """|predicted - measured| as a share of the measured, for each."""
        pairs = zip(self.predicted_ms, self.measured_ms, strict=True)
        return tuple(abs(predicted - measured) / measured for predicted, measured in pairs)

    @property
    def median(self) -> float:
        """The error in the middle, a share."""
        return float(np.median(self.errors))

    @property
    def worst(self) -> float:
        """The largest error, a share."""
        return max(self.errors)


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Latencies of a network by the widths of its layers.

    Attributes:
        fingerprint: Names the dense structure, as that of the pruning space does.
        groups: Names of the groups whose units could go when it was measured.
        conditions: What it was measured for, and on what.
        grids: Timings by shape of layer.
        layers: Calls of layers, each with its grid.
        overhead: What is fitted to whole networks.
        check: Networks that the fit has not seen.
        dense_ms: Measured milliseconds of the whole network.
        repeats: Timed calls of each layer.
        spread: Interquartile range over median of the rounds, in each of which everything is timed once.
    """

    fingerprint: str
    groups: tuple[str, ...]
    conditions: Conditions
    grids: tuple[Grid, ...]
    layers: tuple[TimedLayer, ...]
    overhead: Overhead
    check: Check
    dense_ms: float
    repeats: int
    spread: float

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes that latencies depend on, each once."""
        return tuple(dict.fromkeys(axis for layer in self.layers for axis in layer.axes))

    @property
    def digest(self) -> str:
        """Names the content."""
        return hashlib.blake2b(json.dumps(self.to_json()).encode(), digest_size=16).hexdigest()

    def full_width(self, axis: Axis) -> int:
        """Length of an axis in the dense network."""
        for layer in self.layers:
            if axis in layer.axes:
                return self.grids[layer.grid].nodes[layer.axes.index(axis)][-1]
        raise KeyError(axis)

    @property
    def predicted_dense_ms(self) -> float:
        """What the table says of the whole network: what fractions refer to, as candidates have predictions as well."""
        return float(self.predict_widths({axis: np.array(self.full_width(axis)) for axis in self.axes}))

    @property
    def rising(self) -> LatencyTable:
        """The same with latencies that never fall with a width, and are nowhere below these.

        Bounds are kept by it: widths are brought onto a budget by making them wider while it holds, which would lead from one
        valid choice to another where wider is faster.
        """
        return replace(self, grids=tuple(one.rising for one in self.grids))

    def parts(self, widths: Mapping[Axis, Widths]) -> tuple[Milliseconds, Milliseconds]:
        """What a prediction is made of.

        Args:
            widths: [...] kept widths of each of `axes`.

        Returns:
            [...] milliseconds of the timed layers by themselves, and [...] million elements of their outputs.
        """
        shape = np.broadcast_shapes(*(np.shape(found) for found in widths.values()))
        ms, elements = np.zeros(shape), np.zeros(shape)
        for layer in self.layers:
            grid = self.grids[layer.grid]
            here = np.stack([np.broadcast_to(widths[axis], shape) for axis in layer.axes], axis=-1)
            ms += grid.at(here)
            kept = 1.0 if layer.output is None else here[..., layer.output] / grid.nodes[layer.output][-1]
            elements += layer.elements * kept / 1e6
        return ms, elements

    def predict_widths(self, widths: Mapping[Axis, Widths]) -> Milliseconds:
        """Milliseconds of networks of such widths: [...] of each of `axes` -> [...]."""
        ms, elements = self.parts(widths)
        fit = self.overhead
        return fit.fixed_ms + fit.per_layer_ms * ms + fit.per_million_ms * elements

    def to_json(self) -> dict[str, Any]:
        """The document of the file."""
        return {
            "fingerprint": self.fingerprint,
            "groups": self.groups,
            "conditions": asdict(self.conditions),
            "grids": [{"nodes": one.nodes, "ms": one.ms.ravel().tolist(), "spread": one.spread} for one in self.grids],
            "layers": [asdict(one) for one in self.layers],
            "overhead": asdict(self.overhead),
            "check": asdict(self.check),
            "dense_ms": self.dense_ms,
            "repeats": self.repeats,
            "spread": self.spread,
        }
