"""Timing of layers alone, at every node of their widths."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from evoprune.channels.latency.calls import LayerCall
from evoprune.channels.latency.dimensions import Node
from evoprune.channels.latency.timing import Seconds, quiet, spread_of, timed
from evoprune.nn_utils.runtimes.base import Runner, Runtime
from evoprune.space.latency_grid import Grid, Milliseconds

logger = logging.getLogger(__name__)

_PASSES: Final = 3
_LEAST_SHARE: Final = 0.05
"""What is left at least of a layer's time without that of an idle call, which noise may make the longer."""


@dataclass(frozen=True)
class TimedGrids:
    """Grids of layers.

    Attributes:
        grids: One for each signature.
        numbers: Number of the grid of each call; None where it can't be timed alone.
        rounds: Timed calls of each node, at the least.
        spread: Interquartile range over median of the rounds.
    """

    grids: tuple[Grid, ...]
    numbers: tuple[int | None, ...]
    rounds: int
    spread: float


def time_layers(
    calls: Sequence[LayerCall], runtime: Runtime, device: torch.device, *, rounds: int, seconds: float
) -> TimedGrids:
    """Time the calls at their nodes, those of the same shape once.

    The rounds are made in several passes over all of them, so that a busy moment doesn't fall on one layer alone.

    Args:
        calls: Calls of layers.
        runtime: What runs them.
        device: Device of the layers.
        rounds: Timed calls of each node, at most.
        seconds: With fewer rounds, to last about so long.
    """
    first: dict[object, LayerCall] = {}
    for call in calls:
        first.setdefault(call.signature, call)
    first = {key: call for key, call in first.items() if _runs(call, runtime, device)}
    idle = [one for one in (runtime.idle(),) if one is not None]
    found: list[list[Seconds]] = [[] for _ in first]
    for _ in range(_PASSES):
        for place, call in enumerate(first.values()):
            runners, share = [*_runners(call, runtime, device), *idle], seconds / _PASSES / len(first)
            found[place].append(timed(runners, rounds=max(1, rounds // _PASSES), least=1, until_s=share))
    known = {key: number for number, key in enumerate(first)}
    timings = [np.concatenate(one) for one in found]
    grids = tuple(_grid(call, one, idles=bool(idle)) for call, one in zip(first.values(), timings, strict=True))
    least = min((len(one) for one in timings), default=0)
    together = np.concatenate([one[:least] for one in timings], axis=1) if timings else np.zeros((0, 0))
    return TimedGrids(grids, tuple(known.get(call.signature) for call in calls), least, spread_of(together))


def _runners(call: LayerCall, runtime: Runtime, device: torch.device) -> list[Runner]:
    """A runner for each combination of nodes, in the order of a grid."""
    return [_runner(call, nodes, runtime, device) for nodes in itertools.product(*call.nodes)]


def _runner(call: LayerCall, nodes: Sequence[Node], runtime: Runtime, device: torch.device) -> Runner:
    return runtime.runner(call.layer(nodes), call.arguments(nodes, device))


def _runs(call: LayerCall, runtime: Runtime, device: torch.device) -> bool:
    """Whether the layer runs by itself at its least widths, and at mixed ones."""
    least = [nodes[0] for nodes in call.nodes]
    mixed = [[*least[:dim], nodes[-1], *least[dim + 1 :]] for dim, nodes in enumerate(call.nodes)]
    try:
        with quiet():
            for nodes in (least, *mixed):
                _runner(call, nodes, runtime, device)()
    except Exception as error:  # whatever a layer may raise on inputs that are not quite its own
        logger.info("%s can't be timed by itself: %s: %s", call.path, type(error).__name__, error)
        return False
    return True


def _grid(call: LayerCall, seconds: Seconds, *, idles: bool) -> Grid:
    """The grid of [rounds, nodes] seconds, less those of the idle runner that may come last."""
    widths = tuple(tuple(node.width for node in nodes) for nodes in call.nodes)
    low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75), axis=0)
    spread = float(np.median((high - low) / middle))
    if idles:
        middle = np.maximum(middle[:-1] - middle[-1], _LEAST_SHARE * middle[:-1])
    return Grid(widths, increasing(1000 * middle.reshape([len(one) for one in widths])), spread)


def increasing(ms: Milliseconds) -> Milliseconds:
    """The nearest latencies, about, that never fall with a width: where they do, noise or a kernel's whim makes them.

    A budget in milliseconds is met by making layers wider for as long as it is kept, which needs that wider is never faster.
    """
    for axis in range(ms.ndim):
        above = np.maximum.accumulate(ms, axis=axis)
        below = np.flip(np.minimum.accumulate(np.flip(ms, axis), axis=axis), axis)
        ms = (above + below) / 2
    return ms
