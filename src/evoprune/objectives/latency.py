"""How long a model takes, on the machine at hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

WARM_UP = 5


def measure_latency_ms(runners: Mapping[str, Callable[[], object]], *, repeats: int = 50) -> dict[str, float]:
    """Median milliseconds per call of each runner.

    The runners take turns, so that whatever else the machine does falls on all of them alike: the ratio of two medians of one
    call means more than either of them.

    Args:
        runners: `{name: function that runs one forward pass and waits for its end}`.
        repeats: Timed calls of each.
    """
    for runner in runners.values():
        for _ in range(WARM_UP):
            runner()
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(repeats):
        for name, runner in runners.items():
            started = time.perf_counter()
            runner()
            times[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}
