"""Timing of many calls by turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from evoprune.nn_utils.runtimes.base import Runner
from evoprune.rng import isolated_rng

Seconds = NDArray[np.float64]

_BRIEF_S: Final = 2e-3
"""Calls that are shorter are made twice, and the second one counts: within a loop of passes, caches are warm."""


def timed(runners: Sequence[Runner], *, rounds: int, least: int, until_s: float) -> Seconds:
    """[rounds, runners] seconds of each call; all are called once in every round, after they have warmed up.

    Args:
        runners: Functions that make one call each, and wait for its end.
        rounds: Rounds at most.
        least: Rounds at least.
        until_s: No round begins after so many seconds, but for the least of them.
    """
    found = []
    begun = time.perf_counter()
    with quiet():
        for runner in runners:
            runner()
        brief = [_seconds(runner) < _BRIEF_S for runner in runners] if _is_brief(runners, begun) else []
        for number in range(rounds):
            if number >= least and time.perf_counter() - begun > until_s:
                break
            row = []
            for place, runner in enumerate(runners):
                if brief and brief[place]:
                    runner()
                row.append(_seconds(runner))
            found.append(row)
    return np.array(found).reshape(len(found), len(runners))


def spread_of(seconds: Seconds) -> float:
    """Interquartile range over median of the rounds, each the sum of its calls."""
    if not seconds.size:
        return 0.0
    low, middle, high = np.quantile(seconds.sum(axis=1), (0.25, 0.5, 0.75))
    return float((high - low) / middle)


@contextmanager
def quiet() -> Iterator[None]:
    """No gradients, no garbage collection, and the global generators put back at the end."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with torch.inference_mode(), isolated_rng(0):
            yield
    finally:
        if collecting:
            gc.enable()


def _is_brief(runners: Sequence[Runner], begun: float) -> bool:
    """Whether the warm-up was so short that a second one costs nothing."""
    return time.perf_counter() - begun < 10 * _BRIEF_S * len(runners)


def _seconds(runner: Runner) -> float:
    started = time.perf_counter()
    runner()
    return time.perf_counter() - started
