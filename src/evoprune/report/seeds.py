"""Several runs of one question, seed by seed, and what evolution gained over the best criterion in all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy.stats import t as student

from evoprune.errors import UsageError
from evoprune.results import MetricCard
from evoprune.store.comparison import Comparison, read_comparison

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Gain:
    """The mean gain over the best criterion.

    Attributes:
        mean: Mean over the runs.
        half_width: Half the width of its 95 % interval, from the spread between runs; None of a single run.
        runs: Number of runs.
    """

    mean: float
    half_width: float | None
    runs: int


def read_runs(directories: Sequence[Path]) -> dict[Path, Comparison]:
    """The comparisons of finished runs.

    Raises:
        UsageError: A directory holds no finished run, or runs are judged by different metrics.
    """
    runs = {directory: read_comparison(directory) for directory in directories}
    metrics = {one.metric for one in runs.values()}
    if len(metrics) > 1:
        raise UsageError(
            f"the runs are judged by different metrics: {', '.join(sorted(one.name for one in metrics))}",
            "compare runs of one metric",
        )
    return runs


def run_rows(runs: Mapping[Path, Comparison]) -> list[list[str]]:
    """A row for each run: its name, dense and pruned metric, share of MACs, the criterion, its metric, and the gain over it."""
    return [[directory.name, *_cells(one)] for directory, one in runs.items()]


def mean_gain(runs: Mapping[Path, Comparison]) -> Gain | None:
    """What evolution gained over the best criterion; None where no run has compared them.

    Runs of several seeds are independent of each other, so their spread says how far the mean can be trusted (Student's t).
    """
    gains = [one.criterion.gain for one in runs.values() if one.criterion is not None]
    if not gains:
        return None
    half = None
    if len(gains) > 1:
        quantile = float(student.ppf((1 + CONFIDENCE) / 2, len(gains) - 1))
        half = quantile * float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    return Gain(float(np.mean(gains)), half, len(gains))


def gain_text(gain: Gain, metric: MetricCard) -> str:
    """One line about the mean gain."""
    spread = "" if gain.half_width is None else f" ± {metric.change(0, gain.half_width).lstrip('+')} (95 %)"
    runs = "1 run" if gain.runs == 1 else f"{gain.runs} runs"
    return f"evolved - best criterion = {metric.change(0, gain.mean)}{spread}, mean of {runs}"


def _cells(one: Comparison) -> list[str]:
    text, rival = one.metric.text, one.criterion
    macs = [model.figures.get("macs") for model in (one.baseline, one.pruned)]
    share = f"{100 * macs[1] / macs[0]:.1f} %" if macs[0] and macs[1] else "-"
    against = ["-", "-", "-"]
    if rival is not None:
        against = [rival.name, text(rival.model.accuracy), one.metric.change(0, rival.gain)]
    return [text(one.baseline.accuracy), text(one.pruned.accuracy), share, *against]
