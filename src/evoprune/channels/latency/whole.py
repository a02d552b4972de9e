"""Timing of whole networks at random widths: what the rest of a prediction is fitted to, and checked against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import nn

from evoprune.channels.latency.timing import Seconds, timed
from evoprune.channels.surgery import prune
from evoprune.nn_utils.calling import arguments_of
from evoprune.nn_utils.runtimes.base import Runtime
from evoprune.seeding import SeedTree
from evoprune.space.latency_grid import Milliseconds
from evoprune.space.latency_table import Overhead
from evoprune.space.pruning_space import PruningSpace

Bits = NDArray[np.bool_]


def random_choices(space: PruningSpace, count: int, seeds: SeedTree, *, step: int) -> Bits:
    """[count, size] choices, narrow ones as often as wide ones, each with groups of different widths.

    Args:
        space: The pruning space.
        count: Number of choices.
        seeds: Root of the seeds.
        step: Kept units of a group are a multiple of this where it has twice as many.
    """
    rows = np.zeros((count, space.size), dtype=np.bool_)
    for number, row in enumerate(rows):
        generator = seeds.child(number).generator()
        level = 0.1 + 0.85 * (number + generator.random()) / count
        for group in space.groups:
            share = np.clip(level * np.exp(0.35 * generator.standard_normal()), 0.0, 1.0)
            unit = step if group.size >= 2 * step else 1
            kept = max(1, min(group.size, max(unit, round(share * group.size / unit) * unit)))
            row[group.start : group.start + kept] = True
    return rows


def time_networks(
    model: nn.Module,
    space: PruningSpace,
    choices: Bits,
    inputs: Any,
    runtime: Runtime,
    *,
    rounds: int,
    seconds: float,
) -> Seconds:
    """[rounds, choices] seconds of a forward pass of each network.

    Args:
        model: The dense network, in eval mode.
        space: Its pruning space.
        choices: [choices, size] bits.
        inputs: Inputs of a pass.
        runtime: What runs the networks.
        rounds: Rounds at most; three at least.
        seconds: With fewer rounds, to last about so long.

    Raises:
        MeasurementError: The runtime can't run a network.
    """
    networks = (prune(model, space.plan(row)).eval() for row in choices)
    runners = [runtime.runner(network, arguments_of(network, inputs)) for network in networks]
    return timed(runners, rounds=rounds, least=3, until_s=seconds)


def fit_overhead(layers_ms: Milliseconds, elements: Milliseconds, whole_ms: Milliseconds) -> Overhead:
    """Least squares of the relative errors, with coefficients of at least 0.

    Args:
        layers_ms: [n] what the layers take by themselves.
        elements: [n] million elements of their outputs.
        whole_ms: [n] what the networks took.
    """
    columns = np.stack([np.ones_like(whole_ms), layers_ms, elements], axis=1)
    found, _ = nnls(columns / whole_ms[:, None], np.ones_like(whole_ms))
    return Overhead(*(float(one) for one in found))
