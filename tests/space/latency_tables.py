"""Latency tables with made-up figures."""

import numpy as np

from evoprune.space.latency_grid import Grid
from evoprune.space.latency_table import Check, Conditions, LatencyTable, Overhead, TimedLayer

CONDITIONS = Conditions(
    batch=4,
    inputs=((4, 3, 8, 8),),
    device="cpu",
    processor="a processor",
    threads=1,
    channels_last=False,
    runtime="eager",
    torch="2.13.0",
    host="a-machine",
)


def grid(*nodes, seed=0):
    ms = np.random.default_rng(seed).uniform(0.1, 2.0, [len(one) for one in nodes])
    return Grid(tuple(map(tuple, nodes)), ms, 0.05)


def table_of(space, *, seed=0):
    """A table over the axes of `space` that a convolution or linear layer would have."""
    layers, grids = [], []
    for name in dict.fromkeys(tensor for tensor, dim in space.axis_sizes if tensor.endswith("weight") and dim == 1):
        axes = tuple((name, dim) for dim in (0, 1) if (name, dim) in space.axis_sizes)
        nodes = [sorted({1, space.axis_sizes[axis] // 2, space.axis_sizes[axis]}) for axis in axes]
        layers.append(TimedLayer(name.removesuffix(".weight"), axes, len(grids), 1000 + len(grids), 0))
        grids.append(grid(*nodes, seed=seed + len(grids)))
    check = Check((1.0, 2.0, 3.3), (1.1, 2.0, 3.0))
    overhead = Overhead(0.25, 1.5, 3.0)
    return LatencyTable(
        space.fingerprint,
        tuple(group.name for group in space.groups),
        CONDITIONS,
        tuple(grids),
        tuple(layers),
        overhead,
        check,
        9.5,
        30,
        0.04,
    )
